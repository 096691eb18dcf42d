//! Values of a checked configuration: what sources and sinks are told.

mod connection;
mod decoder;
mod entra;
mod http;
mod kafka;
mod modbus;
mod mqtt;
mod place;
mod quality;
mod secret;
mod serial;
mod size;

pub use connection::{ConnectionError, ConnectionString, Credential, Endpoint};
pub use decoder::{Csv, Decoder, Format, KeyValue, Route, Time, TimeFormat, Type, Unix};
pub use entra::{Application, Entra, Giver};
pub use http::{CONTENT_TYPES, Http, INFLUX_UNITS, ServerTls};
pub use kafka::{Compression, Kafka, Login, Sasl};
pub use modbus::{Modbus, ModbusLink, Number, Register, Slave, Table};
pub use mqtt::{Broker, ClientTls, Mqtt, Status, Subscription};
pub use place::{Host, Place};
pub use quality::{Check, Quality, Then};
pub use secret::Secret;
pub use serial::{Checksum, Flow, Framing, Line, Parity, Poll, Rs485, Serial};
pub use size::{Bytes, Span};

use std::path::PathBuf;
use std::time::Duration;

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// As they are.
    None,
    /// gzip, level 6.
    Gzip,
}

/// How files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// A path, or a pattern with `*`, `?`, `[..]`.
    pub path: String,
    /// Start at the end of files that are there at the very first start.
    pub from_end: bool,
    /// Look for more this often.
    pub poll: Duration,
    /// A last line without a newline is taken as it is after this long without change; else when the file
    /// was rotated, removed or is complete.
    pub unterminated_after: Option<Duration>,
    /// A file that was renamed or removed is let go after this long without change.
    pub gone_after: Duration,
    /// The longest line in bytes; longer ones become dead letters.
    pub max_line: usize,
    /// Between the values of a file whose first line names its columns.
    pub header: Option<u8>,
    /// A line that matches this begins a message; others belong to the one before.
    pub message_start: Option<String>,
    /// Files that were not written to for longer are not begun.
    pub ignore_older: Option<Duration>,
    /// Each file is one message.
    pub whole: bool,
    /// What becomes of a file that has been read, when its records are safe.
    pub when_done: WhenDone,
    /// A file is taken to be complete after this long without change.
    pub done_after: Duration,
    /// Files that are open at a time.
    pub max_open: usize,
}

/// What becomes of a file that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenDone {
    /// It stays, and is read on when it grows.
    Keep,
    /// It goes to the folder `done` beside it.
    Move,
    /// It is removed.
    Delete,
}

impl File {
    /// With the defaults.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: path.into(),
            from_end: false,
            poll: Duration::from_millis(250),
            unterminated_after: None,
            gone_after: Duration::from_secs(5),
            max_line: crate::flow::record::MAX_RECORD,
            header: None,
            message_start: None,
            ignore_older: None,
            whole: false,
            when_done: WhenDone::Keep,
            done_after: Duration::from_secs(5),
            max_open: 256,
        }
    }
}

/// How far a sink may be behind before it gives up the oldest; none: others may have to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// Stored bytes.
    pub bytes: Option<u64>,
    /// Since the arrival.
    pub age: Option<Duration>,
}

/// Files that records are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The folder; made if missing.
    pub path: PathBuf,
    /// A file is finished at this age.
    pub roll: Duration,
    /// Bytes of all files; the oldest finished ones are removed. `None`: nothing is removed.
    pub keep: Option<u64>,
    /// Rights of files (`0o600`); the folder may also be searched by whoever may read.
    pub mode: u32,
    /// Files are gzip.
    pub packed: bool,
}

/// SHA-256 of a public key (`SubjectPublicKeyInfo`, DER).
pub type Pin = [u8; 32];

/// An event hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHubs {
    /// Where and as whom.
    pub connection: ConnectionString,
    /// The event hub.
    pub entity: String,
    /// What of it.
    pub target: Target,
    /// The device's name; part of the links' names.
    pub device: String,
    /// How it is spoken to.
    pub transport: Transport,
    /// Where the hub, or its gateway, listens.
    pub port: u16,
    /// Roots instead of the system's; PEM.
    pub ca: Option<PathBuf>,
    /// The hub's key must be one of these, besides.
    pub pins: Vec<Pin>,
    /// On the way there.
    pub proxy: Option<Proxy>,
}

impl EventHubs {
    /// What tokens and links are for: the hub, its partition, or its publisher.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.target {
            Target::Hub => self.entity.clone(),
            Target::Partition(partition) => format!("{}/Partitions/{partition}", self.entity),
            Target::Publisher(publisher) => format!("{}/Publishers/{publisher}", self.entity),
        }
    }

    /// What a token is for.
    #[must_use]
    pub fn audience(&self) -> String {
        match self.target {
            Target::Hub | Target::Partition(_) => self.entity.clone(),
            Target::Publisher(_) => self.path(),
        }
    }

    /// Files whose secrets count with the next connection.
    #[must_use]
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let mut files = match &self.connection.credential {
            Credential::Entra(entra) => entra.files(),
            _ => Vec::new(),
        };
        let whole = self.connection.whole.as_ref().and_then(Secret::file);
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.login.as_ref()?.password.file());
        files.extend([whole, proxy].into_iter().flatten().cloned());
        files
    }
}

/// What of an event hub is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The hub: it chooses the partition by the key.
    Hub,
    /// A fixed partition.
    Partition(u16),
    /// A publisher of its own: its name is the key, and it can be revoked.
    Publisher(String),
}

/// How fast a sink may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second.
    pub bytes: u64,
    /// Events a second.
    pub events: u64,
}

impl Rate {
    /// So many throughput units: 1 MB or 1000 events a second each (event-hubs.md, section 1).
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `check` bounds it
    pub fn throughput_units(units: f64) -> Self {
        Self { bytes: (units * 1e6) as u64, events: (units * 1e3) as u64 }
    }
}

/// What decides the partition of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionBy {
    /// Its stream: one lane, one order.
    Stream,
    /// Its device: all streams in one partition.
    Device,
    /// An attribute of its records: a lane for each value.
    Attribute(String),
    /// Nothing: batches go to all partitions in turn.
    RoundRobin,
}

/// How the hub is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS.
    Amqp,
    /// A WebSocket over TLS.
    AmqpWebsocket,
    /// HTTP over TLS instead of AMQP.
    Https,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Amqp => "AMQP",
            Self::AmqpWebsocket => "AMQP over a WebSocket",
            Self::Https => "HTTPS",
        })
    }
}

/// An HTTP proxy that takes CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom.
    pub login: Option<Login>,
}
