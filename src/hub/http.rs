//! HTTP: accepts events as Azure's REST interface does, and shows a page about the events of the hub.
//!
//! Sources: `docs/reference/event-hubs.md`, "HTTPS".

use super::fault::Action;
use super::node::covers;
use super::{Shared, jwt, sas};
use crate::platform::clock;
use crate::platform::http::{Whole, converse};
use crate::platform::stream::{Cutter, Stream};
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::{ApplicationProperties, Data, Message, Properties};
use fe2o3_amqp_types::primitives::SimpleValue;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The content type of a request with several events.
const BATCH: &str = "application/vnd.microsoft.servicebus.json";
/// Headers that are not properties set by the user.
const OWN: [&str; 14] = [
    "accept",
    "accept-encoding",
    "authorization",
    "brokerproperties",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-ms-retrypolicy",
];

/// The most HTTP connections at a time.
const CONNECTIONS: usize = 1024;

/// Serves a client until its connection ends.
pub async fn serve(stream: impl Stream + 'static, shared: Arc<Shared>, socket: Cutter) {
    let place = shared.clients.enter(CONNECTIONS, Ipv4Addr::LOCALHOST.into()).await;
    let answer = move |request: Request<Incoming>, _| {
        let (shared, socket) = (shared.clone(), socket.clone());
        async move { answer(request, &shared, &socket).await }
    };
    converse(Box::new(stream), Arc::new(place), answer).await;
}

async fn answer(request: Request<Incoming>, shared: &Shared, socket: &Cutter) -> Whole {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_matches('/').to_ascii_lowercase();
    let words: Vec<&str> = path.split('/').collect();
    match (&head.method, &words[..]) {
        (&Method::GET, [""]) => page(shared),
        (&Method::POST, [hub, "messages"]) => send(shared, socket, &head.headers, body, hub, None, None).await,
        (&Method::POST, [hub, "partitions", partition, "messages"]) => match partition.parse() {
            Ok(partition) => send(shared, socket, &head.headers, body, hub, Some(partition), None).await,
            Err(_) => refuse(shared, StatusCode::BAD_REQUEST, "the partition is no number"),
        },
        (&Method::POST, [hub, "publishers", publisher, "messages"]) => {
            send(shared, socket, &head.headers, body, hub, None, Some(publisher)).await
        }
        _ => refuse(shared, StatusCode::NOT_FOUND, "no such resource"),
    }
}

/// Azure answers in XML.
fn error(status: StatusCode, detail: &str) -> Whole {
    let text = format!("<Error><Code>{}</Code><Detail>{detail}</Detail></Error>", status.as_u16());
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer
}

fn refuse(shared: &Shared, status: StatusCode, detail: &str) -> Whole {
    shared.refuse(&format!("HTTP {status}: {detail}"));
    error(status, detail)
}

async fn send(
    shared: &Shared,
    socket: &Cutter,
    headers: &HeaderMap,
    body: Incoming,
    hub: &str,
    partition: Option<u16>,
    publisher: Option<&str>,
) -> Whole {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Err(why) = authorise(shared, headers, hub, publisher) {
        return refuse(shared, StatusCode::UNAUTHORIZED, &why);
    }
    let Some(memory) = shared.hubs.get(hub).filter(|memory| partition.is_none_or(|number| number < memory.count()))
    else {
        return refuse(shared, StatusCode::NOT_FOUND, "the event hub or its partition could not be found");
    };
    let most = usize::try_from(shared.settings.max_message_size).unwrap_or(usize::MAX);
    let Ok(body) = Limited::new(body, most).collect().await else {
        let message = format!("The maximum message size quota for outgoing messages ({most}) has been exceeded.");
        return refuse(shared, StatusCode::PAYLOAD_TOO_LARGE, &message);
    };
    let body = body.to_bytes();
    let events = if text("content-type").is_some_and(|kind| kind.starts_with(BATCH)) {
        batch(&body)
    } else {
        single(headers, &body).map(|event| vec![event])
    };
    let events = match events {
        Ok(events) => events,
        Err(why) => return refuse(shared, StatusCode::BAD_REQUEST, &why),
    };
    let broker: Json = text("brokerproperties").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let key = publisher.or(broker["PartitionKey"].as_str());
    for action in shared.faults() {
        match action {
            Action::Busy => return error(StatusCode::SERVICE_UNAVAILABLE, "by rule: server busy (50002)"),
            Action::Error(condition) => return error(StatusCode::INTERNAL_SERVER_ERROR, &condition),
            Action::Delay(time) => tokio::time::sleep(time).await,
            Action::LoseAnswer => {
                let chosen = partition.unwrap_or_else(|| memory.choose(key));
                memory.append(chosen, key, events);
                return cut(socket);
            }
            Action::Drop | Action::Detach(_) | Action::Offline(_) => return cut(socket),
        }
    }
    let chosen = partition.unwrap_or_else(|| memory.choose(key));
    let (bytes, count) = (events.iter().map(|event| event.len() as u64).sum(), events.len() as u64);
    if !shared.takes(memory, chosen, bytes, count) {
        return error(StatusCode::SERVICE_UNAVAILABLE, "The request was throttled (50002). Please wait 4 seconds.");
    }
    memory.append(chosen, key, events);
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::CREATED;
    answer
}

