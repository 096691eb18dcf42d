//! What the local configuration says of remote ones: `[remote]` and `[restrict]`. A pushed document changes neither.

use super::document::Key;
use crate::monitor::is_web_address;
use crate::platform::digest;
use crate::section::{ClientTls, Login, Place, Secret, Section, read_ca};
use std::time::Duration;

/// The longest time that a changed configuration is on trial.
const LONGEST_TRIAL: Duration = Duration::from_secs(86_400);

/// `[remote]`
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The keys whose signatures count.
    pub keys: Vec<Key>,
    /// The number of keys that must have signed.
    pub required: usize,
    /// The fleet of the device.
    pub fleet: String,
    /// The labels of the device.
    pub labels: Vec<(String, String)>,
    /// The time that a pushed configuration is on trial.
    pub probation: Duration,
    /// The web server that is asked for documents.
    pub web: Option<Web>,
    /// The broker that brings them.
    pub mqtt: Option<Mqtt>,
    /// The `OpAMP` server that brings them.
    pub opamp: Option<Opamp>,
    /// The Azure IoT Hub whose device twin names documents.
    pub iothub: Option<IotHub>,
}

/// `[remote.iothub]`
#[derive(Debug, Clone, PartialEq)]
pub struct IotHub {
    /// The name of the hub.
    pub host: String,
    /// The port of MQTT over TLS.
    pub port: u16,
    /// The device's name at the hub.
    pub device: String,
    /// The device's key, in base64.
    pub key: Secret,
    /// The roots that are trusted.
    pub tls: ClientTls,
}

/// `[remote.opamp]`
#[derive(Debug, Clone, PartialEq)]
pub struct Opamp {
    /// The address of the server.
    pub url: String,
    /// The interval of asking.
    pub every: Duration,
    /// The token that is sent.
    pub token: Option<Secret>,
    /// The roots that are trusted, and the certificate that is shown.
    pub tls: ClientTls,
}

/// `[remote.https]`
#[derive(Debug, Clone, PartialEq)]
pub struct Web {
    /// The address of the document.
    pub url: String,
    /// The address that gets reports.
    pub report: Option<String>,
    /// The interval of asking.
    pub every: Duration,
    /// The token that is sent.
    pub token: Option<Secret>,
    /// The roots that are trusted, and the certificate that is shown.
    pub tls: ClientTls,
}

/// `[remote.mqtt]`
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    /// The broker.
    pub place: Place,
    /// Whether the connection uses TLS.
    pub is_tls: bool,
    /// The beginning of the topics.
    pub prefix: String,
    /// Name and password.
    pub login: Option<Login>,
    /// The roots that are trusted, and the certificate that is shown.
    pub tls: ClientTls,
}

/// `[restrict]`: what a pushed document may use; `None` allows everything of a kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Restrict {
    /// Patterns of hosts.
    pub hosts: Option<Vec<String>>,
    /// Patterns of paths: files to read, folders to write.
    pub files: Option<Vec<String>>,
    /// Patterns of serial ports.
    pub serial: Option<Vec<String>>,
    /// Whether it may name programs.
    pub programs: bool,
}

