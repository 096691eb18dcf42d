//! A listener for devices that push.
//!
//! Invariants: 202 is sent after the commit; a request that finds no room is answered 429 and leaves
//! nothing behind; a repeat under the same `Idempotency-Key` is answered like the first and stored
//! once; connections, bodies and times are bounded.

mod answer;
mod body;
mod keys;
mod settings;

pub use body::unpack;
pub use settings::{KIND, Settings};

use super::Context;
use crate::flow::frame::{Frame, Payload};
use crate::flow::health::Reporter;
use crate::flow::stop::Stop;
use crate::platform::clock;
use crate::platform::http::answer::bears;
use crate::platform::http::{Clients, Listener, PATIENCE, Place, TlsFiles, Whole};
use crate::telemetry::{Metric, Metrics, event};
use answer::{Answer, precision, say, wait};
use body::BodyError;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::{Method, Request, StatusCode};
use keys::Keys;
use settings::CONTENT_TYPES;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

/// Connections at a time; more wait in the kernel.
const CONNECTIONS: usize = 128;
/// This many of the largest bodies may be in memory, packed and unpacked. Bodies that were handed over do not
/// count.
const BODIES: usize = 16;
/// At most this many bodies are unpacked at a time. Each may take the memory of the largest body.
const UNPACKERS: usize = 2;
/// A listener that cannot be opened is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// The longest `Idempotency-Key`, in bytes.
const LONGEST_KEY: usize = 255;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The result of a request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Durable,
    NoRoom,
}

/// A request on its way to the store.
struct Pushed {
    frame: Frame,
    /// The name under which the idempotency key is saved.
    part: Option<String>,
    answer: oneshot::Sender<Fate>,
    /// The memory permit of the body.
    room: OwnedSemaphorePermit,
}

/// The state that all connections share.
struct Shared {
    settings: Settings,
    /// The bytes of memory that bodies may take.
    bodies: Arc<Semaphore>,
    /// Limits the number of bodies that are unpacked at a time.
    unpackers: Semaphore,
    clients: Arc<Clients>,
    pushed: mpsc::Sender<Pushed>,
    metrics: Arc<Metrics>,
}

pub(super) async fn run(settings: Settings, context: Context) {
    let Context { name, mut giver, positions, mut stop, metrics, health, .. } = context;
    let mut keys = Keys::load(&positions, clock::boot_ms());
    let (pushed, mut requests) = mpsc::channel::<Pushed>(CONNECTIONS);
    let bodies = Arc::new(Semaphore::new(BODIES * settings.max_body));
    let clients = Arc::<Clients>::default();
    let shared = Arc::new(Shared {
        settings,
        bodies,
        unpackers: Semaphore::new(UNPACKERS),
        clients: clients.clone(),
        pushed,
        metrics,
    });
    // The listener ends when this function ends, for whatever reason. So the port is free when the source
    // starts again.
    let mut listening = JoinSet::new();
    listening.spawn(listen(name.clone(), shared, health, stop.clone()));
    // The requests that wait for their commit, in the order in which their frames settle.
    let mut waiting: VecDeque<(u64, oneshot::Sender<Fate>)> = VecDeque::new();
    loop {
        let gone = giver.gone();
        tokio::select! {
            request = requests.recv() => {
                let Some(Pushed { mut frame, part, answer, room }) = request else { break };
                let now = clock::boot_ms();
                if let Some(id) = part.as_ref().and_then(|part| keys.frame_of(part, now)) {
                    // A repeat waits for the commit of the first request, which may come before the commits of
                    // others.
                    waiting.insert(waiting.partition_point(|(other, _)| *other <= id), (id, answer));
                } else {
                    frame.position = part.as_ref().map(|part| Keys::position(part, now));
                    match giver.try_push(frame) {
                        Ok(id) => {
                            if let Some(part) = part {
                                keys.remember(part, now, id);
                            }
                            waiting.push_back((id, answer));
                        }
                        // The client may have gone.
                        Err(_) => drop(answer.send(Fate::NoRoom)),
                    }
                }
                // From here on, the handover counts the memory of the frame.
                drop(room);
                while let Some(frame) = keys.forget(now) {
                    if giver.try_push(frame).is_err() {
                        break;
                    }
                }
            }
            // Perhaps no client can send any more before the commit.
            () = clients.changed(), if !waiting.is_empty() => {}
            settled = giver.more_settled(), if !waiting.is_empty() => if settled.is_none() { return },
            () = gone => return,
            // The listener ends at the stop. Requests that are in progress are still answered.
            Some(ended) = listening.join_next() => {
                if let Err(Ok(panic)) = ended.map_err(JoinError::try_into_panic) {
                    // The supervisor starts the source again.
                    std::panic::resume_unwind(panic);
                }
            }
        }
        let settled = giver.settled();
        if requests.is_empty() && waiting.back().is_some_and(|(id, _)| *id > settled) && clients.only_wait() {
            giver.hurry();
        }
        while waiting.front().is_some_and(|(id, _)| *id <= settled) {
            if let Some((_, answer)) = waiting.pop_front() {
                // The client may have gone: its records are safe all the same.
                let _ = answer.send(Fate::Durable);
            }
        }
        if stop.is_requested() && waiting.is_empty() {
            break;
        }
    }
    stop.requested().await;
}

