//! Azure Event Hubs over HTTPS: one event a request (`docs/reference/event-hubs.md`, "HTTPS").
//!
//! Invariants: `Accepted` is returned only when the hub has answered 201 for each event of a batch, as Event Hubs
//! does (<https://learn.microsoft.com/rest/api/eventhub/send-event>). Every wait has a time limit. Each channel has
//! a connection of its own, kept open, and one request in flight. A batch that was accepted only in part is sent
//! again as a whole: consumers drop records that repeat (`docs/design/envelope.md`).
//!
//! The body of a request is the unchanged body of the event; the properties are headers. The documented JSON
//! batch takes text only, so each event of compressed readings is a request of its own; bodies are larger for it.

use super::Settings;
use super::Target;
use super::error::{BUSY, NOT_FOUND, QUOTA};
use super::token::{Renewal, Token};
use super::transport;
use crate::flow::batch::{Batch, Event};
use crate::flow::receipt::Accepted;
use crate::platform::clock;
use crate::section::Host;
use crate::sink::dial::{Connections, step};
use crate::sink::slots::Slots;
use crate::sink::{Class, DeliverError, Delivery, Limits, Sink};
use crate::telemetry::{Metric, Metrics, event};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// The largest request, in bytes: all tiers but Basic accept it, and batches that Basic refuses are cut.
const REQUEST_BYTES: usize = 1 << 20;
/// Headers of an event take fewer bytes than this, the token apart.
const HEADERS_BYTES: usize = 2048;
/// The size of a body before compression, in bytes. It is larger than over AMQP: each request costs a round trip.
const BODY_RAW: usize = 2 << 20;
/// The time limit for TCP, a proxy and TLS together, and for an answer; the service itself gives up after 60 s.
const PATIENCE: Duration = Duration::from_secs(70);
/// A connection that was silent for this long is not used again: Azure drops silent connections after 240 s.
const IDLE: Duration = Duration::from_secs(180);
/// The longest answer that is read, in bytes.
const MOST_ANSWER: usize = 16 << 10;
/// At most this many characters of an answer are shown.
const MOST_SHOWN: usize = 300;

type Sender = SendRequest<Full<Bytes>>;

/// The sink that sends to Event Hubs over HTTPS.
#[derive(Debug)]
pub struct Https {
    settings: Settings,
    made: Connections,
    metrics: Arc<Metrics>,
    token: Mutex<Option<(Token, Option<Renewal>)>>,
    /// True once the hub has accepted an event: a later refusal is about the refused event itself.
    proved: AtomicBool,
    clients: Slots<Arc<str>, Open>,
}

/// An open connection.
#[derive(Debug)]
struct Open {
    sender: Sender,
    used: Instant,
}

impl Https {
    /// Makes the sink; it connects with the first delivery.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let (token, clients) = (Mutex::default(), Slots::default());
        Self { settings, made: Connections::default(), metrics, token, proved: AtomicBool::new(false), clients }
    }

    async fn send(&self, batch: &Batch) -> Result<Accepted, DeliverError> {
        let slot = self.clients.of(batch.channel.clone()).await;
        let mut slot = slot.lock().await;
        for event in &batch.events {
            // A request that fails or is given up drops its connection. Else its late answer could be taken for the
            // answer to a later request.
            let mut open = match slot.take().filter(|open| !open.sender.is_closed() && open.used.elapsed() < IDLE) {
                Some(open) => open,
                None => self.connect().await?,
            };
            let request = self.request(event, batch.key.as_deref()).await?;
            self.metrics.add(Metric::SinkWireBytes, event.body.len() as u64);
            let (status, wait, answered) = timeout(PATIENCE, exchange(&mut open.sender, request))
                .await
                .map_err(|_| DeliverError::transient("no answer in time"))??;
            open.used = Instant::now();
            *slot = Some(open);
            // A portal, a proxy or a wrong port may answer 200 or 204 to anything.
            if status != StatusCode::CREATED {
                return Err(self.refused(status, wait, &answered).await);
            }
            self.proved.store(true, Relaxed);
        }
        Ok(Accepted::by_target())
    }

    async fn connect(&self) -> Result<Open, DeliverError> {
        let host = &self.settings.connection.endpoint.host;
        let opened = timeout(PATIENCE, async {
            let stream = transport::secured(transport::tcp(&self.settings).await?, &self.settings).await?;
            let spoken = handshake(TokioIo::new(stream)).await;
            spoken.map_err(|error| DeliverError::transient(format_args!("{host}: HTTP: {error}")))
        });
        let (sender, connection) =
            opened.await.map_err(|_| DeliverError::transient(format_args!("{host}: no connection in time")))??;
        // The task ends with its sender, or when the peer closes; the next request reports the error.
        tokio::spawn(connection);
        self.metrics.add(Metric::SinkConnects, 1);
        self.made.made(&format!("{}/{}", Host(host), self.settings.entity));
        Ok(Open { sender, used: Instant::now() })
    }

    async fn request(&self, event: &Event, key: Option<&str>) -> Result<Request<Full<Bytes>>, DeliverError> {
        let endpoint = &self.settings.connection.endpoint;
        let path = match &self.settings.target {
            Target::Hub => self.settings.entity.clone(),
            // The paths are written as in the reference (`docs/reference/event-hubs.md`, "URLs").
            Target::Partition(partition) => format!("{}/partitions/{partition}", self.settings.entity),
            Target::Publisher(publisher) => format!("{}/publishers/{publisher}", self.settings.entity),
        };
        let mut request = Request::post(format!("/{path}/messages?timeout=60&api-version=2014-01"))
            // The host as tokens name it: with a port only where the port is part of the address.
            .header(HOST, endpoint.address("https", "").trim_start_matches("https://").trim_end_matches('/'))
            .header(AUTHORIZATION, self.authorization().await?)
            .header(CONTENT_TYPE, event.envelope.content_type);
        if let Some(key) = key.filter(|_| self.settings.target == Target::Hub) {
            request = request.header("BrokerProperties", serde_json::json!({ "PartitionKey": key }).to_string());
        }
        // HTTP's own header would say that the request is compressed; how the service takes that is not documented.
        if let Some(encoding) = event.envelope.content_encoding {
            request = request.header("content_encoding", encoding);
        }
        for (name, value) in event.envelope.properties() {
            request = request.header(name, value.to_string());
        }
        request.body(Full::new(event.body.clone())).map_err(DeliverError::transient)
    }

    async fn authorization(&self) -> Result<String, DeliverError> {
        let mut slot = self.token.lock().await;
        let now = clock::wall_s();
        let due = slot.as_ref().is_none_or(|(_, renewal)| renewal.is_some_and(|renewal| renewal.is_due(now)));
        if due {
            match Token::make(&self.settings, "https").await {
                Ok(token) => {
                    step("token", format_args!("made for {}", self.settings.audience()));
                    let renewal = token.renewal();
                    *slot = Some((token, renewal));
                }
                // The old token is still good, and the service that gives new tokens may be back in a minute.
                Err(error) if slot.as_mut().is_some_and(|(_, r)| r.as_mut().is_some_and(|r| r.put_off(now))) => {
                    tracing::warn!(event = event::SINK_NOTE, %error, "the token was not renewed; trying again");
                }
                Err(error) => return Err(error),
            }
        }
        slot.as_ref().map(|(token, _)| token.authorization()).ok_or_else(|| DeliverError::transient("no token"))
    }

    /// The failure that an answer other than 201 means (`docs/reference/event-hubs.md`, "Status codes").
    async fn refused(&self, status: StatusCode, wait: Option<Duration>, answered: &str) -> DeliverError {
        if status == StatusCode::UNAUTHORIZED {
            // The next request comes with a new token.
            if let Some((token, _)) = self.token.lock().await.take() {
                return token.refused(401, answered);
            }
        }
        let class = class(status, wait, answered, self.proved.load(Relaxed));
        let hint = match status {
            StatusCode::NOT_FOUND => NOT_FOUND,
            _ if status.is_success() => {
                "; Event Hubs answers 201: a portal, a proxy or a wrong address answered instead"
            }
            StatusCode::GONE => "; the event hub is not there any more",
            _ => "",
        };
        DeliverError { class, message: format!("the hub answers {status}: {answered}{hint}") }
    }
}

