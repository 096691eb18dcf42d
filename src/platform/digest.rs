//! Digests.

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
