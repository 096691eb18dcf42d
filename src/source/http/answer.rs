//! The unit of times in a request, and the answers to requests.

use super::settings::INFLUX_UNITS;
use crate::platform::http::{Whole, answer};
use hyper::{StatusCode, header};
use std::sync::Arc;

/// An answer; boxed, since errors are answers too.
pub type Answer = Box<Whole>;

/// A client that is told to wait may try again after this many seconds.
const RETRY_AFTER: &str = "1";

/// An answer with a line of text, or without.
pub fn say(status: StatusCode, message: &str) -> Answer {
    Box::new(answer::say(status, message))
}

/// An answer like that of `say`, with the time after which the client may try again.
pub fn wait(status: StatusCode, message: &str) -> Answer {
    let mut response = say(status, message);
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER));
    response
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