fn class(status: StatusCode, wait: Option<Duration>, answered: &str, proved: bool) -> Class {
    match status.as_u16() {
        413 => Class::TooLarge,
        403 if answered.contains("size") => Class::TooLarge,
        403 if answered.contains("quota") => Class::Busy(wait.unwrap_or(QUOTA)),
        429 | 503 => Class::Busy(wait.unwrap_or(BUSY)),
        // As long as the hub has accepted nothing, the address is probably wrong, not the event.
        400 if proved => Class::Refused,
        400 | 401 | 403 | 404 | 410 => Class::Denied,
        _ => Class::Transient,
    }
}

/// Sends a request. Returns the status, the wait that the service asks for, and the text of its answer.
async fn exchange(
    sender: &mut Sender,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Option<Duration>, String), DeliverError> {
    let failed = |error: &dyn std::fmt::Display| DeliverError::transient(format_args!("HTTP: {error}"));
    sender.ready().await.map_err(|error| failed(&error))?;
    let answer: Response<_> = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let (head, body) = answer.into_parts();
    let wait = head.headers.get(RETRY_AFTER).and_then(|text| text.to_str().ok()?.parse().ok());
    let body = Limited::new(body, MOST_ANSWER).collect().await;
    let body = body.map_err(|error| failed(&error))?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    // The answer is XML with a code and a detail.
    let answered =
        text.split_once("<Detail>").map_or(&*text, |(_, rest)| rest.split("</Detail>").next().unwrap_or(rest));
    let answered = answered.chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect();
    Ok((head.status, wait.map(Duration::from_secs), answered))
}

impl Sink for Https {
    fn limits(&self) -> Limits {
        let batch = REQUEST_BYTES - HEADERS_BYTES;
        Limits { batch, largest: batch, per_event: HEADERS_BYTES, raw: BODY_RAW }
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.send(batch))
    }

    fn secret_files(&self) -> Vec<PathBuf> {
        self.settings.secret_files()
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.clients.clear())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_class_that_keeps_the_data() {
        let class =
            |status: u16, answered: &str, proved| class(StatusCode::from_u16(status).unwrap(), None, answered, proved);
        assert_eq!(class(413, "", false), Class::TooLarge);
        assert_eq!(class(403, "the maximum message size was exceeded", true), Class::TooLarge);
        assert_eq!(class(403, "the quota is used up", true), Class::Busy(QUOTA));
        assert_eq!((class(503, "", true), class(429, "", true)), (Class::Busy(BUSY), Class::Busy(BUSY)));
        assert_eq!((class(400, "", false), class(400, "", true)), (Class::Denied, Class::Refused));
        for denied in [401, 403, 404, 410] {
            assert_eq!(class(denied, "", true), Class::Denied, "{denied}");
        }
        for passing in [200, 202, 204, 206, 408, 500, 502, 504, 302, 418] {
            assert_eq!(class(passing, "", true), Class::Transient, "{passing}");
        }
    }
}
