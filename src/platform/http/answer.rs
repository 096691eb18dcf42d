//! Answers of plain text, and the token that a request bears.

use super::Whole;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use ring::digest::{SHA256, digest};

/// The header in which some devices send a key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// An answer with a line of text, or without.
#[must_use]
pub fn say(status: StatusCode, message: &str) -> Whole {
    let text = if message.is_empty() { String::new() } else { format!("{message}\n") };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    if !message.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}

/// Whether a request bears the token: as `Authorization: Bearer TOKEN`, as `Token TOKEN` like clients of InfluxDB,
/// as the password of `Basic` (RFC 7617) under any name, or as `X-Api-Key`. The hashes are compared, so that the
/// time of the comparison says nothing about the token.
#[must_use]
pub fn bears(headers: &HeaderMap, token: &str) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    let is_token = |given: &str| hash(given.trim()).as_ref() == hash(token).as_ref();
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
