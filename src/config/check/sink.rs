//! `[sink.NAME]`

use super::{Checker, Table};
use crate::config::value::{
    Bytes, ClientTls, Codec, Compression, ConnectionString, Credential, Endpoint, EventHubs, Kafka, Limit, Login,
    PartitionBy, Place, Proxy, Rate, Sasl, Span, Target, Transport,
};
use crate::config::{Sink, raw};
use crate::platform::clock;
use crate::sink::Kind;
use crate::store::{ReaderRule, Selection};
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// Where Event Hubs speaks Kafka.
const KAFKA_PORT: u16 = 9093;

impl Checker<'_> {
    pub(super) fn sink(&mut self, name: &str, span: Range<usize>, mut body: Table<'_>) -> Option<Sink> {
        match self.kind(&span, &mut body, &["eventhubs", "kafka", "directory"])?.as_str() {
            "eventhubs" => {
                let raw: raw::EventHubs = self.fields(span.clone(), body);
                let codec = self.codec(name, raw.format.as_ref(), raw.compression.as_ref());
                let (reader, linger) = self.reading(name, raw.from.clone(), raw.begin.as_ref(), raw.linger.as_ref());
                let rate = raw.throughput_units.as_ref().map(|units| self.rate(units));
                let fixed = raw.partition.is_some() || raw.publisher.is_some();
                let partition_by =
                    self.partition_by(raw.partition_by.as_ref(), raw.partition_attribute.as_ref(), fixed);
                let live_first = self.live_first(raw.drain.as_ref(), &partition_by);
                let limit = self.limit(raw.max_behind.as_ref(), raw.give_up_after.as_ref(), live_first);
                let kind = self.event_hubs(&span, raw)?;
                Some(Sink { name: name.into(), kind, reader, codec, linger, rate, partition_by, live_first, limit })
            }
            "kafka" => {
                let raw: raw::kafka::Kafka = self.fields(span.clone(), body);
                let codec = self.codec(name, raw.format.as_ref(), raw.compression.as_ref());
                let (reader, linger) = self.reading(name, raw.from.clone(), raw.begin.as_ref(), raw.linger.as_ref());
                let fixed = raw.partition.is_some();
                let partition_by =
                    self.partition_by(raw.partition_by.as_ref(), raw.partition_attribute.as_ref(), fixed);
                let live_first = self.live_first(raw.drain.as_ref(), &partition_by);
                let limit = self.limit(raw.max_behind.as_ref(), raw.give_up_after.as_ref(), live_first);
                let kind = Kind::Kafka(self.kafka(&span, raw)?);
                Some(Sink {
                    name: name.into(),
                    kind,
                    reader,
                    codec,
                    linger,
                    rate: None,
                    partition_by,
                    live_first,
                    limit,
                })
            }
            _ => {
                let raw: raw::Directory = self.fields(span.clone(), body);
                let (reader, linger) = self.reading(name, raw.from.clone(), raw.begin.as_ref(), raw.linger.as_ref());
                let limit = self.limit(raw.max_behind.as_ref(), raw.give_up_after.as_ref(), false);
                let directory = self.directory(&span, raw)?;
                let codec = if directory.packed { Codec::Gzip } else { Codec::None };
                let (kind, partition_by) = (Kind::Directory(directory), PartitionBy::Stream);
                Some(Sink {
                    name: name.into(),
                    kind,
                    reader,
                    codec,
                    linger,
                    rate: None,
                    partition_by,
                    live_first: false,
                    limit,
                })
            }
        }
    }

    /// What decides the partition, unless that is `fixed`.
    fn partition_by(
        &mut self,
        by: Option<&Spanned<raw::PartitionBy>>,
        attribute: Option<&Spanned<String>>,
        fixed: bool,
    ) -> PartitionBy {
        let span = by.map(Spanned::span).or(attribute.map(Spanned::span));
        if let Some(span) = span.filter(|_| fixed) {
            let hint = "give one of `partition`, `publisher`, `partition_by`";
            self.problem(span, "the partition is decided twice".into(), Some(hint.into()));
        }
        match (by.map(|by| *by.get_ref()), attribute) {
            (Some(raw::PartitionBy::Attribute), Some(name)) => PartitionBy::Attribute(name.get_ref().clone()),
            (Some(raw::PartitionBy::Attribute), None) => {
                let span = by.map_or(0..0, Spanned::span);
                self.need(None::<()>, &span, "partition_attribute", "\"line\"");
                PartitionBy::Stream
            }
            (_, Some(name)) => {
                let hint = "write partition_by = \"attribute\"";
                self.problem(name.span(), "`partition_attribute` does nothing here".into(), Some(hint.into()));
                PartitionBy::Stream
            }
            (Some(raw::PartitionBy::Device), None) => PartitionBy::Device,
            (Some(raw::PartitionBy::RoundRobin), None) => PartitionBy::RoundRobin,
            (Some(raw::PartitionBy::Stream) | None, None) => PartitionBy::Stream,
        }
    }

    fn live_first(&mut self, drain: Option<&Spanned<raw::Drain>>, by: &PartitionBy) -> bool {
        let Some(drain) = drain.filter(|drain| *drain.get_ref() == raw::Drain::LiveFirst) else { return false };
        if matches!(by, PartitionBy::Attribute(_)) {
            let hint = "a record's lane is for life: take one of the two";
            let problem = "`drain = \"live-first\"` does not go with `partition_by = \"attribute\"`";
            self.problem(drain.span(), problem.into(), Some(hint.into()));
        }
        true
    }

    /// How far a sink may be behind.
    fn limit(&mut self, bytes: Option<&Spanned<Bytes>>, age: Option<&Spanned<Span>>, live_first: bool) -> Limit {
        let limit = Limit { bytes: bytes.map(|bytes| bytes.get_ref().0), age: age.map(|age| age.get_ref().0) };
        if let Some(at) = bytes.filter(|bytes| bytes.get_ref().0 < 1 << 20) {
            self.problem(at.span(), "`max_behind` must be at least 1MiB".into(), None);
        }
        if let Some(at) = age.filter(|age| age.get_ref().0 < Duration::from_secs(10)) {
            self.problem(at.span(), "`give_up_after` must be at least 10s".into(), None);
        }
        if let Some(at) = bytes.map(Spanned::span).or(age.map(Spanned::span)).filter(|_| live_first) {
            let hint = "with drain = \"fifo\" the oldest is given up first";
            self.problem(at, "this does not go with drain = \"live-first\"".into(), Some(hint.into()));
        }
        limit
    }

    /// How bodies are made.
    fn codec(
        &mut self,
        name: &str,
        format: Option<&Spanned<raw::Format>>,
        compression: Option<&Spanned<Codec>>,
    ) -> Codec {
        if format.is_none() && compression.is_none() {
            self.assume(format!("sink.{name}: format = \"ndjson\", compression = \"gzip\""));
        }
        compression.map_or(Codec::Gzip, |codec| *codec.get_ref())
    }

    /// What every sink says of the streams that it reads.
    fn reading(
        &mut self,
        name: &str,
        from: Option<Spanned<Vec<Spanned<String>>>>,
        begin: Option<&Spanned<raw::Begin>>,
        linger: Option<&Spanned<Span>>,
    ) -> (ReaderRule, Duration) {
        let streams = match from {
            None => {
                self.assume(format!("sink.{name}: from = every stream that is not Forebay's own"));
                Selection::All
            }
            Some(from) => {
                if from.get_ref().is_empty() {
                    self.problem(
                        from.span(),
                        "`from` is empty".into(),
                        Some("leave it out to read every stream".into()),
                    );
                }
                Selection::Named(from.into_inner().into_iter().map(Spanned::into_inner).collect())
            }
        };
        let newest = begin.is_some_and(|begin| *begin.get_ref() == raw::Begin::Newest);
        let wait = linger.map_or(Duration::from_secs(1), |linger| linger.get_ref().0);
        if let Some(at) = linger.filter(|_| wait > Duration::from_secs(3600)) {
            self.problem(at.span(), "`linger` must be at most 1h".into(), None);
        }
        (ReaderRule { name: name.into(), streams, newest }, wait)
    }

    fn event_hubs(&mut self, span: &Range<usize>, raw: raw::EventHubs) -> Option<Kind> {
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
            && named.get_ref() != path
        {
            let hint = format!("leave `event_hub` out, or take a connection string for `{}`", named.get_ref());
            self.problem(named.span(), format!("the connection string is for `{path}` (EntityPath)"), Some(hint));
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

    fn rate(&mut self, units: &Spanned<f64>) -> Rate {
        if !(0.01..=1000.0).contains(units.get_ref()) {
            let hint = "this device's share: 0.5 is 500 kB or 500 events a second";
            self.problem(units.span(), "`throughput_units` must be from 0.01 to 1000".into(), Some(hint.into()));
        }
        Rate::throughput_units(*units.get_ref())
    }

    fn proxy(&mut self, proxy: Spanned<raw::Proxy>) -> Option<Proxy> {
        let span = proxy.span();
        let raw::Proxy { address, username, password } = proxy.into_inner();
        let address = self.need(address, &span, "address", "\"proxy.example.com:3128\"")?;
        let text = address.get_ref();
        let Some(Place { host, port }) = Place::parse(text, None) else {
            let hint = "for example \"proxy.example.com:3128\"; name and password have keys of their own";
            self.problem(address.span(), format!("`{text}` is not host:port"), Some(hint.into()));
            return None;
        };
        let login = match (username, password) {
            (Some(user), Some(password)) => Some(Login { user: user.into_inner(), password: self.secret(&password)? }),
            (None, None) => None,
            _ => {
                self.problem(span, "`username` and `password` go together".into(), None);
                None
            }
        };
        Some(Proxy { host, port, login })
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
            !(address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified())
        }
        Ok(std::net::IpAddr::V6(address)) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
        // Names of one word, and these endings, are of a machine or a site.
        Err(_) => {
            host.contains('.') && ![".local", ".internal", ".localhost", ".lan"].iter().any(|end| host.ends_with(end))
        }
    }
}
