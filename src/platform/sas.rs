//! Shared access signatures of Azure (`docs/reference/event-hubs.md`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::fmt::Write;

/// The lifetime of a token that we make, in seconds.
pub const LIFE_S: u64 = 3600;

/// Makes a token for a resource. The token is good until `expiry_s`, in seconds since the Unix epoch.
///
/// Event Hubs takes the key as it is written, with the name of its policy; an IoT Hub takes a device's key decoded,
/// without a name.
#[must_use]
pub fn sign(resource: &str, name: Option<&str>, key: &[u8], expiry_s: u64) -> String {
    let sr = encode(resource);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signature = hmac::sign(&key, format!("{sr}\n{expiry_s}").as_bytes());
    let signature = encode(&STANDARD.encode(signature.as_ref()));
    let name = name.map_or_else(String::new, |name| format!("&skn={}", encode(name)));
    format!("SharedAccessSignature sr={sr}&sig={signature}&se={expiry_s}{name}")
}

/// Percent-encoding with upper-case hex; RFC 3986 unreserved characters stay.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_ones_that_microsofts_function_makes() {
        let token = |resource| sign(resource, Some("RootManageSharedAccessKey"), b"SAS_KEY_VALUE", 1_700_000_000);
        assert_eq!(
            token("sb://contoso.servicebus.windows.net/eh1"),
            "SharedAccessSignature sr=sb%3A%2F%2Fcontoso.servicebus.windows.net%2Feh1\
             &sig=EIEpyw4qtWbb%2FYWsQMukvdMa3Wh9u8wC8%2B2lMXkhE4w%3D&se=1700000000&skn=RootManageSharedAccessKey"
        );
        assert!(
            token("https://contoso.servicebus.windows.net/eh1")
                .contains("sig=p0MP8fbgpKlmOzVanB5sRPMhyioeZrK2WQh1S3nPYPU%3D")
        );
    }
}
