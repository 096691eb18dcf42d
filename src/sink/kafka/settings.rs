//! `[sink.NAME]` with `kind = "kafka"`

use crate::section::{Claim, ClientTls, Host, Login, Place, Secret, Section};
use crate::sink::entra::Entra;
use crate::sink::{Kind, Sending, Sink, SinkSettings};
use crate::telemetry::Metrics;
use std::fmt;
use std::sync::Arc;

/// The usual port of Kafka.
const PORT: u16 = 9092;
/// Kafka's own limit on the length of a topic's name, in bytes.
const MOST_TOPIC_BYTES: usize = 249;

/// The row of this kind in the table of sinks.
pub const KIND: Kind = Kind { name: "kafka", doc: "A topic of any Kafka cluster.", read };

/// The settings of a sink that sends to a topic of a Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Host and port of brokers to begin with; the cluster names the others.
    pub brokers: Vec<(String, u16)>,
    /// The topic.
    pub topic: String,
    /// The partition that all events of this sink go to; `None` when `partition_by` decides.
    pub partition: Option<u32>,
    /// The TLS settings; `None` for connections without TLS.
    pub tls: Option<ClientTls>,
    /// The login; `None` for brokers that ask for none.
    pub sasl: Option<Sasl>,
    /// Kafka's own compression of a batch, besides the compression of the bodies.
    pub compression: Compression,
}

/// The SASL mechanism and its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sasl {
    /// PLAIN: the password itself is sent, so it should be used over TLS only.
    Plain(Login),
    /// SCRAM-SHA-256
    Scram256(Login),
    /// SCRAM-SHA-512
    Scram512(Login),
    /// OAUTHBEARER with a token that was made elsewhere.
    OauthBearer(Secret),
    /// OAUTHBEARER with a token of Microsoft Entra for this resource.
    Entra(Entra, String),
}

/// Kafka's own compression of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// The batch is not compressed.
    None,
    /// gzip, level 6.
    Gzip,
    /// Snappy, in the framing of snappy-java.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard, level 3.
    Zstd,
}

impl SinkSettings for Settings {
    fn open(&self, metrics: Arc<Metrics>) -> Arc<dyn Sink> {
        Arc::new(super::Kafka::new(self.clone(), metrics))
    }

    fn claims(&self) -> Vec<Claim> {
        let identity = self.tls.as_ref().and_then(|tls| tls.identity.as_ref());
        let identity = identity.map(|(certificate, _)| Claim::Certificate(certificate.clone()));
        let target =
            |(host, port): &(String, u16)| Claim::Target(Place { host: host.clone(), port: *port }, self.tls.clone());
        self.brokers.iter().map(target).chain(identity).collect()
    }
}

/// Names the target, for people.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brokers = self.brokers.iter().map(|(host, port)| format!("{}:{port}", Host(host)));
        let brokers = brokers.collect::<Vec<_>>().join(", ");
        let security = if self.tls.is_some() { "with TLS" } else { "without TLS" };
        write!(f, "topic `{}` at {brokers}, {security}", self.topic)
    }
}