impl Settings {
    /// Reads `[remote]`.
    pub fn read(root: &mut Section<'_>) -> Option<Self> {
        let mut section =
            root.table("remote", "Configurations that are pushed from afar, signed. See docs/fleet.md.")?;
        let keys = section
            .texts("keys")
            .doc(
                "The public keys whose signatures count, as minisign writes them (the second line of its `.pub` file).",
            )
            .example("[\"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"]")
            .check(|keys| {
                let bad = keys.iter().any(|key| Key::parse(&key.value).is_none());
                let hint = "the second line of the file that `minisign -G` wrote; it begins with RW";
                (bad || keys.is_empty()).then(|| ("`keys` needs public keys of minisign".into(), Some(hint.into())))
            })
            .need();
        let keys: Vec<Key> = keys.into_iter().flatten().filter_map(|key| Key::parse(&key.value)).collect();
        let known = keys.len();
        let required = section
            .whole::<usize>("required")
            .doc("So many of the keys must have signed.")
            .at_least(1)
            .check(move |required| {
                (known > 0 && *required > known).then(|| ("there are not so many `keys`".into(), None))
            })
            .or(1);
        let fleet = section
            .text("fleet")
            .doc("The fleet of this device. A document names its fleet.")
            .example("\"plant-7\"")
            .need();
        let labels =
            section.map::<String>("labels", "Labels of this device: a document may be for devices with some of them.");
        let labels = labels.into_iter().flatten().map(|(name, value)| (name.value, value)).collect();
        let probation = section
            .duration("probation")
            .doc("For this long a pushed configuration is on trial. If it does worse than the one before, that one comes back.")
            .within(Duration::from_secs(1)..=LONGEST_TRIAL)
            .or(Duration::from_secs(300));
        let web =
            section.table("https", "A web server that has the document; any static one will do.").and_then(Web::read);
        let mqtt = section.table("mqtt", "A broker that has the document as a retained message.").and_then(Mqtt::read);
        let opamp = section
            .table("opamp", "A server of OpAMP (Open Agent Management Protocol), over plain HTTP.")
            .and_then(Opamp::read);
        let iothub =
            section.table("iothub", "An Azure IoT Hub: the device twin names the document.").and_then(IotHub::read);
        section.end();
        Some(Self { keys, required, fleet: fleet?, labels, probation, web, mqtt, opamp, iothub })
    }
}

/// What is wrong with the address of a web server.
fn not_an_address(text: &str, hint: &str) -> Option<(String, Option<String>)> {
    (!is_web_address(text)).then(|| ("this is no address of a web server".into(), Some(hint.into())))
}

impl Opamp {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let url = section
            .text("url")
            .doc("The address of the server.")
            .example("\"https://opamp.example.com/v1/opamp\"")
            .check(|text| not_an_address(text, "for example \"https://opamp.example.com/v1/opamp\""))
            .need();
        let every = section
            .duration("every")
            .doc("The server is asked at this interval, give or take a tenth.")
            .within(Duration::from_secs(1)..=Duration::from_secs(86_400))
            .or(Duration::from_secs(30));
        let token = section.secret("token", "It is sent as `Authorization: Bearer TOKEN`.");
        let tls = ClientTls::read(&mut section, "TLS: roots to trust, own certificate.").unwrap_or_default();
        section.end();
        Some(Self { url: url?, every, token, tls })
    }
}

impl IotHub {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let connection = section.need_secret(
            "connection",
            "The connection string of the device: `HostName=..;DeviceId=..;SharedAccessKey=..`.",
            "{ file = \"/etc/forebay/iothub\" }",
        );
        let port = section.whole::<u16>("port").doc("The port of MQTT over TLS.").at_least(1).or(8883);
        let tls = ClientTls { ca: read_ca(&mut section), ..ClientTls::default() };
        let without_secrets = section.without_secrets();
        let read = connection.as_ref().and_then(|connection| parts(connection.expose()));
        if connection.is_some() && read.is_none() && !without_secrets {
            let hint = "the portal shows it at the device: HostName=..;DeviceId=..;SharedAccessKey=..";
            section.wrong_because("connection", "this is no connection string of a device", hint);
        }
        section.end();
        let (host, device, key) = match read {
            Some(read) => read,
            None if without_secrets => ("not-read.invalid".into(), String::new(), String::new()),
            None => return None,
        };
        Some(Self { host, port, device, key: Secret::new(key), tls })
    }
}

/// Host, device and key of a device's connection string.
fn parts(text: &str) -> Option<(String, String, String)> {
    let find = |wanted: &str| {
        let mut pairs = text.trim().split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_string())
    };
    let all = (find("HostName")?, find("DeviceId")?, find("SharedAccessKey")?);
    (!all.0.is_empty() && !all.1.is_empty() && digest::decoded(&all.2).is_some()).then_some(all)
}

