//! Microsoft Entra: an issuer of the test's own that speaks as the real ones are documented to, and the
//! hub, which takes what it signs.

use crate::rig::{Agent, ArcKey, Issuer, append, certificates, entra_token as token, readings, runtime, until};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forebay::hub::{Hub, Settings};
use std::path::Path;
use std::process::Command;

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
    let _key = ArcKey::write();
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
    append(&folder.join("a.log"), "2\n");
    until("it goes on", || readings(&hub, "readings").len() == 2);
    assert_eq!(agent.log().matches("cannot deliver").count(), 0, "{}", agent.log());
    assert!(agent.stop().success());
}
