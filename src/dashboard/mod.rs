//! The page and the local API of a running agent. `page/openapi.json` describes the API.
//!
//! Invariants: without a token it changes nothing; who is not on this machine needs the token; without a
//! token the header `Host` must name this machine, so that no page of the web reaches it through a browser (DNS
//! rebinding); a change is taken from the page's own origin only. Who may open the Unix socket needs no token.

mod configuration;
mod live;
mod page;
mod records;
mod settings;

pub use settings::Settings;

use crate::flow::dead_letter::Fate;
use crate::flow::health::Reporter;
use crate::flow::stop::Stop;
use crate::monitor::Look;
use crate::platform::http::answer::{bears, say};
use crate::platform::http::{self, Clients, Listener, TlsFiles, Whole};
use crate::store::Store;
use crate::telemetry::prometheus::{self, Form};
use crate::telemetry::{event, log};
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use live::Live;
use records::Wanted;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// The most connections at a time: a page takes two.
const CONNECTIONS: usize = 16;
/// The time after which a port that is not available is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The largest body of a change, in bytes.
const CHANGE: usize = 1024;

const NO_GENERATION: &str = "this generation is not kept; /api/v1/config has those that are";

type Answer = Response<Either<Full<Bytes>, Live>>;

/// What answers requests.
#[derive(Clone)]
struct Desk {
    settings: Arc<Settings>,
    store: Store,
    agent: Arc<dyn Look>,
    stop: Stop,
}

/// The way by which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The network, also that of this machine alone.
    Network,
    /// The Unix socket.
    Socket,
}

/// Answers until the stop.
pub async fn run(settings: Settings, store: Store, agent: Arc<dyn Look>, health: Reporter, stop: Stop) {
    let desk = Desk { settings: Arc::new(settings), store, agent, stop: stop.clone() };
    tokio::join!(network(desk.clone(), &health, stop.clone()), socket(desk, &health, stop));
}

async fn network(desk: Desk, health: &Reporter, mut stop: Stop) {
    let Some(listen) = desk.settings.listen else { return };
    let files = desk.settings.tls.clone();
    let files = files.as_ref().map(|files| TlsFiles {
        certificate: &files.certificate,
        key: &files.key,
        client_ca: files.client_ca.as_deref(),
    });
    let listener = loop {
        match Listener::open(listen, files).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(event = event::PAGE_DOWN, error, "the page cannot listen; trying again");
                health.waiting(error);
                if stop.pause(RETRY).await.is_err() {
                    return;
                }
            }
        }
    };
    tracing::info!(event = event::PAGE_UP, %listen, "the page listens");
    health.up();
    let answer = move |request: Request<Incoming>, _| desk.clone().answer(request, Way::Network);
    listener.serve(&Arc::<Clients>::default(), CONNECTIONS, answer, || ended(stop.clone())).await;
}

async fn socket(desk: Desk, health: &Reporter, mut stop: Stop) {
    let Some(path) = desk.settings.socket.clone() else { return };
    let is_alone = desk.settings.listen.is_none();
    loop {
        if is_alone {
            health.up();
        }
        let desk = desk.clone();
        let answer = move |request: Request<Incoming>, _| desk.clone().answer(request, Way::Socket);
        let Err(error) = http::serve_socket(&path, CONNECTIONS, answer, || ended(stop.clone())).await else { return };
        tracing::warn!(event = event::PAGE_DOWN, error, "the local API cannot listen; trying again");
        health.waiting(error);
        if stop.pause(RETRY).await.is_err() {
            return;
        }
    }
}

async fn ended(mut stop: Stop) {
    stop.requested().await;
}

impl Desk {
    async fn answer(self, request: Request<Incoming>, way: Way) -> Answer {
        let (head, body) = request.into_parts();
        let mut answer = match self.refused(&head, way) {
            Some(refused) => refused.map(Either::Left),
            None => self.found(&head, body, way).await,
        };
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(page::PROTECTION);
        answer
    }

