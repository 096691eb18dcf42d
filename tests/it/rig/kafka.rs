//! The real Apache Kafka (KRaft), from its Maven artifacts.

use super::{Reading, certificates, free_port, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Small brokers for small tests. The log cleaner takes 4 MiB: its default of 128 MiB is one array, for which a heap
/// of this size does not always have room in one piece.
const HEAP: &str = "-Xmx256m";

/// The password of the user `$ConnectionString`.
pub const CONNECTION: &str = "Endpoint=sb://localhost/;SharedAccessKeyName=send;SharedAccessKey=a=b+/=";

/// A cluster of one or two brokers; the first is the controller too.
pub struct Kafka {
    dir: PathBuf,
    brokers: Vec<Option<Child>>,
    /// Without security, by broker.
    pub plain: Vec<u16>,
    /// TLS and SASL: PLAIN, SCRAM, OAUTHBEARER.
    pub sasl: u16,
    /// TLS, and clients need a certificate.
    pub tls: u16,
    /// Without security: where the first broker listens, and where it says that it does.
    pub detour: (u16, u16),
}

/// A message as a consumer sees it.
#[derive(Debug, serde::Deserialize)]
pub struct Message {
    /// The partition.
    pub partition: u32,
    /// When, ms.
    pub timestamp: i64,
    /// The key.
    pub key: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    value: String,
}

impl Message {
    fn readings(&self) -> Vec<Reading> {
        let header = |name: &str| self.headers[name].clone();
        let number = |name: &str| header(name).parse::<i64>().unwrap();
        let lane = (header("store"), header("stream"), number("epoch"), number("lane"));
        let packed = STANDARD.decode(&self.value).unwrap();
        let mut body = String::new();
        if self.headers.contains_key("content-encoding") {
            GzDecoder::new(&packed[..]).read_to_string(&mut body).unwrap();
        } else {
            body = String::from_utf8(packed).unwrap();
        }
        let lines: Vec<Reading> = body
            .lines()
            .map(|line| {
                let json: serde_json::Value = serde_json::from_str(line).unwrap();
                let sequence = json["seq"].as_u64().unwrap();
                Reading { lane: lane.clone(), after: number("after"), sequence, line: json }
            })
            .collect();
        assert_eq!(lines.len().to_string(), header("count"), "the event says how many records it holds");
        assert_eq!(lines[0].sequence.to_string(), header("first"));
        lines
    }
}

/// The readings of messages, in their order.
pub fn kafka_readings(messages: &[Message]) -> Vec<Reading> {
    messages.iter().flat_map(Message::readings).collect()
}

fn library() -> String {
    let folder = std::env::var("FOREBAY_KAFKA").expect("FOREBAY_KAFKA is not set: tests/run sets it");
    format!("{folder}/*")
}

fn java(main: &str) -> Command {
    let mut command = Command::new("java");
    command.args([HEAP, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", &library(), main]);
    command
}

impl Kafka {
    /// Starts a cluster of so many brokers.
    pub fn start(dir: &Path, count: usize) -> Self {
        let dir = dir.join("kafka");
        std::fs::create_dir_all(&dir).unwrap();
        certificates(&dir);
        let pem = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        std::fs::write(dir.join("broker.pem"), pem("server.key") + &pem("server.pem")).unwrap();
        let plain: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let (sasl, tls, controller) = (free_port(), free_port(), free_port());
        let detour = (free_port(), free_port());
        for (at, port) in plain.iter().enumerate() {
            let path = dir.join(format!("{at}.properties"));
            std::fs::write(&path, properties(&dir, at, *port, (sasl, tls, controller), detour)).unwrap();
            let scram = ["256", "512"].map(|bits| format!("SCRAM-SHA-{bits}=[name=alice,password=alice-secret]"));
            let done = java("kafka.tools.StorageTool")
                .args(["format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", path.to_str().unwrap()])
                .args(["--add-scram", &scram[0], "--add-scram", &scram[1]])
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let brokers = (0..count).map(|_| None).collect();
        let mut kafka = Self { dir, brokers, plain, sasl, tls, detour };
        (0..count).for_each(|at| kafka.begin(at));
        (0..count).for_each(|at| kafka.wait(at));
        kafka
    }

    fn begin(&mut self, at: usize) {
        let out =
            std::fs::OpenOptions::new().append(true).create(true).open(self.dir.join(format!("{at}.log"))).unwrap();
        let child = java("kafka.Kafka")
            .arg(self.dir.join(format!("{at}.properties")))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        self.brokers[at] = Some(child);
    }

    fn wait(&mut self, at: usize) {
        let port = self.plain[at];
        until("the broker listens", || {
            let ended = self.brokers[at].as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.dir.join(format!("{at}.log"))).unwrap();
            assert!(ended.is_none(), "the broker ended: {}", log());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Starts a broker again.
    pub fn start_again(&mut self, at: usize) {
        self.begin(at);
        self.wait(at);
    }

    /// Stops a broker in order: its partitions get other leaders.
    pub fn stop(&mut self, at: usize) {
        let mut child = self.brokers[at].take().unwrap();
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap();
    }

    /// `kill -9`
    pub fn kill(&mut self, at: usize) {
        let mut child = self.brokers[at].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs one of Kafka's own tools against the first broker.
    pub fn tool(&self, main: &str, arguments: &[&str]) -> String {
        let place = format!("127.0.0.1:{}", self.plain[0]);
        let done = java(main).args(["--bootstrap-server", &place]).args(arguments).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{out}{err}");
        out.into_owned()
    }

    /// Makes a topic.
    pub fn topic(&self, name: &str, more: &[&str]) {
        self.tool("org.apache.kafka.tools.TopicCommand", &[&["--create", "--topic", name], more].concat());
    }

    /// All messages of a topic, partition by partition, as librdkafka reads them.
    pub fn messages(&self, topic: &str) -> Vec<Message> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python/kafka_read.py");
        let alive = self.plain.iter().zip(&self.brokers).filter(|(_, broker)| broker.is_some());
        let places: Vec<String> = alive.map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        let done =
            Command::new(crate::clients::interpreter()).args([script, &places.join(","), topic]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// A file of the certificates.
    pub fn certificate(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().into()
    }
}

fn properties(
    dir: &Path,
    at: usize,
    plain: u16,
    (sasl, tls, controller): (u16, u16, u16),
    (own_detour, told_detour): (u16, u16),
) -> String {
    let folder = dir.display();
    let (roles, more) = if at == 0 { ("broker,controller", true) } else { ("broker", false) };
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{plain}");
    if more {
        write!(listeners, ",SASL_SSL://localhost:{sasl},SSL://localhost:{tls}").unwrap();
    }
    let (mut own, mut told) = (listeners.clone(), listeners);
    if more {
        write!(own, ",DETOUR://127.0.0.1:{own_detour},CONTROLLER://127.0.0.1:{controller}").unwrap();
        write!(told, ",DETOUR://127.0.0.1:{told_detour}").unwrap();
    }
    let login = "org.apache.kafka.common.security";
    format!(
        "process.roles={roles}\nnode.id={at}\ncontroller.quorum.voters=0@127.0.0.1:{controller}\n\
         listeners={own}\nadvertised.listeners={told}\ncontroller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT\n\
         log.dirs={folder}/data-{at}\nauto.create.topics.enable=false\nnum.partitions=4\n\
         offsets.topic.replication.factor=1\nlog.cleaner.dedupe.buffer.size=4194304\nbroker.session.timeout.ms=6000\n\
         ssl.keystore.type=PEM\nssl.keystore.location={folder}/broker.pem\n\
         ssl.truststore.type=PEM\nssl.truststore.location={folder}/ca.pem\n\
         listener.name.ssl.ssl.client.auth=required\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
         connections.max.reauth.ms=5000\n\
         listener.name.sasl_ssl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required \
         user_$ConnectionString=\"{CONNECTION}\";\n\
         listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;\n\
         listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;\n\
         listener.name.sasl_ssl.oauthbearer.sasl.jaas.config={login}.oauthbearer.OAuthBearerLoginModule required \
         unsecuredLoginStringClaim_sub=\"broker\";\n"
    )
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for child in self.brokers.iter_mut().flatten() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
