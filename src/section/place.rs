//! A host and a port, as people write them everywhere in a configuration.

use std::fmt;

/// A host's name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port, from 1 to 65535.
    pub port: u16,
}

impl Place {
    /// Reads `host:port` and `[address]:port`. With a usual port it also reads `host`, `[address]` and `address`.
    #[must_use]
    pub fn parse(text: &str, usual: Option<u16>) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, _))) if !host.contains(':') => return None,
            Some(Some((host, rest))) => (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) }),
            Some(None) => return None,
            // An IPv6 address without brackets has no port, because any of its colons could separate the port.
            None if text.matches(':').count() > 1 => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None => usual?,
        };
        let is_address = host.contains(':');
        // A link-local address is followed by its interface: fe80::1%eth0.
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        let is_good = if is_address {
            address.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@;,[]\"'?#%".contains(c))
        };
        (is_good && port > 0).then(|| Self { host: host.into(), port })
    }
}

impl Place {
    /// The place of a broker from `mqtt://host:1883` or `mqtts://host:8883`, and whether it is reached by TLS.
    #[must_use]
    pub fn of_broker(url: &str) -> Option<(Self, bool)> {
        let (rest, usual, is_tls) = match (url.strip_prefix("mqtt://"), url.strip_prefix("mqtts://")) {
            (Some(rest), _) => (rest, 1883, false),
            (None, Some(rest)) => (rest, 8883, true),
            (None, None) => return None,
        };
        Some((Self::parse(rest, Some(usual))?, is_tls))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Host(&self.host), self.port)
    }
}

/// A host in the form that can stand before a port: an IPv6 address gets brackets.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a>(pub &'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_both_families_are_read_and_written() {
        for (text, usual, expected) in [
            ("a.example:9092", None, Some("a.example:9092")),
            ("a.example", Some(1), Some("a.example:1")),
            ("10.0.0.5:502", None, Some("10.0.0.5:502")),
            ("[::1]:5671", None, Some("[::1]:5671")),
            ("[fd00::5]", Some(1883), Some("[fd00::5]:1883")),
            ("::1", Some(7), Some("[::1]:7")),
            ("fe80::1%eth0", Some(7), Some("[fe80::1%eth0]:7")),
            ("a", None, None),
            ("::1:x", Some(7), None),
            ("[::1", Some(7), None),
            ("[::1]x", Some(7), None),
            ("[::1]:", Some(7), None),
            (":1", None, None),
            ("a:", Some(7), None),
            ("a:0", None, None),
            ("a:+1", None, None),
            ("a:65536", None, None),
            ("a:-1", None, None),
            ("http://a:1", None, None),
            ("u@a:1", None, None),
            ("a b:1", None, None),
            ("[a]:1", None, None),
        ] {
            let read = Place::parse(text, usual).map(|place| place.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