    /// The answer to who may not ask.
    fn refused(&self, head: &Parts, way: Way) -> Option<Whole> {
        match (&self.settings.token, self.settings.listen) {
            _ if way == Way::Socket => None,
            (Some(token), _) if !bears(&head.headers, token.expose()) => {
                let mut refused =
                    say(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer TOKEN`, with `page.token`");
                let wanted = HeaderValue::from_static("Basic realm=\"forebay\"");
                refused.headers_mut().insert(WWW_AUTHENTICATE, wanted);
                Some(refused)
            }
            (None, Some(listen)) if !names_this_machine(head, listen.ip()) => {
                let why = "the header Host names another machine: ask by 127.0.0.1 or localhost";
                Some(say(StatusCode::FORBIDDEN, why))
            }
            _ => None,
        }
    }

    async fn found(&self, head: &Parts, body: Incoming, way: Way) -> Answer {
        let path = head.uri.path();
        let fate = match path {
            "/api/v1/dead-letters/replay" => Some(Fate::Replay),
            "/api/v1/dead-letters/discard" => Some(Fate::Discard),
            _ => None,
        };
        let methods = match (path, fate) {
            ("/api/v1/log/level", _) => "PUT",
            (_, Some(_)) => "POST",
            _ => "GET, HEAD",
        };
        if !methods.split(", ").any(|method| method == head.method.as_str()) {
            let mut refused = say(StatusCode::METHOD_NOT_ALLOWED, &format!("use {methods}"));
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
            return refused.map(Either::Left);
        }
        if let Some(fate) = fate {
            return self.take_dead_letters(fate, head, body, way).await.map(Either::Left);
        }
        let whole = match path {
            "/api/v1/events" if head.method == Method::GET => {
                let mut response = Response::new(Either::Right(Live::of(self.agent.clone(), self.stop.clone())));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
                return response;
            }
            "/api/v1/events" => document("text/event-stream", Vec::new()),
            "/metrics" => {
                let accept = head.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let form = Form::accepted(accept);
                document(
                    form.content_type(),
                    prometheus::text(&self.agent.families(&self.agent.view()), form).into_bytes(),
                )
            }
            "/api/v1/status" => json(&self.agent.view()),
            "/api/v1/history" => json(&self.agent.history()),
            "/api/v1/config" => self.configuration(None).await,
            "/api/v1/log" => json(&log::recent()),
            "/api/v1/log/level" => self.change_level(head, body, way).await,
            _ if path.starts_with("/api/v1/config/") => self.configuration(path.strip_prefix("/api/v1/config/")).await,
            _ => match (path.strip_prefix("/api/v1/records/"), page::file(path)) {
                (Some(stream), _) => self.records(stream, head.uri.query().unwrap_or_default()).await,
                (None, Some(file)) => file,
                (None, None) => say(StatusCode::NOT_FOUND, "there is no such page; /openapi.json says what there is"),
            },
        };
        whole.map(Either::Left)
    }

    async fn records(&self, stream: &str, query: &str) -> Whole {
        let wanted = match Wanted::read(query) {
            Ok(wanted) => wanted,
            Err(why) => return say(StatusCode::BAD_REQUEST, &why),
        };
        // The library takes pairs apart, and so a single name is made one.
        let pair = format!("name={}", stream.replace('+', "%2B"));
        let name =
            form_urlencoded::parse(pair.as_bytes()).next().map(|(_, name)| name.into_owned()).unwrap_or_default();
        let store = self.store.clone();
        // The disk may be slow.
        match tokio::task::spawn_blocking(move || records::of(&store, &name, wanted)).await {
            Ok(Ok(Some(found))) => document("application/json", found),
            Ok(Ok(None)) => say(StatusCode::NOT_FOUND, "there is no such stream; /api/v1/status has all"),
            Ok(Err(why)) => say(StatusCode::INTERNAL_SERVER_ERROR, &why),
            Err(_) => say(StatusCode::INTERNAL_SERVER_ERROR, "the records cannot be shown; the log says why"),
        }
    }

    /// The configuration and its history, or one generation of it.
    async fn configuration(&self, generation: Option<&str>) -> Whole {
        let state = self.agent.state();
        let wanted = match generation.map(str::parse) {
            None => None,
            Some(Ok(number)) => Some(number),
            Some(Err(_)) => return say(StatusCode::NOT_FOUND, NO_GENERATION),
        };
        // The disk may be slow.
        match tokio::task::spawn_blocking(move || configuration::of(&state, wanted)).await {
            Ok(Ok(Some(found))) => document("application/json", found),
            Ok(Ok(None)) => say(StatusCode::NOT_FOUND, NO_GENERATION),
            Ok(Err(why)) => say(StatusCode::INTERNAL_SERVER_ERROR, &why),
            Err(_) => say(StatusCode::INTERNAL_SERVER_ERROR, "the configuration cannot be shown; the log says why"),
        }
    }

    /// The text of a change.
    ///
    /// # Errors
    /// The answer to who may not change anything, and to a body that is too large.
    async fn change(&self, head: &Parts, body: Incoming, way: Way) -> Result<String, Whole> {
        if way == Way::Network && self.settings.token.is_none() {
            return Err(say(StatusCode::FORBIDDEN, "changes need `page.token`, or the Unix socket"));
        }
        if !is_same_origin(head) {
            return Err(say(StatusCode::FORBIDDEN, "changes are taken from the page itself only"));
        }
        let Ok(body) = Limited::new(body, CHANGE).collect().await else {
            return Err(say(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
        };
        Ok(String::from_utf8_lossy(&body.to_bytes()).trim().to_ascii_lowercase())
    }

    /// Takes the dead letters up to the sequence in the body.
    async fn take_dead_letters(&self, fate: Fate, head: &Parts, body: Incoming, way: Way) -> Whole {
        let upto = match self.change(head, body, way).await.map(|text| text.parse()) {
            Ok(Ok(upto)) => upto,
            Ok(Err(_)) => {
                return say(StatusCode::BAD_REQUEST, "the body is the sequence of the last dead letter to take");
            }
            Err(refused) => return refused,
        };
        match self.agent.take_dead_letters(fate, upto).await {
            Ok(taken) => json(&taken),
            Err(why) => say(StatusCode::SERVICE_UNAVAILABLE, &why),
        }
    }

    /// Takes the level of the log, as text: `debug`.
    async fn change_level(&self, head: &Parts, body: Incoming, way: Way) -> Whole {
        let text = match self.change(head, body, way).await {
            Ok(text) => text,
            Err(refused) => return refused,
        };
        let level = match text.as_str() {
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return say(StatusCode::BAD_REQUEST, "the body is one of error, warn, info, debug, trace"),
        };
        if !log::set_level(level) {
            return say(StatusCode::INTERNAL_SERVER_ERROR, "the log cannot change its level");
        }
        tracing::warn!(
            event = event::LOG_LEVEL,
            level = text,
            "the level of the log was changed, until the next start"
        );
        say(StatusCode::OK, &text)
    }
}

fn json(value: &impl Serialize) -> Whole {
    match serde_json::to_vec(value) {
        Ok(json) => document("application/json", json),
        Err(error) => say(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn document(kind: &'static str, body: Vec<u8>) -> Whole {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Whether a request comes from the page itself, or from no page at all.
fn is_same_origin(head: &Parts) -> bool {
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = text(ORIGIN) else { return !head.headers.contains_key(ORIGIN) };
    let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    place.is_some() && place == text(HOST)
}

/// Whether the header `Host` names this machine by an address that the page listens on, or as `localhost`.
fn names_this_machine(head: &Parts, listen: IpAddr) -> bool {
    let Some(host) = head.headers.get(HOST).and_then(|value| value.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address == listen || address.is_loopback())
}
