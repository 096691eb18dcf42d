//! Link addresses: `[amqps://host[:port]/]HUB[/Partitions/N | /ConsumerGroups/G/Partitions/N]`.

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Tokens.
    Cbs,
    /// Questions about hubs and partitions.
    Management,
    /// An event hub, perhaps one of its partitions.
    Hub {
        /// Its name, in lower case.
        hub: String,
        /// The partition.
        partition: Option<u16>,
    },
}

impl Address {
    /// Takes an address apart; `None` when it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let segments = path(text);
        let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
        let words: Vec<&str> = lower.iter().map(String::as_str).collect();
        let hub = |hub: &str, partition: Option<&str>| {
            let partition = partition.map(str::parse).transpose().ok()?;
            Some(Self::Hub { hub: hub.to_string(), partition })
        };
        match words[..] {
            ["$cbs"] => Some(Self::Cbs),
            ["$management"] => Some(Self::Management),
            [name] => hub(name, None),
            [name, "partitions", partition] | [name, "consumergroups", _, "partitions", partition] => {
                hub(name, Some(partition))
            }
            _ => None,
        }
    }
}

/// The event hub that an audience is for; `None` for the whole namespace.
pub fn hub_of(audience: &str) -> Option<String> {
    path(audience).first().map(|segment| segment.to_ascii_lowercase())
}

fn path(text: &str) -> Vec<&str> {
    let path = match text.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => text,
    };
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sdk_forms_are_read() {
        let hub = |hub: &str, partition| Some(Address::Hub { hub: hub.into(), partition });
        assert_eq!(Address::parse("amqps://localhost:5700/EH1"), hub("eh1", None));
        assert_eq!(Address::parse("eh1/Partitions/3"), hub("eh1", Some(3)));
        assert_eq!(Address::parse("amqps://h/eh1/ConsumerGroups/$Default/Partitions/0"), hub("eh1", Some(0)));
        assert_eq!(Address::parse("$cbs"), Some(Address::Cbs));
        assert_eq!(Address::parse("eh1/Partitions/x"), None);
        assert_eq!(Address::parse("a/b/c/d"), None);
        assert_eq!(hub_of("sb://localhost:5700/eh1/consumergroups/$Default"), Some("eh1".into()));
        assert_eq!(hub_of("sb://localhost:5700/"), None);
    }
}
