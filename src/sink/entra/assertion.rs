//! A certificate instead of a secret: a JWT that its key has signed.
//!
//! As "Microsoft identity platform application authentication certificate credentials" has it: PS256, the
//! certificate's SHA-256 in `x5t#S256`, for the token endpoint, good for a few minutes.

use crate::flow::hex::hex;
use crate::platform::{random, tls};
use crate::sink::{Class, DeliverError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::path::Path;

/// Seconds that it is good for.
const LIFE_S: u64 = 600;

/// Says to `audience` that we are `client_id`.
///
/// # Errors
/// `Denied` when the files are not what they should be.
pub fn assertion(
    certificate: &Path,
    key: &Path,
    audience: &str,
    client_id: &str,
    now_s: u64,
) -> Result<String, DeliverError> {
    let denied = |error: tls::TlsError| DeliverError { class: Class::Denied, message: error.to_string() };
    let fingerprint = URL_SAFE_NO_PAD.encode(tls::fingerprint(certificate).map_err(denied)?);
    let head = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": fingerprint });
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": hex(&random::bytes::<16>()),
        "nbf": now_s,
        "exp": now_s + LIFE_S,
    });
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = tls::sign(key, signed.as_bytes()).map_err(denied)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
