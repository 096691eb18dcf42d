//! The page and the local API of a running agent.
//!
//! Invariants: it reads and changes nothing; who is not on this machine needs the token; without a token the header
//! `Host` must name this machine, so that no page of the web reaches it through a browser (DNS rebinding).

mod settings;

pub use settings::Settings;

use crate::flow::health::Reporter;
use crate::flow::stop::Stop;
use crate::monitor::Look;
use crate::platform::http::answer::{bears, say};
use crate::platform::http::{Clients, Listener, Whole};
use crate::telemetry::event;
use crate::telemetry::prometheus::{self, Form};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The most connections at a time: a page takes one or two.
const CONNECTIONS: usize = 16;
/// The time after which a port that is not available is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Answers until the stop.
pub async fn run(settings: Settings, agent: Arc<dyn Look>, health: Reporter, mut stop: Stop) {
    let listener = loop {
        match Listener::open(settings.listen, None).await {
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
    tracing::info!(event = event::PAGE_UP, listen = %settings.listen, "the page listens");
    health.up();
    let settings = Arc::new(settings);
    let clients = Arc::<Clients>::default();
    let answer = move |request: hyper::Request<hyper::body::Incoming>, _| {
        let (settings, agent) = (settings.clone(), agent.clone());
        async move { answered(&settings, &*agent, &request.into_parts().0) }
    };
    let stopped = || {
        let mut stop = stop.clone();
        async move { stop.requested().await }
    };
    listener.serve(&clients, CONNECTIONS, answer, stopped).await;
}

fn answered(settings: &Settings, agent: &dyn Look, head: &Parts) -> Whole {
    let mut response = match &settings.token {
        Some(token) if !bears(&head.headers, token.expose()) => {
            let mut refused = say(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer TOKEN`, with `page.token`");
            refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"forebay\""));
            refused
        }
        None if !names_this_machine(head, settings.listen.ip()) => {
            say(StatusCode::FORBIDDEN, "the header Host names another machine: ask by 127.0.0.1 or localhost")
        }
        _ if head.method != Method::GET && head.method != Method::HEAD => {
            let mut refused = say(StatusCode::METHOD_NOT_ALLOWED, "use GET");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
        _ => found(agent, head),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn found(agent: &dyn Look, head: &Parts) -> Whole {
    match head.uri.path() {
        "/metrics" => {
            let accept = head.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let form = Form::accepted(accept);
            let text = prometheus::text(&agent.families(), form);
            document(form.content_type(), text.into_bytes())
        }
        "/api/v1/status" => match serde_json::to_vec(&agent.view()) {
            Ok(json) => document("application/json", json),
            Err(error) => say(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        _ => say(StatusCode::NOT_FOUND, "there are /metrics and /api/v1/status"),
    }
}

fn document(kind: &'static str, body: Vec<u8>) -> Whole {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
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
