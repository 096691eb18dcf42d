//! The token and the unit of times in a request, and the answers to requests.

use super::settings::INFLUX_UNITS;
use crate::platform::http::Whole;
use crate::section::Secret;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Response, StatusCode};
use ring::digest::{SHA256, digest};
use std::sync::Arc;

/// An answer; boxed, since errors are answers too.
pub type Answer = Box<Whole>;

/// The header in which some devices send a key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// A client that is told to wait may try again after this many seconds.
const RETRY_AFTER: &str = "1";

/// An answer with a line of text, or without.
pub fn say(status: StatusCode, message: &str) -> Answer {
    let text = if message.is_empty() { String::new() } else { format!("{message}\n") };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Box::new(response)
}

/// An answer like that of `say`, with the time after which the client may try again.
pub fn wait(status: StatusCode, message: &str) -> Answer {
    let mut response = say(status, message);
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER));
    response
}

/// Whether a request bears the token: as `Authorization: Bearer TOKEN`, as `Token TOKEN` like clients of InfluxDB,
/// as the password of `Basic` (RFC 7617) under any name, or as `X-Api-Key`. The hashes are compared, so that the
/// time of the comparison says nothing about the token.
pub fn bears(headers: &HeaderMap, token: &Secret) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    let is_token = |given: &str| hash(given.trim()).as_ref() == hash(token.expose()).as_ref();
    let is_authorized =
        text(header::AUTHORIZATION).and_then(|value| value.split_once(' ')).is_some_and(|(kind, given)| {
            match kind.to_ascii_lowercase().as_str() {
                "bearer" | "token" => is_token(given),
                "basic" => password(given).is_some_and(|password| is_token(&password)),
                _ => false,
            }
        });
    is_authorized || text(API_KEY).is_some_and(is_token)
}

/// The password in the credentials of `Basic`.
fn password(credentials: &str) -> Option<String> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(credentials.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_string())
}

/// The unit of times that a client of InfluxDB names (`?precision=ms`).
pub fn precision(query: Option<&str>) -> Result<Option<Arc<[u8]>>, Answer> {
    let named = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("precision="));
    let Some(named) = named else { return Ok(None) };
    if !INFLUX_UNITS.contains(&named) {
        let message = format!("precision `{named}` is not known here; use one of {}", INFLUX_UNITS.join(", "));
        return Err(say(StatusCode::BAD_REQUEST, &message));
    }
    Ok(Some(named.as_bytes().into()))
}
