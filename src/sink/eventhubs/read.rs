//! Reads `[sink.NAME]` with `kind = "eventhubs"`.

use super::connection_string::{ConnectionString, Credential, Endpoint};
use super::settings::{Proxy, Settings, Target, Transport};
use crate::platform::clock;
use crate::section::{ClientTls, Login, Place, Section, read_ca, read_pins};
use crate::sink::entra::Entra;
use crate::sink::kafka::{self, Compression, Sasl};
use crate::sink::pace::Rate;
use crate::sink::{self, Sending};
use std::sync::Arc;

/// The port where Event Hubs speaks Kafka's protocol.
const KAFKA_PORT: u16 = 9093;
/// The placeholder for a connection string when secrets are not read.
const NOT_READ: &str = "Endpoint=sb://not-read.invalid/;SharedAccessKeyName=-;SharedAccessKey=-;EntityPath=not-read";

/// The transport as the configuration names it.
#[derive(Clone, Copy, PartialEq)]
enum Spoken {
    Amqp,
    AmqpWebsocket,
    Https,
    Kafka,
}

pub fn read(section: &mut Section<'_>) -> Option<sink::Settings> {
    let connection = read_connection(section);
    let event_hub = section
        .text("event_hub")
        .doc("The event hub. It is needed where the connection string has no `EntityPath`.")
        .example("\"readings\"")
        .get_or("`EntityPath` of the connection string");
    let target = read_target(section);
    let transport = section
        .choice(
            "transport",
            &[
                ("amqp", Spoken::Amqp, "AMQP 1.0 over TLS, port 5671."),
                (
                    "amqp-websocket",
                    Spoken::AmqpWebsocket,
                    "AMQP 1.0 over a WebSocket, port 443: passes most firewalls.",
                ),
                ("https", Spoken::Https, "One event a request, port 443."),
                ("kafka", Spoken::Kafka, "Kafka's protocol, port 9093; not in the Basic tier."),
            ],
        )
        .doc("How the hub is spoken to.")
        .or(Spoken::Amqp);
    let port = section.whole::<u16>("port").doc("Port of the hub or of a gateway in front of it.");
    let port = port.example("5671").get_or("the usual one of the transport");
    let ca = read_ca(section);
    let pins = read_pins(section);
    let proxy = section.table("proxy", "HTTP proxy on the way to the hub; it must allow CONNECT.").and_then(read_proxy);
    let rate = Rate::read(section);
    let is_fixed = section.has("partition") || section.has("publisher");
    let sending = Sending { rate, ..Sending::read_partitioned(section, is_fixed) };
    let at = if section.has("connection") { "connection" } else { "namespace" };
    let connection = connection?;
    if let (Some(named), Some(path)) = (&event_hub, &connection.entity)
        && !named.eq_ignore_ascii_case(path)
        && !section.without_secrets()
    {
        let hint = format!("leave `event_hub` out, or take a connection string for `{named}`");
        let message = format!("the connection string is for `{path}` (EntityPath)");
        section.session().warn(section.at("event_hub"), message, Some(hint));
    }
    doubt_credential(section, at, &connection);
    let entity = event_hub.or_else(|| connection.entity.clone()).filter(|entity| !entity.is_empty());
    let Some(entity) = entity else {
        let hint = "add `;EntityPath=NAME` to the connection string, or set event_hub = \"NAME\"";
        section.wrong_because(at, "nothing says which event hub", hint);
        return None;
    };
    let endpoint = &connection.endpoint;
    // The endpoint of the emulator, or of a server in its place, names its port.
    let named = port.or(endpoint.named_port.filter(|_| !endpoint.tls));
    let web = if endpoint.tls { 443 } else { 80 };
    let (transport, usual) = match transport {
        Spoken::Amqp => (Transport::Amqp, endpoint.port),
        Spoken::AmqpWebsocket => (Transport::AmqpWebsocket, web),
        Spoken::Https => (Transport::Https, web),
        Spoken::Kafka => {
            if section.has("proxy") {
                section.wrong("proxy", "`proxy` is for amqp, amqp-websocket and https");
            }
            let port = named.unwrap_or(KAFKA_PORT);
            let settings = by_kafka(
                section,
                at,
                connection,
                entity,
                &target,
                port,
                ClientTls { ca, pins, ..ClientTls::default() },
            )?;
            return Some((Arc::new(settings), sending));
        }
    };
    let (port, device) = (named.unwrap_or(usual), section.device());
    let settings = Settings { connection, entity, target, device, transport, port, ca, pins, proxy };
    Some((Arc::new(settings), sending))
}

