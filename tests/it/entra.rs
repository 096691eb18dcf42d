//! Microsoft Entra: an issuer of the test's own that speaks as the real ones are documented to, and the
//! hub, which takes what it signs.

use crate::rig::{Agent, certificates, readings, runtime, until};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forebay::hub::{Hub, Settings};
use ring::hmac;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const KEY: &str = "SAS_KEY_VALUE";
/// Where Azure Arc's agent keeps its keys, and one of this test's.
const ARC_FOLDER: &str = "/var/opt/azcmagent/tokens";
const ARC_KEY: &str = "/var/opt/azcmagent/tokens/forebay-test.key";

fn token(life_s: u64) -> String {
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
    fn start(life_s: u64) -> Self {
        Self::giving(life_s, move || token(life_s))
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
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                        break;
                    }
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let request = head + &String::from_utf8(body).unwrap();
                let is_good = [
                    "client_secret=right",
                    "client_assertion=federated",
                    "client_assertion=ey",
                    "Metadata: true",
                    "metadata: true",
                ];
                let (status, answer) = if request.starts_with("GET /arc") && !request.contains("Basic arc-proof") {
                    (format!("401 Unauthorized\r\nWWW-Authenticate: Basic realm={ARC_KEY}"), String::new())
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

fn hub(dir: &Path) -> (tokio::runtime::Runtime, Hub) {
    certificates(dir);
    let runtime = runtime();
    let tls = Some((dir.join("server.pem"), dir.join("server.key")));
    let settings = Settings { listen: "127.0.0.1:0".into(), tls, ..Settings::default() };
    let hub = runtime.block_on(Hub::start(settings)).unwrap();
    (runtime, hub)
}

/// The agent, with variables of its environment.
fn start(dir: &Path, ca: &Path, hub: &Hub, credential: &str, environment: &[(&str, &str)]) -> Agent {
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{}/a.log\"\npoll = \"20ms\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nnamespace = \"localhost\"\nevent_hub = \"readings\"\nport = {}\nca = \"{}\"\n\
         credential = {{ {credential} }}\nlinger = \"0s\"\n",
        dir.display(),
        hub.address().port(),
        ca.join("ca.pem").display()
    );
    let variables: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let program: Vec<String> = std::iter::once("env".to_string()).chain(variables).collect();
    std::fs::write(dir.join("a.log"), "1\n").unwrap();
    Agent::start_under(&program, dir, &text, "")
}

#[test]
fn every_kind_of_credential_delivers() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub(dir.path());
    let issuer = Issuer::start(3600);
    let place = format!("http://127.0.0.1:{}", issuer.port);
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let (secret, federated) = (file("secret", "right"), file("federated", "federated\n"));
    let printer = file("printer", &format!("{{\"accessToken\":\"{}\"}}", token(3600)));
    let application = format!("tenant = \"t1\", client_id = \"c1\", authority = \"{place}\"");
    let federation = [
        ("AZURE_TENANT_ID", "t2"),
        ("AZURE_CLIENT_ID", "c2"),
        ("AZURE_FEDERATED_TOKEN_FILE", federated.as_str()),
        ("AZURE_AUTHORITY_HOST", place.as_str()),
    ];
    let asserted = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let scope = "scope=https%3A%2F%2Feventhubs.azure.net%2F.default";
    let app_service = format!("{place}/msi/token");
    let arc = format!("{place}/arc");
    std::fs::create_dir_all(ARC_FOLDER).expect("root, as tests/run says");
    std::fs::write(ARC_KEY, "arc-proof\n").unwrap();
    let certificate = rsa(dir.path());
    for (n, (credential, environment, asked)) in [
        (
            format!("kind = \"client-secret\", {application}, secret = {{ file = \"{secret}\" }}"),
            &[][..],
            vec!["POST /t1/oauth2/v2.0/token HTTP/1.1", "grant_type=client_credentials", "client_id=c1", scope],
        ),
        (
            "kind = \"workload-identity\"".to_string(),
            &federation[..],
            vec!["POST /t2/oauth2/v2.0/token", "client_id=c2", "client_assertion=federated", asserted],
        ),
        (
            "kind = \"managed-identity\", client_id = \"c3\"".to_string(),
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", place.as_str())][..],
            vec![
                "GET /metadata/identity/oauth2/token?api-version=2018-02-01",
                "resource=https%3A%2F%2Feventhubs.azure.net%2F",
                "client_id=c3",
            ],
        ),
        (
            "kind = \"managed-identity\"".to_string(),
            &[("IDENTITY_ENDPOINT", app_service.as_str()), ("IDENTITY_HEADER", "metadata: true")][..],
            vec!["GET /msi/token?api-version=2019-08-01", "x-identity-header: metadata: true"],
        ),
        (
            "kind = \"managed-identity\"".to_string(),
            &[("IDENTITY_ENDPOINT", arc.as_str()), ("IMDS_ENDPOINT", "http://localhost:40342")][..],
            vec!["GET /arc?api-version=2019-11-01&resource=https", "authorization: Basic arc-proof", "metadata: true"],
        ),
        (
            format!("kind = \"client-certificate\", {application}, certificate = \"{certificate}\""),
            &[][..],
            vec!["POST /t1/oauth2/v2.0/token HTTP/1.1", "client_id=c1", scope, asserted],
        ),
        (format!("kind = \"command\", command = [\"cat\", \"{printer}\"]"), &[][..], vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = dir.path().join(n.to_string());
        std::fs::create_dir(&folder).unwrap();
        let agent = start(&folder, dir.path(), &hub, &credential, environment);
        until("it is delivered", || readings(&hub, "readings").len() == n + 1);
        let last = issuer.seen().pop().unwrap_or_default();
        assert!(asked.iter().all(|part| last.contains(part)), "{last}");
        assert!(agent.stop().success());
    }
    std::fs::remove_file(ARC_KEY).unwrap();
    let requests = issuer.seen();
    let signed = requests.iter().find_map(|request| request.split("client_assertion=ey").nth(1)).unwrap();
    let signed = format!("ey{}", signed.split('&').next().unwrap());
    check_assertion(dir.path(), &signed, &format!("{place}/t1/oauth2/v2.0/token"));
}

/// A file with a certificate and its RSA key, as Entra takes them.
fn rsa(dir: &Path) -> String {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=forebay -keyout app.key -out app.crt &&
        cat app.crt app.key > app.pem && openssl x509 -in app.crt -noout -pubkey > app.pub";
    shell(dir, script);
    dir.join("app.pem").display().to_string()
}

fn shell(dir: &Path, script: &str) -> String {
    let done = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// By openssl, as Entra checks it: PS256, the certificate's SHA-256, whom it is from and for.
fn check_assertion(dir: &Path, assertion: &str, audience: &str) {
    let [head, claims, signature] = assertion.split('.').collect::<Vec<_>>()[..] else { panic!("{assertion}") };
    std::fs::write(dir.join("signed"), format!("{head}.{claims}")).unwrap();
    std::fs::write(dir.join("signature"), URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let verify = "openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 \
        -verify app.pub -signature signature signed";
    assert!(shell(dir, verify).contains("Verified OK"));
    let json =
        |part: &str| -> serde_json::Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (head, claims) = (json(head), json(claims));
    let fingerprint = shell(dir, "openssl x509 -in app.crt -outform DER | openssl dgst -sha256 -binary | base64");
    let fingerprint = fingerprint.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    assert_eq!((&head["alg"], &head["x5t#S256"]), (&"PS256".into(), &fingerprint.into()));
    assert_eq!((&claims["aud"], &claims["iss"], &claims["sub"]), (&audience.into(), &"c1".into(), &"c1".into()));
    let (from, until) = (claims["nbf"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert!(until - from == 600 && claims["jti"].as_str().unwrap().len() == 32, "{claims}");
}

#[test]
fn a_token_is_renewed_before_it_ends_and_a_refusal_is_explained_without_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub(dir.path());
    let issuer = Issuer::start(70);
    let place = format!("http://127.0.0.1:{}", issuer.port);
    let credential = |secret: &str| {
        let file = dir.path().join(secret);
        std::fs::write(&file, secret).unwrap();
        format!(
            "kind = \"client-secret\", tenant = \"t\", client_id = \"c\", authority = \"{place}\", secret = {{ file = \"{}\" }}",
            file.display()
        )
    };
    let folder = dir.path().join("good");
    std::fs::create_dir(&folder).unwrap();
    let agent = start(&folder, dir.path(), &hub, &credential("right"), &[]);
    until("it is delivered", || readings(&hub, "readings").len() == 1);
    let bad = dir.path().join("bad");
    std::fs::create_dir(&bad).unwrap();
    let refused = start(&bad, dir.path(), &hub, &credential("hunter2"), &[]);
    until("it is said why", || refused.log().contains("AADSTS7000215"));
    assert!(refused.log().contains("check tenant, client id and secret"), "{}", refused.log());
    assert!(!refused.log().contains("hunter2\"") && !refused.log().contains("=hunter2"), "{}", refused.log());
    assert!(refused.stop().success());
    // At seven to eight tenths of 70 s, looked at every 60 s.
    let asked = || issuer.seen().iter().filter(|request| request.contains("client_secret=right")).count();
    let waited = std::time::Instant::now();
    while asked() < 2 {
        assert!(waited.elapsed().as_secs() < 90, "it was not renewed");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    std::fs::write(folder.join("a.log"), "1\n2\n").unwrap();
    until("it goes on", || readings(&hub, "readings").len() == 2);
    assert_eq!(agent.log().matches("cannot deliver").count(), 0, "{}", agent.log());
    assert!(agent.stop().success());
}
