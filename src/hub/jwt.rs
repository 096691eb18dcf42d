//! Bearer tokens as Entra gives them, but signed with the hub's own key: HS256, where Entra has RS256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::Value;

/// The audience that tokens must have. Clients add a slash to it, or leave it out (`docs/reference/event-hubs.md`,
/// "Microsoft Entra").
const AUDIENCE: &str = "https://eventhubs.azure.net";

/// Checks a token. Returns the end of its validity, in seconds since the Unix epoch.
///
/// # Errors
/// The error in the token, in words for the client.
pub fn check(token: &str, key: &str, now_s: u64) -> Result<u64, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("the token is no JWT")?;
    let (header, claims) = signed.split_once('.').ok_or("the token is no JWT")?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "the token is not base64url".to_string());
    let json = |part: &str| {
        serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| "the token has no JSON in it".to_string())
    };
    if json(header)?["alg"] != "HS256" {
        return Err("the hub takes HS256 only".into());
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    if hmac::verify(&key, signed.as_bytes(), &decode(signature)?).is_err() {
        return Err("the signature is wrong".into());
    }
    let claims = json(claims)?;
    let audience = claims["aud"].as_str().unwrap_or_default();
    if audience.trim_end_matches('/') != AUDIENCE {
        return Err(format!("the token is for `{audience}`, not for {AUDIENCE}"));
    }
    let until = claims["exp"].as_u64().ok_or("the token has no `exp`")?;
    if until <= now_s {
        return Err(format!("the token has expired {} s ago", now_s - until));
    }
    Ok(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str, key: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn only_what_is_signed_for_us_and_has_not_ended_passes() {
        let good = "{\"aud\":\"https://eventhubs.azure.net/\",\"exp\":100}";
        let hs256 = "{\"alg\":\"HS256\"}";
        assert_eq!(check(&token(hs256, good, "k"), "k", 99), Ok(100));
        assert!(check(&token(hs256, good, "k"), "k", 100).unwrap_err().contains("expired"));
        assert!(check(&token(hs256, good, "other"), "k", 0).unwrap_err().contains("signature"));
        assert!(check(&token("{\"alg\":\"none\"}", good, "k"), "k", 0).is_err());
        let other = "{\"aud\":\"https://storage.azure.com\",\"exp\":100}";
        assert!(check(&token(hs256, other, "k"), "k", 0).unwrap_err().contains("storage"));
        for bad in ["", ".", "..", "a.b.c", "e30.e30.e30"] {
            assert!(check(bad, "k", 0).is_err());
        }
    }
}
