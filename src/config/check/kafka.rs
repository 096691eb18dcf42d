//! `[sink.NAME]` with `kind = "kafka"`

use super::Checker;
use crate::config::raw;
use crate::config::raw::kafka::Mechanism;
use crate::config::value::{ClientTls, Compression, Kafka, Login, Place, Sasl};
use std::ops::Range;
use toml::Spanned;

/// Where Kafka listens usually.
const PORT: u16 = 9092;
/// Kafka's own limit on a topic's name.
const LONGEST_TOPIC: usize = 249;

impl Checker<'_> {
    pub(super) fn kafka(&mut self, span: &Range<usize>, raw: raw::kafka::Kafka) -> Option<Kafka> {
        let brokers = self.need(raw.brokers, span, "brokers", "[\"kafka.example.com:9092\"]");
        let topic = self.need(raw.topic, span, "topic", "\"readings\"");
        let tls = raw.tls.map(|tls| self.client_tls(tls));
        let sasl = raw.sasl.and_then(|sasl| self.sasl(sasl, tls.as_ref()));
        let (brokers, topic) = (brokers?, topic?);
        if brokers.get_ref().is_empty() {
            self.problem(brokers.span(), "`brokers` is empty".into(), None);
        }
        let brokers = brokers.get_ref().iter().filter_map(|broker| self.kafka_broker(broker)).collect();
        let is_name = |name: &str| {
            !matches!(name, "" | "." | "..")
                && name.len() <= LONGEST_TOPIC
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        if !is_name(topic.get_ref()) {
            let hint = "1 to 249 letters, digits, `.`, `_`, `-`";
            self.problem(topic.span(), format!("`{}` is no name of a topic", topic.get_ref()), Some(hint.into()));
        }
        Some(Kafka {
            brokers,
            topic: topic.into_inner(),
            partition: raw.partition.map(Spanned::into_inner),
            tls,
            sasl,
            compression: raw.record_compression.map_or(Compression::None, Spanned::into_inner),
        })
    }

    fn kafka_broker(&mut self, broker: &Spanned<String>) -> Option<(String, u16)> {
        let text = broker.get_ref();
        if let Some(Place { host, port }) = Place::parse(text, Some(PORT)) {
            return Some((host, port));
        }
        let hint = "for example \"kafka.example.com:9092\" or \"[fd00::5]:9092\"; whether with TLS is said by `tls`";
        self.problem(broker.span(), format!("`{text}` is not host:port"), Some(hint.into()));
        None
    }

    fn sasl(&mut self, sasl: Spanned<raw::kafka::Sasl>, tls: Option<&ClientTls>) -> Option<Sasl> {
        let span = sasl.span();
        let raw::kafka::Sasl { mechanism, username, password, token } = sasl.into_inner();
        let mechanism = self.need(mechanism, &span, "mechanism", "\"scram-sha-512\"")?;
        if *mechanism.get_ref() == Mechanism::OauthBearer {
            if username.is_some() || password.is_some() {
                self.problem(span.clone(), "oauthbearer has a `token`, no name and password".into(), None);
            }
            let token = self.need(token, &span, "token", "{ file = \"/run/token\" }")?;
            return self.secret(&token).map(Sasl::OauthBearer);
        }
        if let Some(token) = token {
            self.problem(token.span(), "`token` is for oauthbearer".into(), None);
        }
        let user = self.need(username, &span, "username", "\"forebay\"");
        let password = self.need(password, &span, "password", "{ env = \"KAFKA_PASSWORD\" }");
        let password_span = password.as_ref().map(Spanned::span);
        let login = Login { user: user?.into_inner(), password: self.secret(&password?)? };
        match mechanism.get_ref() {
            Mechanism::Plain => {
                if tls.is_none() {
                    self.assume("sasl: plain without `tls` sends the password in the open".into());
                }
                Some(Sasl::Plain(login))
            }
            scram => {
                if !login.password.expose().is_ascii() || !login.user.is_ascii() {
                    let at = password_span.unwrap_or(span);
                    self.problem(at, "SCRAM takes ASCII only here: SASLprep is not built in".into(), None);
                }
                let is_256 = *scram == Mechanism::ScramSha256;
                Some(if is_256 { Sasl::Scram256(login) } else { Sasl::Scram512(login) })
            }
        }
    }
}
