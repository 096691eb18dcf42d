//! Digests and base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use std::fmt::Write;

/// The SHA-256 of bytes, in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Text always takes more text.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that base64 stands for; `None` when it is none, or stands for nothing.
#[must_use]
pub fn decoded(base64: &str) -> Option<Vec<u8>> {
    STANDARD.decode(base64).ok().filter(|bytes| !bytes.is_empty())
}
