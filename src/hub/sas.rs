//! Checking shared access signatures (`docs/reference/event-hubs.md`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// The content of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The resource, decoded.
    pub resource: String,
    /// The end of the token's validity, in seconds since the Unix epoch.
    pub expiry_s: u64,
}

/// Checks a token against the only policy of the hub.
///
/// # Errors
/// The error in the token, in words for the client.
pub fn check(token: &str, key_name: &str, key: &str, now_s: u64) -> Result<Grant, String> {
    let fields = token.strip_prefix("SharedAccessSignature ").ok_or("the token is no shared access signature")?;
    let field = |name: &str| {
        let found = fields.split('&').filter_map(|field| field.split_once('=')).find(|(key, _)| *key == name);
        found.map(|(_, value)| value).ok_or(format!("the token has no `{name}`"))
    };
    let (resource, signature, expiry, policy) = (field("sr")?, field("sig")?, field("se")?, field("skn")?);
    if decode(policy) != key_name {
        return Err("the token's policy is not known".into());
    }
    let signature = STANDARD.decode(decode(signature)).map_err(|_| "the signature is not base64")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    if hmac::verify(&key, format!("{resource}\n{expiry}").as_bytes(), &signature).is_err() {
        return Err("the signature is wrong".into());
    }
    let expiry_s = expiry.parse().map_err(|_| "the expiry is not a number")?;
    if expiry_s <= now_s {
        return Err(format!("the token has expired {} s ago", now_s - expiry_s));
    }
    Ok(Grant { resource: decode(resource), expiry_s })
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = text.get(at + 1..at + 3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (bytes[at], pair) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "SharedAccessSignature sr=sb%3A%2F%2Fcontoso.servicebus.windows.net%2Feh1\
        &sig=EIEpyw4qtWbb%2FYWsQMukvdMa3Wh9u8wC8%2B2lMXkhE4w%3D&se=1700000000&skn=RootManageSharedAccessKey";

    #[test]
    fn microsofts_own_token_passes_and_nothing_else() {
        let check = |token: &str, key, now| check(token, "RootManageSharedAccessKey", key, now);
        let good = check(TOKEN, "SAS_KEY_VALUE", 1_699_999_999).unwrap();
        assert_eq!(good.resource, "sb://contoso.servicebus.windows.net/eh1");
        assert!(check(TOKEN, "SAS_KEY_VALUE", 1_700_000_000).unwrap_err().contains("expired"));
        assert!(check(TOKEN, "other", 0).unwrap_err().contains("signature is wrong"));
        assert!(check(&TOKEN.replace("eh1", "eh2"), "SAS_KEY_VALUE", 0).is_err());
        assert!(check(&TOKEN.replace("skn=Root", "skn=Boot"), "SAS_KEY_VALUE", 0).is_err());
        for bad in ["", "SharedAccessSignature ", "SharedAccessSignature sr=%&sig=%%%&se=x&skn=%f"] {
            assert!(check(bad, "k", 0).is_err());
        }
    }
}