/// Listens until the stop. If the port is not available, it is tried again.
async fn listen(name: Arc<str>, shared: Arc<Shared>, health: Reporter, mut stop: Stop) {
    let listener = loop {
        match open(&shared.settings).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(event = event::SOURCE_DOWN, source = %name, error, "cannot listen; trying again");
                health.waiting(error);
                if stop.pause(RETRY).await.is_err() {
                    return;
                }
            }
        }
    };
    tracing::info!(event = event::SOURCE_UP, source = %name, listen = %shared.settings.listen, "listening");
    health.up();
    let clients = shared.clients.clone();
    let answer = move |request, place: Arc<Place>| {
        let shared = shared.clone();
        async move { shared.answer(request, &place).await }
    };
    let stopped = || {
        let mut stop = stop.clone();
        async move { stop.requested().await }
    };
    listener.serve(&clients, CONNECTIONS, answer, stopped).await;
}

/// Opens the listener.
///
/// # Errors
/// The reason why the listener cannot be opened.
pub async fn open(settings: &Settings) -> Result<Listener, String> {
    let files = settings.tls.as_ref().map(|files| TlsFiles {
        certificate: &files.certificate,
        key: &files.key,
        client_ca: files.client_ca.as_deref(),
    });
    Listener::open(settings.listen, files).await
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>, place: &Place) -> Whole {
        let response = *self.handle(request, place).await.unwrap_or_else(|refused| refused);
        if !response.status().is_success() {
            self.metrics.add(Metric::HttpRefused, 1);
        }
        response
    }

    async fn handle(&self, request: Request<Incoming>, place: &Place) -> Result<Answer, Answer> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_string();
        let is_read = head.method == Method::GET || head.method == Method::HEAD;
        let below = path.strip_prefix(self.settings.path.trim_end_matches('/'));
        if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(say(StatusCode::NOT_FOUND, &format!("post to {}", self.settings.path)));
        }
        if self.settings.influx && below == Some("/ping") && is_read {
            // Clients of InfluxDB ask whether the server is there, without a token.
            let mut there = say(StatusCode::NO_CONTENT, "");
            there.headers_mut().insert("x-influxdb-version", header::HeaderValue::from_static("forebay"));
            return Ok(there);
        }
        if self.settings.token.as_ref().is_some_and(|token| !bears(&head.headers, token.expose())) {
            let mut refused = say(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer <token>`");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            return Err(refused);
        }
        // Weather stations send a form in the query of a GET request.
        let query = head.uri.query().filter(|_| self.settings.form && head.method == Method::GET);
        if head.method != Method::POST && head.method != Method::PUT && query.is_none() {
            let mut refused = say(StatusCode::METHOD_NOT_ALLOWED, "use POST");
            refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST, PUT"));
            return Err(refused);
        }
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let route = self.route(text(header::CONTENT_TYPE))?;
        let key = text(IDEMPOTENCY_KEY);
        let is_key = key.is_some_and(|key| (1..=LONGEST_KEY).contains(&key.len()));
        if head.headers.contains_key(IDEMPOTENCY_KEY) && !is_key {
            return Err(say(StatusCode::BAD_REQUEST, "Idempotency-Key must have 1 to 255 ASCII characters"));
        }
        let most = self.settings.max_body;
        let unit = if self.settings.influx { precision(head.uri.query())? } else { None };
        let read = body::read(body, text(header::CONTENT_ENCODING), most, &self.bodies, &self.unpackers);
        let (body, room) = match tokio::time::timeout(PATIENCE, read).await {
            Err(_) => return Err(say(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
            Ok(Err(BodyError::NoRoom)) => {
                return Err(wait(StatusCode::TOO_MANY_REQUESTS, "too many send at the moment"));
            }
            Ok(Err(BodyError::TooLarge)) => {
                return Err(say(StatusCode::PAYLOAD_TOO_LARGE, &format!("at most {most} bytes, decompressed")));
            }
            Ok(Err(BodyError::Bad(error))) => return Err(say(StatusCode::BAD_REQUEST, &error)),
            Ok(Err(BodyError::Coding(other))) => {
                let message =
                    format!("content-encoding `{other}` is not known here; use gzip, deflate, zstd, snappy or none");
                return Err(say(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message));
            }
            Ok(Ok(body)) => body,
        };
        let attributes = self.settings.taken(&head);
        let body = query.map_or(body, |query| Bytes::copy_from_slice(query.as_bytes()));
        if body.is_empty() {
            return Err(say(StatusCode::BAD_REQUEST, "the body is empty"));
        }
        let part = key.map(|key| Keys::part(&path, key));
        let frame = Frame { route, header: unit, attributes, ..Frame::new(path, Payload::One(body)) };
        let (answer, fate) = oneshot::channel();
        if self.pushed.send(Pushed { frame, part, answer, room }).await.is_err() {
            return Err(wait(StatusCode::SERVICE_UNAVAILABLE, "stopping"));
        }
        place.waiting();
        match tokio::time::timeout(PATIENCE, fate).await {
            Ok(Ok(Fate::Durable)) => Ok(say(StatusCode::ACCEPTED, "")),
            Ok(Ok(Fate::NoRoom)) => Err(wait(StatusCode::TOO_MANY_REQUESTS, "there is no room at the moment")),
            // The records may still become durable. A repeat with an Idempotency-Key is stored once.
            Ok(Err(_)) | Err(_) => Err(wait(StatusCode::SERVICE_UNAVAILABLE, "not on disk in time; send it again")),
        }
    }

    /// The route of a content type.
    fn route(&self, content_type: Option<&str>) -> Result<usize, Answer> {
        let Some(given) = content_type.filter(|_| self.settings.by_content_type) else {
            return Ok(0);
        };
        if given.contains("io.prometheus.write.v2") {
            let message = "remote write 2.0 is not read here; set protobuf_message: prometheus.WriteRequest";
            return Err(say(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let essence = match essence.as_str() {
            "application/ndjson" => "application/x-ndjson",
            "application/cloudevents-batch+json" => "application/cloudevents+json",
            other => other,
        };
        // curl sends this content type unless the user names another.
        let essence = if essence == "application/x-www-form-urlencoded" { CONTENT_TYPES[0].0 } else { essence };
        CONTENT_TYPES.iter().position(|(known, _)| *known == essence).ok_or_else(|| {
            let message = format!(
                "content-type `{essence}` is not known here; use {}",
                CONTENT_TYPES.map(|(name, _)| name).join(", ")
            );
            say(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message)
        })
    }
}
