//! Authentication by a certificate instead of a secret, with a JWT that the certificate's key signs.
//!
//! The form is that of "Microsoft identity platform application authentication certificate credentials". The JWT is
//! signed with PS256 and has the certificate's SHA-256 in `x5t#S256`. Its audience is the token endpoint, and it is
//! valid for a few minutes.

use crate::flow::hex::hex;
use crate::platform::{random, tls};
use crate::sink::{Class, DeliverError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::path::Path;

/// The lifetime of the JWT, in seconds.
const LIFE_S: u64 = 600;

/// Makes a JWT that proves to `audience` that we are `client_id`.
///
/// # Errors
/// `Denied` when the certificate or the key cannot be used.
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