/// Cuts the connection, so that the answer never arrives.
fn cut(socket: &Cutter) -> Whole {
    socket.cut();
    error(StatusCode::INTERNAL_SERVER_ERROR, "cut by rule")
}

fn authorise(shared: &Shared, headers: &HeaderMap, hub: &str, publisher: Option<&str>) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let message = text(AUTHORIZATION).ok_or("Unauthorized access: no Authorization header")?;
    let (settings, now) = (&shared.settings, clock::wall_s());
    if let Some(token) = message.strip_prefix("Bearer ") {
        jwt::check(token, &settings.key, now)?;
        return Ok(());
    }
    let grant = sas::check(message, &settings.key_name, &settings.key, now)?;
    let path = publisher.map_or(hub.to_string(), |publisher| format!("{hub}/publishers/{publisher}"));
    let name = format!("https://{}/{path}", text(HOST).unwrap_or_default());
    if covers(&grant.resource, &name) {
        return Ok(());
    }
    Err(format!("the token is for {}, not for {name}", grant.resource))
}

/// Makes an event whose properties are the headers. Values that look like a number, or like true or false, get that
/// type.
fn single(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut about = ApplicationProperties::builder();
    for (name, value) in headers.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        let text = value.to_str().map_err(|_| format!("the header {name} is no text"))?;
        about = about.insert(name.as_str(), typed(text));
    }
    let mut properties = Properties::builder();
    if let Some(kind) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        properties = properties.content_type(kind);
    }
    let message = Message::builder()
        .properties(properties.build())
        .application_properties(about.build())
        .data(body.to_vec())
        .build();
    encoded(&message)
}

fn encoded(message: &Message<Data>) -> Result<Vec<u8>, String> {
    serde_amqp::to_vec(&Serializable(message)).map_err(|error| error.to_string())
}

fn typed(text: &str) -> SimpleValue {
    let number = || text.parse().map(SimpleValue::Int).or_else(|_| text.parse().map(SimpleValue::Long));
    let boolean = || text.to_ascii_lowercase().parse().map(SimpleValue::Bool);
    number().or_else(|_| boolean().map_err(|_| ())).unwrap_or_else(|()| SimpleValue::String(text.into()))
}

/// An event of a JSON batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    body: String,
    #[serde(default)]
    user_properties: BTreeMap<String, Json>,
}

/// The events of a JSON batch, encoded.
///
/// # Errors
/// The body is not a JSON batch.
pub fn batch(body: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let items: Vec<Item> = serde_json::from_slice(body).map_err(|error| format!("no JSON batch: {error}"))?;
    let event = |item: Item| {
        let about = item.user_properties.into_iter().fold(ApplicationProperties::builder(), |about, (name, value)| {
            let value = match value {
                Json::String(text) => SimpleValue::String(text),
                other => typed(&other.to_string()),
            };
            about.insert(name, value)
        });
        encoded(&Message::builder().application_properties(about.build()).data(item.body.into_bytes()).build())
    };
    items.into_iter().map(event).collect()
}

/// A page for people about the events of the hub.
fn page(shared: &Shared) -> Whole {
    let mut rows = String::new();
    for (hub, memory) in &shared.hubs {
        for partition in 0..memory.count() {
            let Some(held) = memory.properties(partition) else { continue };
            let last = held.last.as_ref().map_or_else(|| "none yet".into(), |event| clock::utc(event.enqueued_ms));
            let (next, count, bytes) = (held.next, held.next - held.begin, held.bytes);
            // `Hub::start` takes only names of letters, digits, `.`, `-` and `_`, so they need no escaping.
            let _ = write!(
                rows,
                "<tr><td>{hub}</td><td>{partition}</td><td>{count}</td><td>{bytes}</td><td>{next}</td><td>{last}</td></tr>"
            );
        }
    }
    let about = shared.counts();
    let text = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>\
         <title>forebay hub</title><style>body{{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;\
         padding:0 1rem}}table{{border-collapse:collapse;width:100%}}th,td{{text-align:right;padding:.3rem .6rem;\
         border-bottom:1px solid #ccc}}th:first-child,td:first-child{{text-align:left}}</style>\
         <h1>forebay hub</h1><p>{about}</p><table><tr><th>event hub<th>partition<th>events<th>bytes\
         <th>next sequence<th>last enqueued</tr>{rows}</table></html>"
    );
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}