fn read(section: &mut Section<'_>) -> Option<(Arc<dyn SinkSettings>, Sending)> {
    let brokers = section
        .texts("brokers")
        .doc("Host and port of brokers to begin with; the cluster names the others. The usual port is 9092.")
        .example("[\"kafka.example.com:9092\"]")
        .not_empty()
        .need();
    let topic = section
        .text("topic")
        .doc("The topic.")
        .example("\"readings\"")
        .check(|topic| {
            let hint = "1 to 249 letters, digits, `.`, `_`, `-`";
            (!is_topic(topic)).then(|| (format!("`{topic}` is no name of a topic"), Some(hint.into())))
        })
        .need();
    let partition = section
        .whole::<u32>("partition")
        .doc("All events of this sink go to this partition.")
        .example("0")
        .get_or("decided by `partition_by`");
    let tls = ClientTls::read(section, "TLS to the brokers. `tls = {}` trusts the system's roots.");
    let sasl =
        section.table("sasl", "How Forebay proves who it is.").and_then(|table| Sasl::read(table, tls.is_some()));
    let compression = section
        .choice(
            "record_compression",
            &[
                ("none", Compression::None, "Batches are sent as they are."),
                ("gzip", Compression::Gzip, "gzip, level 6."),
                ("snappy", Compression::Snappy, "Snappy, in the framing of snappy-java."),
                ("lz4", Compression::Lz4, "LZ4 frames."),
                ("zstd", Compression::Zstd, "Zstandard, level 3."),
            ],
        )
        .doc("Kafka's own compression of a batch, besides that of the bodies.")
        .or(Compression::None);
    let sending = Sending::read_partitioned(section, partition.is_some());
    let brokers = brokers?;
    let brokers = brokers.iter().filter_map(|broker| {
        let place = Place::parse(&broker.value, Some(PORT));
        if place.is_none() {
            let hint =
                "for example \"kafka.example.com:9092\" or \"[fd00::5]:9092\"; whether with TLS is said by `tls`";
            let message = format!("`{}` is not host:port", broker.value);
            section.session().problem(broker.span.clone(), message, Some(hint.into()));
        }
        place.map(|place| (place.host, place.port))
    });
    let brokers = brokers.collect();
    Some((Arc::new(Settings { brokers, topic: topic?, partition, tls, sasl, compression }), sending))
}

fn is_topic(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= MOST_TOPIC_BYTES
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[derive(Clone, Copy, PartialEq)]
enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

impl Sasl {
    fn read(mut section: Section<'_>, has_tls: bool) -> Option<Self> {
        let mechanism = section
            .choice(
                "mechanism",
                &[
                    ("plain", Mechanism::Plain, "The password itself: use it over TLS only."),
                    ("scram-sha-256", Mechanism::ScramSha256, "SCRAM-SHA-256 (RFC 7677)."),
                    ("scram-sha-512", Mechanism::ScramSha512, "SCRAM-SHA-512."),
                    ("oauthbearer", Mechanism::OauthBearer, "A token that was made elsewhere (RFC 7628)."),
                ],
            )
            .doc("The SASL mechanism.")
            .example("\"scram-sha-512\"")
            .need();
        let is_bearer = mechanism == Some(Mechanism::OauthBearer);
        let is_password = mechanism.is_some() && !is_bearer;
        let user = section.text("username").doc("User name, for `plain` and `scram`.").example("\"forebay\"");
        let user = if is_password { user.need() } else { user.get() };
        let (doc, example) = ("Password, for `plain` and `scram`.", "{ env = \"KAFKA_PASSWORD\" }");
        let password =
            if is_password { section.need_secret("password", doc, example) } else { section.secret("password", doc) };
        let (doc, example) = ("Token, for `oauthbearer`.", "{ file = \"/run/token\" }");
        let token = if is_bearer { section.need_secret("token", doc, example) } else { section.secret("token", doc) };
        if is_bearer && (section.has("username") || section.has("password")) {
            let message = "oauthbearer has a `token`, no name and password";
            section.session().problem(section.span(), message, None);
        }
        if is_password && section.has("token") {
            section.wrong("token", "`token` is for oauthbearer");
        }
        let login = user.zip(password).map(|(user, password)| Login { user, password });
        if let (Some(Mechanism::ScramSha256 | Mechanism::ScramSha512), Some(login)) = (mechanism, &login) {
            let (user, password) = (login.user.is_ascii(), login.password.expose().is_ascii());
            for (key, _) in [("username", user), ("password", password)].into_iter().filter(|(_, is_good)| !is_good) {
                section.wrong(key, "SCRAM takes ASCII only here: SASLprep is not built in");
            }
        }
        if mechanism == Some(Mechanism::Plain) && !has_tls {
            section.session().assume("sasl: plain without `tls` sends the password in the open");
        }
        section.end();
        match mechanism? {
            Mechanism::Plain => login.map(Self::Plain),
            Mechanism::ScramSha256 => login.map(Self::Scram256),
            Mechanism::ScramSha512 => login.map(Self::Scram512),
            Mechanism::OauthBearer => token.map(Self::OauthBearer),
        }
    }
}
