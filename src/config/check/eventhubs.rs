//! `kind = "eventhubs"`

use super::Checker;
use crate::config::raw;
use crate::config::value::{
    ClientTls, Compression, ConnectionString, Credential, Endpoint, EventHubs, Kafka, Login, Sasl, Target, Transport,
};
use crate::platform::clock;
use crate::sink::Kind;
use std::ops::Range;
use toml::Spanned;

/// Where Event Hubs speaks Kafka.
const KAFKA_PORT: u16 = 9093;

impl Checker<'_> {
    pub(super) fn event_hubs(&mut self, span: &Range<usize>, raw: raw::EventHubs) -> Option<Kind> {
        let (at, connection, secret) = if raw.namespace.is_some() || raw.credential.is_some() {
            if let Some(connection) = &raw.connection {
                self.problem(connection.span(), "give `connection`, or `namespace` and `credential`".into(), None);
            }
            let namespace = self.need(raw.namespace, span, "namespace", "\"NAME.servicebus.windows.net\"");
            let credential = self.need(raw.credential, span, "credential", "{ kind = \"managed-identity\" }");
            let entra = self.entra(credential?)?;
            let namespace = namespace?;
            let host = namespace.get_ref();
            if host.is_empty() || host.contains(['/', ':', ' ', '@', ';']) {
                let hint = "for example \"NAME.servicebus.windows.net\"";
                self.problem(namespace.span(), format!("`{host}` is no namespace's host name"), Some(hint.into()));
            }
            (namespace.span(), ConnectionString::of(host, entra), None)
        } else {
            let reference = self.need(raw.connection, span, "connection", "{ env = \"EVENTHUB_CONNECTION\" }")?;
            let secret = self.secret(&reference)?;
            match ConnectionString::parse(secret.expose()) {
                Ok(connection) => {
                    let connection = ConnectionString { whole: Some(secret.clone()), ..connection };
                    (reference.span(), connection, Some(secret))
                }
                Err(error) => {
                    let hint = "copy it from the portal: Event Hubs namespace, shared access policies";
                    self.problem(reference.span(), error.to_string(), Some(hint.into()));
                    return None;
                }
            }
        };
        if let (Some(named), Some(path)) = (&raw.event_hub, &connection.entity)
            && !named.get_ref().eq_ignore_ascii_case(path)
        {
            let hint = format!("leave `event_hub` out, or take a connection string for `{}`", named.get_ref());
            self.warn(named.span(), format!("the connection string is for `{path}` (EntityPath)"), Some(hint));
        }
        self.doubt_credential(&at, &connection);
        let entity = raw.event_hub.map(Spanned::into_inner).or_else(|| connection.entity.clone());
        let Some(entity) = entity.filter(|entity| !entity.is_empty()) else {
            let hint = "add `;EntityPath=NAME` to the connection string, or set event_hub = \"NAME\"";
            self.problem(at, "nothing says which event hub".into(), Some(hint.into()));
            return None;
        };
        let target = self.target(raw.partition, raw.publisher);
        let ca = raw.ca.map(|ca| ca.into_inner().into());
        let pins = self.pins(raw.pins);
        let proxy = raw.proxy.and_then(|proxy| Some((proxy.span(), self.proxy(proxy)?)));
        let endpoint = &connection.endpoint;
        // The emulator, and whoever stands in for it, names its port.
        let named = raw.port.map(Spanned::into_inner).or(endpoint.named_port.filter(|_| !endpoint.tls));
        let transport = raw.transport.map_or(raw::Transport::Amqp, Spanned::into_inner);
        let (transport, usual) = match transport {
            raw::Transport::Amqp => (Transport::Amqp, endpoint.port),
            raw::Transport::AmqpWebsocket => (Transport::AmqpWebsocket, if endpoint.tls { 443 } else { 80 }),
            raw::Transport::Https => (Transport::Https, if endpoint.tls { 443 } else { 80 }),
            raw::Transport::Kafka => {
                if let Some((span, _)) = proxy {
                    self.problem(span, "`proxy` is for amqp, amqp-websocket and https".into(), None);
                }
                let partition = match target {
                    Target::Partition(partition) => Some(partition.into()),
                    Target::Hub => None,
                    Target::Publisher(_) => {
                        let problem = "`publisher` does not go with transport = \"kafka\"";
                        self.problem(at.clone(), problem.into(), None);
                        None
                    }
                };
                let host = endpoint.host.clone();
                let sasl = match (secret, connection.credential) {
                    (Some(secret), Credential::Key { .. }) => {
                        Sasl::Plain(Login { user: "$ConnectionString".into(), password: secret })
                    }
                    // By this protocol a token is for the namespace (event-hubs.md, section 3).
                    (_, Credential::Entra(entra)) => Sasl::Entra(entra, format!("https://{host}")),
                    _ => {
                        let hint = "use a policy's name and key, or transport = \"amqp\"";
                        let problem = "`transport = \"kafka\"` takes no signature made elsewhere".into();
                        self.problem(at, problem, Some(hint.into()));
                        return None;
                    }
                };
                return Some(Kind::Kafka(Kafka {
                    brokers: vec![(host, named.unwrap_or(KAFKA_PORT))],
                    topic: entity,
                    partition,
                    tls: endpoint.tls.then(|| ClientTls { ca, pins, ..ClientTls::default() }),
                    sasl: Some(sasl),
                    compression: Compression::None,
                }));
            }
        };
        let (port, proxy) = (named.unwrap_or(usual), proxy.map(|(_, proxy)| proxy));
        let device = self.device.clone();
        Some(Kind::EventHubs(EventHubs { connection, entity, target, device, transport, port, ca, pins, proxy }))
    }

    /// A signature that has ended, and the emulator's way where the emulator cannot be.
    fn doubt_credential(&mut self, at: &Range<usize>, connection: &ConnectionString) {
        if let Credential::Signature(signature) = &connection.credential {
            let until = signature_ends(signature.expose());
            let now = clock::wall_ms();
            if let Some(until) = until.filter(|until| clock::is_credible(now) && until.saturating_mul(1000) <= now) {
                let ended = clock::utc(until.saturating_mul(1000));
                let hint = "make a new one, or give the policy's name and key: signatures are made from them";
                self.problem(at.clone(), format!("the signature has ended at {ended}"), Some(hint.into()));
            }
        }
        let Endpoint { host, tls, .. } = &connection.endpoint;
        if !tls && is_public(host) {
            let hint = "leave UseDevelopmentEmulator=true out";
            let message = format!("`{host}` is not the emulator: nothing would be encrypted on the way there");
            self.problem(at.clone(), message, Some(hint.into()));
        }
    }

    /// The hub, or what of it.
    fn target(&mut self, partition: Option<Spanned<String>>, publisher: Option<Spanned<String>>) -> Target {
        match (partition, publisher) {
            (None, None) => Target::Hub,
            (Some(partition), None) => match partition.get_ref().parse() {
                Ok(number) => Target::Partition(number),
                Err(_) => {
                    self.problem(partition.span(), "`partition` must be a partition's number, as text".into(), None);
                    Target::Hub
                }
            },
            (None, Some(publisher)) => {
                self.name(publisher.span(), publisher.get_ref());
                Target::Publisher(publisher.into_inner())
            }
            (Some(_), Some(publisher)) => {
                self.problem(publisher.span(), "`partition` and `publisher` do not go together".into(), None);
                Target::Hub
            }
        }
    }
}

/// When a shared access signature ends, in seconds since the Unix epoch (`se`).
fn signature_ends(signature: &str) -> Option<i64> {
    let (_, parts) = signature.split_once(' ')?;
    parts.split('&').find_map(|part| part.strip_prefix("se=")?.parse().ok())
}

/// Whether a host is one of the internet: a name with a dot, or an address that is not private.
fn is_public(host: &str) -> bool {
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            let is_here = address.is_loopback() || address.is_link_local() || address.is_unspecified();
            !(is_here || address.is_private() || is_shared)
        }
        Ok(std::net::IpAddr::V6(address)) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
        // Names of one word, and these endings, are of a machine or a site.
        Err(_) => {
            let ends = [".local", ".internal", ".localhost", ".lan", ".svc", ".test", ".home.arpa"];
            host.contains('.') && !ends.iter().any(|end| host.ends_with(end))
        }
    }
}
