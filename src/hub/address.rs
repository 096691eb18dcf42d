//! Link addresses: `[amqps://host[:port]/]HUB[/Partitions/N | /ConsumerGroups/G/Partitions/N]`.

/// The purpose of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The node that takes tokens.
    Cbs,
    /// Questions about hubs and partitions.
    Management,
    /// An event hub, perhaps one of its partitions.
    Hub {
        /// The name of the event hub, in lower case.
        hub: String,
        /// The partition.
        partition: Option<u16>,
        /// The consumer group, of a receiver.
        group: Option<String>,
        /// The publisher, for a sender. It is the partition key of all events of the sender.
        publisher: Option<String>,
    },
}

impl Address {
    /// Reads an address; `None` when the hub does not know its form.
    pub fn parse(text: &str) -> Option<Self> {
        let segments = path(text);
        let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
        let words: Vec<&str> = lower.iter().map(String::as_str).collect();
        let hub = |hub: &str, partition: Option<&str>, group: Option<&str>, publisher: Option<&str>| {
            let partition = partition.map(str::parse).transpose().ok()?;
            let (group, publisher) = (group.map(String::from), publisher.map(String::from));
            Some(Self::Hub { hub: hub.to_string(), partition, group, publisher })
        };
        match words[..] {
            ["$cbs"] => Some(Self::Cbs),
            ["$management"] => Some(Self::Management),
            [name] => hub(name, None, None, None),
            [name, "partitions", partition] => hub(name, Some(partition), None, None),
            [name, "consumergroups", group, "partitions", partition] => hub(name, Some(partition), Some(group), None),
            [name, "publishers", publisher] => hub(name, None, None, Some(publisher)),
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
        let full = |hub: &str, partition, group: Option<&str>, publisher: Option<&str>| {
            let (group, publisher) = (group.map(String::from), publisher.map(String::from));
            Some(Address::Hub { hub: hub.into(), partition, group, publisher })
        };
        let hub = |hub: &str, partition| full(hub, partition, None, None);
        assert_eq!(Address::parse("amqps://localhost:5700/EH1"), hub("eh1", None));
        assert_eq!(Address::parse("eh1/Partitions/3"), hub("eh1", Some(3)));
        let received = Address::parse("amqps://h/eh1/ConsumerGroups/$Default/Partitions/0");
        assert_eq!(received, full("eh1", Some(0), Some("$default"), None));
        assert_eq!(Address::parse("eh1/Publishers/Gateway-7"), full("eh1", None, None, Some("gateway-7")));
        assert_eq!(Address::parse("$cbs"), Some(Address::Cbs));
        assert_eq!(Address::parse("eh1/Partitions/x"), None);
        assert_eq!(Address::parse("a/b/c/d"), None);
        assert_eq!(hub_of("sb://localhost:5700/eh1/consumergroups/$Default"), Some("eh1".into()));
        assert_eq!(hub_of("sb://localhost:5700/"), None);
    }
}
