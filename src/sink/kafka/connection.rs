//! A connection to one broker: TLS, versions, SASL, one request at a time.
//!
//! Invariants: every wait has a time limit, and a connection that failed once is not used again. An answer is read
//! only after it named our request by a random number that nobody else knows.

use super::answer::{self, Asks};
use super::error::from_broker;
use super::scram::{Hash, Scram};
use super::{Sasl, Settings as Kafka};
use crate::flow::hex::hex;
use crate::platform::stream::Stream;
use crate::platform::{clock, random};
use crate::section::{Login, Place};
use crate::sink::dial::{self, step};
use crate::sink::{Class, DeliverError, entra};
use bytes::BytesMut;
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::{Encodable, StrBytes};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// The time limit for TCP, TLS and SASL together.
const CONNECT: Duration = Duration::from_secs(30);
/// The time limit for an answer; after it the connection is given up. Brokers answer within the request's
/// own timeout, which is shorter.
const ANSWER: Duration = Duration::from_secs(40);
/// The longest answer that is accepted, in bytes. In an answer, a broker or a partition takes tens of bytes.
const MOST_BYTES: u32 = 4 << 20;

/// A connection to one broker, logged in if the settings ask for a login.
#[derive(Debug)]
pub struct Connection {
    /// The host and port of the broker.
    pub place: (String, u16),
    stream: Box<dyn Stream>,
    /// For each API, the oldest and the newest version that the broker supports.
    versions: HashMap<i16, (i16, i16)>,
    /// The time until which this login is used; `None` when the login does not end.
    good_until: Option<Instant>,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The reason why it is not possible; `Denied` where only a person can fix it.
    pub async fn open(settings: &Kafka, host: &str, port: u16) -> Result<Self, DeliverError> {
        let opened = timeout(CONNECT, Self::try_open(settings, host, port)).await;
        let opened = opened.unwrap_or_else(|_| Err(DeliverError::transient("no answer in time")));
        opened.map_err(|error| {
            let place = Place { host: host.into(), port }.to_string();
            if error.message.starts_with(&place) {
                return error;
            }
            DeliverError { message: format!("{place}: {}", error.message), ..error }
        })
    }

    async fn try_open(settings: &Kafka, host: &str, port: u16) -> Result<Self, DeliverError> {
        let stream = dial::tcp(host, port).await?;
        let stream: Box<dyn Stream> = match &settings.tls {
            None => Box::new(stream),
            Some(files) => Box::new(dial::tls(stream, host, files.trust()).await?),
        };
        let mut connection = Self { place: (host.into(), port), stream, versions: HashMap::new(), good_until: None };
        // Every broker supports version 0.
        let known = connection.ask_as(ApiVersionsRequest::default(), 0).await?;
        if known.error_code != 0 {
            return Err(from_broker(known.error_code, &settings.topic, None));
        }
        connection.versions = known.apis.iter().map(|(api, least, newest)| (*api, (*least, *newest))).collect();
        if let Some(sasl) = &settings.sasl {
            let ca = settings.tls.as_ref().and_then(|tls| tls.ca.as_deref());
            connection.authenticate(sasl, ca).await?;
        }
        step(
            "kafka",
            format_args!(
                "{} APIs known, {}",
                connection.versions.len(),
                if settings.sasl.is_some() { "logged in" } else { "no login" }
            ),
        );
        Ok(connection)
    }

    /// Whether the login ends soon, so that a new connection must be made.
    pub fn is_stale(&self) -> bool {
        self.good_until.is_some_and(|until| Instant::now() >= until)
    }

    /// Sends a request in the newest version that both sides support, up to `most`, and returns the answer.
    ///
    /// # Errors
    /// When there is no common version, or no answer.
    pub async fn ask<R: Asks>(&mut self, request: R, most: i16) -> Result<R::Answer, DeliverError> {
        let (least, newest) = self.versions.get(&R::KEY).copied().unwrap_or((0, 0));
        let version = newest.min(most).min(R::VERSIONS.max);
        if version < least.max(R::VERSIONS.min) {
            let message = format!("the broker speaks versions {least} to {newest} of API {}, and we do not", R::KEY);
            return Err(DeliverError { class: Class::Denied, message });
        }
        self.ask_as(request, version).await
    }

    async fn ask_as<R: Asks>(&mut self, request: R, version: i16) -> Result<R::Answer, DeliverError> {
        let answered = timeout(ANSWER, self.exchange(request, version)).await;
        answered.unwrap_or_else(|_| Err(DeliverError::transient("no answer in time")))
    }