/// Reads the address of the hub and the credential for sending.
fn read_connection(section: &mut Section<'_>) -> Option<ConnectionString> {
    let by_name = section.has("namespace") || section.has("credential");
    let doc = "Place of the connection string. Give it, or `namespace` and `credential`.";
    let secret = if by_name {
        section.not_read("connection");
        None
    } else {
        section.need_secret("connection", doc, "{ env = \"EVENTHUB_CONNECTION\" }")
    };
    section.note_needed("connection", "needed, or `namespace` and `credential`");
    let namespace = section
        .text("namespace")
        .doc("Host name of the Event Hubs namespace. Use it with `credential`, instead of `connection`.")
        .example("\"NAME.servicebus.windows.net\"")
        .check(|host| {
            let hint = "for example \"NAME.servicebus.windows.net\"";
            let is_bad = host.is_empty() || host.contains(['/', ':', ' ', '@', ';']);
            is_bad.then(|| (format!("`{host}` is no namespace's host name"), Some(hint.into())))
        });
    let namespace = if by_name { namespace.need() } else { namespace.get() };
    let doc = "Microsoft Entra identity that sends to `namespace`. It needs the role Azure Event Hubs Data Sender.";
    let credential = section.table("credential", doc).and_then(Entra::read);
    if by_name {
        if section.has("connection") {
            section.wrong("connection", "give `connection`, or `namespace` and `credential`");
        }
        if !section.has("credential") {
            let hint = "for example: credential = { kind = \"managed-identity\" }";
            section.missing("credential", "`credential` is missing", hint);
        }
        return Some(ConnectionString::of(&namespace?, credential?));
    }
    let secret = secret?;
    let text = if section.without_secrets() { NOT_READ } else { secret.expose() };
    match ConnectionString::parse(text) {
        Ok(connection) => Some(ConnectionString { whole: Some(secret), ..connection }),
        Err(error) => {
            let hint = "copy it from the portal: Event Hubs namespace, shared access policies";
            section.wrong_because("connection", error.to_string(), hint);
            None
        }
    }
}

/// Reads the hub's partition or publisher.
fn read_target(section: &mut Section<'_>) -> Target {
    let partition = section
        .text("partition")
        .doc("All events of this sink go to this partition, a number as text.")
        .example("\"0\"")
        .check(|text| {
            text.parse::<u16>().is_err().then(|| ("`partition` must be a partition's number, as text".into(), None))
        })
        .get_or("decided by `partition_by`");
    let publisher = section
        .text("publisher")
        .doc("All events go out under this publisher's name, which is also their key and can be revoked.")
        .example("\"gateway-7\"")
        .get_or("none");
    if let Some(publisher) = &publisher {
        section.session().name(section.at("publisher"), publisher);
    }
    if section.has("partition") && section.has("publisher") {
        section.wrong("publisher", "`partition` and `publisher` do not go together");
    }
    match (partition.and_then(|text| text.parse().ok()), publisher) {
        (Some(number), _) => Target::Partition(number),
        (None, Some(publisher)) => Target::Publisher(publisher),
        (None, None) => Target::Hub,
    }
}

