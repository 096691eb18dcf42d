//! An issuer of the tests' own that answers as Microsoft Entra and Azure's machines are documented to.

use super::receiver::request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const KEY: &str = "SAS_KEY_VALUE";
/// Where Azure Arc's agent keeps its keys.
const ARC_FOLDER: &str = "/var/opt/azcmagent/tokens";

/// A key of Azure Arc's agent; gone with this.
pub struct ArcKey;

impl ArcKey {
    pub fn write() -> Self {
        std::fs::create_dir_all(ARC_FOLDER).expect("this test needs root: tests/run");
        std::fs::write(Self::path(), "arc-proof\n").unwrap();
        Self
    }

    fn path() -> String {
        format!("{ARC_FOLDER}/forebay-test-{}.key", std::process::id())
    }
}

impl Drop for ArcKey {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(Self::path());
    }
}

/// A token as the hub takes it, good for so long.
pub fn entra_token(life_s: u64) -> String {
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + life_s;
    let claims = format!("{{\"aud\":\"https://eventhubs.azure.net\",\"exp\":{until}}}");
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}"), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Answers requests, and remembers them whole.
pub struct Issuer {
    pub port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Issuer {
    /// Tokens are good for so long.
    pub fn start(life_s: u64) -> Self {
        Self::giving(life_s, move || entra_token(life_s))
    }

    /// Gives tokens of another kind.
    pub fn giving(life_s: u64, token: impl Fn() -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let remembered = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let (head, body) = request(&mut reader);
                let request = head + &String::from_utf8(body).unwrap();
                let is_good = [
                    "client_secret=right",
                    "client_assertion=federated",
                    "client_assertion=ey",
                    "Metadata: true",
                    "metadata: true",
                ];
                let (status, answer) = if request.starts_with("GET /arc") && !request.contains("Basic arc-proof") {
                    (format!("401 Unauthorized\r\nWWW-Authenticate: Basic realm={}", ArcKey::path()), String::new())
                } else if is_good.iter().any(|proof| request.contains(proof)) {
                    // Managed identities say it as text.
                    ("200 OK".into(), format!("{{\"access_token\":\"{}\",\"expires_in\":\"{life_s}\"}}", token()))
                } else {
                    let told = "AADSTS7000215: Invalid client secret provided.\\r\\nTrace ID: x";
                    (
                        "401 Unauthorized".into(),
                        format!("{{\"error\":\"invalid_client\",\"error_description\":\"{told}\"}}"),
                    )
                };
                remembered.lock().unwrap().push(request);
                let length = answer.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
                );
                let _ = reader.into_inner().write_all(answer.as_bytes());
            }
        });
        Self { port, seen }
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}