impl Web {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let address = |text: &String| not_an_address(text, "for example \"https://example.com/fleet/{device}.toml\"");
        let url = section
            .text("url")
            .doc("The address of the document; `{device}` and `{fleet}` stand for their names.")
            .example("\"https://example.com/fleet/{device}.toml\"")
            .check(address)
            .need();
        let report = section
            .text("report")
            .doc("The address to which the state of the configuration is sent (PUT), each time that it changes.")
            .example("\"https://example.com/reports/{device}.json\"")
            .check(address)
            .get_or("no reports");
        let every = section
            .duration("every")
            .doc("The server is asked at this interval, give or take a tenth.")
            .within(Duration::from_secs(1)..=Duration::from_secs(86_400))
            .or(Duration::from_secs(60));
        let token = section.secret("token", "It is sent as `Authorization: Bearer TOKEN`.");
        let tls = ClientTls::read(&mut section, "TLS: roots to trust, own certificate.").unwrap_or_default();
        section.end();
        Some(Self { url: url?, report, every, token, tls })
    }
}

impl Mqtt {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let url = section
            .text("url")
            .doc("The broker: `mqtt://host:1883`, or `mqtts://host:8883` with TLS.")
            .example("\"mqtts://broker.example.com\"")
            .check(|url| {
                let hint = "for example \"mqtt://localhost:1883\" or \"mqtts://broker.example.com\"";
                Place::of_broker(url).is_none().then(|| ("`url` is no address of a broker".into(), Some(hint.into())))
            })
            .need();
        let prefix = section
            .text("prefix")
            .doc("The topics are PREFIX/FLEET/DEVICE/desired and PREFIX/FLEET/all/desired for documents, and PREFIX/FLEET/DEVICE/reported for the state.")
            .check(|prefix| {
                let is_bad = prefix.is_empty() || prefix.contains(['+', '#', '\0']);
                is_bad.then(|| ("`prefix` cannot begin a topic".into(), Some("a topic has no `+` and no `#`".into())))
            })
            .or("forebay".into());
        let login = Login::read(&mut section);
        let tls = ClientTls::read(&mut section, "TLS: roots to trust, own certificate.").unwrap_or_default();
        section.end();
        let (place, is_tls) = Place::of_broker(&url?)?;
        Some(Self { place, is_tls, prefix, login, tls })
    }
}

impl Restrict {
    /// Reads `[restrict]`.
    pub fn read(root: &mut Section<'_>) -> Self {
        let doc = "What a pushed configuration may use. A list that is not here allows everything of its kind.";
        let Some(mut section) = root.table("restrict", doc) else { return Self::default() };
        let mut patterns = |key, doc: &'static str, example: &'static str| {
            let bad = |text: &str| glob::Pattern::new(text).is_err();
            let list = section
                .texts(key)
                .doc(doc)
                .example(example)
                .check(move |list| {
                    list.iter().any(|text| bad(&text.value)).then(|| ("this is no pattern".into(), None))
                })
                .get_or("everything");
            list.map(|list| list.into_iter().map(|text| text.value).collect())
        };
        let hosts = patterns(
            "hosts",
            "Hosts that sources and sinks may connect to, with `*`.",
            "[\"*.servicebus.windows.net\", \"plc-*\"]",
        );
        let files = patterns(
            "files",
            "Files that sources may read and folders that sinks may write, with `*`.",
            "[\"/var/log/*\"]",
        );
        let serial = patterns("serial", "Serial ports that sources may open, with `*`.", "[\"/dev/ttyUSB*\"]");
        let programs = section
            .truth("programs")
            .doc("Whether it may name programs that are run, such as one that gives a token.")
            .or(false);
        section.end();
        Self { hosts, files, serial, programs }
    }
}

/// Whether a list of patterns allows a text.
#[must_use]
pub fn allows(patterns: Option<&[String]>, text: &str) -> bool {
    patterns.is_none_or(|list| {
        list.iter().any(|pattern| glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(text)))
    })
}

/// Whether a list of patterns allows a host. A `*` stands for what is between two dots.
#[must_use]
pub fn allows_host(patterns: Option<&[String]>, host: &str) -> bool {
    let options = glob::MatchOptions {
        case_sensitive: false,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    // For the library a step of a path is what a label of a name is here.
    let steps = |text: &str| text.replace('.', "/");
    patterns.is_none_or(|list| {
        let matches = |pattern: glob::Pattern| pattern.matches_with(&steps(host), options);
        list.iter().any(|pattern| glob::Pattern::new(&steps(pattern)).is_ok_and(matches))
    })
}
