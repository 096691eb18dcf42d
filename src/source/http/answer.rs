//! What a device is answered.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode, header};

/// An answer; boxed, since errors are answers too.
pub type Answer = Box<Response<Full<Bytes>>>;

/// What a client that finds no room is told to wait, in seconds.
const RETRY_AFTER: &str = "1";

/// An answer with a line of text, or without.
pub fn say(status: StatusCode, message: &str) -> Answer {
    let text = if message.is_empty() { String::new() } else { format!("{message}\n") };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Box::new(response)
}

/// The same, with the time after which the device may try again.
pub fn wait(status: StatusCode, message: &str) -> Answer {
    let mut response = say(status, message);
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER));
    response
}