    async fn exchange<R: Asks>(&mut self, request: R, version: i16) -> Result<R::Answer, DeliverError> {
        let id = random::u32().cast_signed();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(id)
            .with_client_id(Some(StrBytes::from_static_str("forebay")));
        let mut bytes = BytesMut::from(&[0; 4][..]);
        header.encode(&mut bytes, R::header_version(version)).map_err(DeliverError::transient)?;
        request.encode(&mut bytes, version).map_err(DeliverError::transient)?;
        let length = u32::try_from(bytes.len() - 4).map_err(DeliverError::transient)?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&bytes).await.map_err(DeliverError::transient)?;
        self.stream.flush().await.map_err(DeliverError::transient)?;
        drop(bytes);
        let answer = self.receive().await?;
        match answer::read::<R>(&answer, id, version) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(DeliverError::transient("what answers is no Kafka broker, or not to us")),
            Err(_) => Err(DeliverError::transient(format_args!(
                "an answer that is none of API {} version {version}: is it a Kafka broker?",
                R::KEY
            ))),
        }
    }

    async fn receive(&mut self) -> Result<Vec<u8>, DeliverError> {
        let length = self.stream.read_u32().await.map_err(closed)?;
        if length > MOST_BYTES {
            return Err(DeliverError::transient("what answers is no Kafka broker (is TLS set as the broker has it?)"));
        }
        // Memory grows with the bytes that come, not with the length that the broker claims.
        let mut answer = Vec::new();
        let read = (&mut self.stream).take(u64::from(length)).read_to_end(&mut answer).await.map_err(closed)?;
        if u32::try_from(read).ok() != Some(length) {
            return Err(closed(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(answer)
    }

    async fn authenticate(&mut self, sasl: &Sasl, ca: Option<&Path>) -> Result<(), DeliverError> {
        let mechanism = match sasl {
            Sasl::Plain(_) => "PLAIN",
            Sasl::Scram256(_) => "SCRAM-SHA-256",
            Sasl::Scram512(_) => "SCRAM-SHA-512",
            Sasl::OauthBearer(_) | Sasl::Entra(..) => "OAUTHBEARER",
        };
        let asked = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        let answer = self.ask(asked, 1).await?;
        if answer.error_code != 0 {
            let message = format!("the broker does not take {mechanism}, but {}", answer.mechanisms.join(", "));
            return Err(DeliverError { class: Class::Denied, message });
        }
        match sasl {
            Sasl::Plain(Login { user, password }) => {
                self.tokens(format!("\0{user}\0{}", password.now().expose())).await?;
            }
            Sasl::OauthBearer(token) => self.bearer(token.now().expose()).await?,
            Sasl::Entra(entra, resource) => {
                let (token, until_s) = entra::token(entra, ca, resource).await?;
                self.bearer(&token).await?;
                self.good_for(Duration::from_secs(until_s.saturating_sub(clock::wall_s())));
            }
            Sasl::Scram256(login) => self.scram(Hash::Sha256, login).await?,
            Sasl::Scram512(login) => self.scram(Hash::Sha512, login).await?,
        }
        Ok(())
    }

    async fn bearer(&mut self, token: &str) -> Result<(), DeliverError> {
        let answered = self.tokens(format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}")).await?;
        if answered.is_empty() {
            return Ok(());
        }
        // RFC 7628, section 3.2.3: the broker sends the reason first, and the failure after our answer to it.
        let _ = self.tokens("\u{1}".into()).await;
        Err(DeliverError { class: Class::Denied, message: format!("the broker does not take the token: {answered}") })
    }

    async fn scram(&mut self, hash: Hash, login: &Login) -> Result<(), DeliverError> {
        let nonce = hex(&random::bytes::<16>());
        let denied = |what: &str| DeliverError { class: Class::Denied, message: format!("SCRAM: {what}") };
        let password = login.password.now();
        let mut scram = Scram::new(hash, &login.user, password.expose(), nonce);
        let challenge = self.tokens(scram.first()).await?;
        let answer = scram.answer(&challenge).map_err(denied)?;
        let proof = self.tokens(answer).await?;
        scram.verify(&proof).map_err(denied)
    }

    /// Ends the use of this login after 70 % to 80 % of `life`. The random part spreads the renewals of a fleet.
    fn good_for(&mut self, life: Duration) {
        let at = Instant::now() + life / 10 * 7 + Duration::from_millis(random::below(millis(life) / 10 + 1));
        self.good_until = Some(self.good_until.map_or(at, |until| until.min(at)));
    }

    /// Makes one step of SASL, and returns the broker's part.
    async fn tokens(&mut self, text: String) -> Result<String, DeliverError> {
        let asked = SaslAuthenticateRequest::default().with_auth_bytes(text.into());
        let answer = self.ask(asked, 2).await.map_err(|error| {
            // Event Hubs, among others, closes the connection when it does not accept a login.
            let message = format!(
                "{}; while it was told who we are: check the user and the password, or the token",
                error.message
            );
            DeliverError { message, ..error }
        })?;
        if answer.error_code != 0 {
            let answered = answer.error_message.as_deref().unwrap_or("no reason given");
            let message =
                format!("the broker does not know us: {answered}; check the user and the password, or the token");
            return Err(DeliverError { class: Class::Denied, message });
        }
        if let Ok(life) = u64::try_from(answer.session_lifetime_ms)
            && life > 0
        {
            self.good_for(Duration::from_millis(life));
        }
        Ok(String::from_utf8_lossy(&answer.auth_bytes).into_owned())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn closed(error: std::io::Error) -> DeliverError {
    let text = error.to_string();
    if ["BadCertificate", "CertificateRequired", "CertificateUnknown"].iter().any(|alert| text.contains(alert)) {
        let message = format!("{text}; the broker wants a certificate that it knows: `certificate` and `key` of `tls`");
        return DeliverError { class: Class::Denied, message };
    }
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => DeliverError::transient("the broker closed the connection"),
        _ => DeliverError::transient(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_is_begun_anew_before_it_or_its_token_ends() {
        let (stream, _) = tokio::io::duplex(1);
        let place = ("broker".to_string(), 9093);
        let mut connection = Connection { place, stream: Box::new(stream), versions: HashMap::new(), good_until: None };
        let in_s = |s: u64| Instant::now() + Duration::from_secs(s);
        connection.good_for(Duration::from_secs(1000));
        assert!(connection.good_until.is_some_and(|until| until > in_s(690) && until < in_s(801)));
        connection.good_for(Duration::from_secs(100));
        connection.good_for(Duration::from_secs(10_000));
        assert!(connection.good_until.is_some_and(|until| until < in_s(81)), "what ends first counts");
        connection.good_for(Duration::ZERO);
        assert!(connection.is_stale());
    }
}
