//! A subscription: its filter, the named levels of its topics, and the topics that match it.

/// A topic filter to subscribe to, with the route of its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The filter that the broker gets, with `+`, `#`, `$share/GROUP/`.
    pub filter: String,
    /// The levels of the topic that become attributes: the index of the level, from 0, and its name.
    pub names: Vec<(usize, String)>,
    /// The quality of service: 0, 1 or 2.
    pub qos: u8,
    /// The route of its messages.
    pub route: usize,
}

impl Subscription {
    /// From a filter in which levels may have names: `plant/{line}/{device}/+`.
    #[must_use]
    pub fn new(text: &str, qos: u8, route: usize) -> Self {
        let topic = Self::without_share(text);
        let share = &text[..text.len() - topic.len()];
        let name = |level: &str| level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map(String::from);
        let names = topic.split('/').enumerate().filter_map(|(at, level)| Some((at, name(level)?))).collect();
        let plain: Vec<&str> = topic.split('/').map(|level| if name(level).is_some() { "+" } else { level }).collect();
        Self { filter: format!("{share}{}", plain.join("/")), names, qos, route }
    }

    /// Whether some topic matches both filters.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut ours = Self::without_share(&self.filter).split('/');
        let mut theirs = Self::without_share(&other.filter).split('/');
        let mut is_first = true;
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#" | "+"), Some(level)) | (Some(level), Some("#" | "+"))
                    if is_first && level.starts_with('$') =>
                {
                    return false;
                }
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(one), Some(two)) if one == two => {}
                _ => return false,
            }
            is_first = false;
        }
    }

    /// Whether a topic matches the filter.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        // A wildcard at the beginning does not match a topic with `$` (MQTT 5, section 4.7.2).
        if topic.starts_with('$') && Self::without_share(&self.filter).starts_with(['#', '+']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in Self::without_share(&self.filter).split('/') {
            match (wanted, levels.next()) {
                // `plant/#` matches `plant` too.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// The attributes from the named levels of a topic.
    #[must_use]
    pub fn attributes(&self, topic: &str) -> Vec<(Box<str>, Box<str>)> {
        let level = |at: usize| topic.split('/').nth(at);
        self.names.iter().filter_map(|(at, name)| Some((name.as_str().into(), level(*at)?.into()))).collect()
    }

    /// Changes the subscription for `forebay tap`, so that it takes no messages away from others.
    pub fn for_tap(&mut self) {
        self.qos = 0;
        self.filter = Self::without_share(&self.filter).to_string();
    }

    /// The filter behind `$share/GROUP/`, and behind the similar prefixes of EMQX and its relatives.
    fn without_share(filter: &str) -> &str {
        let group = filter.strip_prefix("$share/").or(filter.strip_prefix("$oshare/"));
        let shared = group.and_then(|rest| Some(rest.split_once('/')?.1));
        let other = || filter.strip_prefix("$queue/").or(filter.strip_prefix("$exclusive/"));
        shared.or_else(other).unwrap_or(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_topics_match_as_the_standard_says() {
        let named = Subscription::new("$share/g/plant/{line}/{device}/+", 1, 2);
        assert_eq!(named.filter, "$share/g/plant/+/+/+");
        assert!(
            named.matches("plant/7/press/t") && !named.matches("plant/7/press") && !named.matches("plant/7/press/t/x")
        );
        assert_eq!(
            named.attributes("plant/7/press/t"),
            [("line".into(), "7".into()), ("device".into(), "press".into())]
        );
        let all = Subscription::new("plant/#", 1, 0);
        assert!(all.matches("plant") && all.matches("plant/a/b") && !all.matches("plants/a"));
        assert!(Subscription::new("+/a", 1, 0).matches("/a"));
        assert!(Subscription::new("a", 1, 0).names.is_empty());
        assert!(!all.matches("$SYS/a") && !Subscription::new("#", 1, 0).matches("$SYS/a"));
        assert!(Subscription::new("$SYS/#", 1, 0).matches("$SYS/a"));
    }

    #[test]
    fn filters_overlap_when_a_topic_falls_under_both() {
        let overlap = |one: &str, two: &str| {
            let (one, two) = (Subscription::new(one, 1, 0), Subscription::new(two, 1, 0));
            assert_eq!(one.overlaps(&two), two.overlaps(&one));
            one.overlaps(&two)
        };
        for (one, two) in [
            ("plant/#", "plant/+/t"),
            ("plant/#", "plant"),
            ("+/t", "a/+"),
            ("#", "a"),
            ("$share/g/a", "a"),
            ("a", "a"),
        ] {
            assert!(overlap(one, two), "{one} {two}");
        }
        for (one, two) in [("plant/+", "plant/a/t"), ("a", "b"), ("#", "$SYS/#"), ("a/b", "a"), ("+/x", "a/y")] {
            assert!(!overlap(one, two), "{one} {two}");
        }
    }
}