fn read_proxy(mut section: Section<'_>) -> Option<Proxy> {
    let address = section
        .text("address")
        .doc("Host and port of the proxy.")
        .example("\"proxy.example.com:3128\"")
        .check(|text| {
            let hint = "for example \"proxy.example.com:3128\"; name and password have keys of their own";
            Place::parse(text, None).is_none().then(|| (format!("`{text}` is not host:port"), Some(hint.into())))
        })
        .need();
    let login = Login::read(&mut section);
    section.end();
    let Place { host, port } = Place::parse(&address?, None)?;
    Some(Proxy { host, port, login })
}

/// Makes the settings for the same hub over Kafka's protocol.
fn by_kafka(
    section: &Section<'_>,
    at: &str,
    connection: ConnectionString,
    topic: String,
    target: &Target,
    port: u16,
    tls: ClientTls,
) -> Option<kafka::Settings> {
    let partition = match target {
        Target::Partition(partition) => Some((*partition).into()),
        Target::Hub => None,
        Target::Publisher(_) => {
            section.wrong("publisher", "`publisher` does not go with transport = \"kafka\"");
            None
        }
    };
    let host = connection.endpoint.host.clone();
    let sasl = match (connection.whole, connection.credential) {
        (Some(secret), Credential::Key { .. }) => {
            Sasl::Plain(Login { user: "$ConnectionString".into(), password: secret })
        }
        // By this protocol a token is for the namespace (Azure Event Hubs for Kafka, "OAuth 2.0").
        (_, Credential::Entra(entra)) => Sasl::Entra(entra, format!("https://{host}")),
        _ => {
            let hint = "use a policy's name and key, or transport = \"amqp\"";
            section.wrong_because(at, "`transport = \"kafka\"` takes no signature made elsewhere", hint);
            return None;
        }
    };
    let tls = connection.endpoint.tls.then_some(tls);
    let (brokers, compression) = (vec![(host, port)], Compression::None);
    Some(kafka::Settings { brokers, topic, partition, tls, sasl: Some(sasl), compression })
}

/// Reports a signature that has ended, and a connection without TLS to a host that cannot be the emulator.
fn doubt_credential(section: &Section<'_>, at: &str, connection: &ConnectionString) {
    if let Credential::Signature(signature) = &connection.credential {
        let until = signature_ends(signature.expose());
        let now = clock::wall_ms();
        if let Some(until) = until.filter(|until| clock::is_credible(now) && until.saturating_mul(1000) <= now) {
            let ended = clock::utc(until.saturating_mul(1000));
            let hint = "make a new one, or give the policy's name and key: signatures are made from them";
            section.wrong_because(at, format!("the signature has ended at {ended}"), hint);
        }
    }
    let Endpoint { host, tls, .. } = &connection.endpoint;
    if !tls && is_public(host) {
        let hint = "leave UseDevelopmentEmulator=true out";
        let message = format!("`{host}` is not the emulator: nothing would be encrypted on the way there");
        section.wrong_because(at, message, hint);
    }
}

/// The end of a shared access signature (`se`), in seconds since the Unix epoch.
pub fn signature_ends(signature: &str) -> Option<i64> {
    let (_, parts) = signature.split_once(' ')?;
    parts.split('&').find_map(|part| part.strip_prefix("se=")?.parse().ok())
}

/// Whether a host is on the internet: a name with a dot, or an address that is not private.
fn is_public(host: &str) -> bool {
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            let is_here = address.is_loopback() || address.is_link_local() || address.is_unspecified();
            !(is_here || address.is_private() || is_shared)
        }
        Ok(std::net::IpAddr::V6(address)) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
        // Names of one word, and names with these endings, belong to a machine or a site.
        Err(_) => {
            let ends = [".local", ".internal", ".localhost", ".lan", ".svc", ".test", ".home.arpa"];
            host.contains('.') && !ends.iter().any(|end| host.ends_with(end))
        }
    }
}
