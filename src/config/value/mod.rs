//! Values of a checked configuration: what sources and sinks are told.

mod connection;
mod decoder;
mod entra;
mod http;
mod kafka;
mod modbus;
mod mqtt;
mod quality;
mod serial;
mod size;

pub use connection::{ConnectionError, ConnectionString, Credential, Endpoint};
pub use decoder::{Csv, Decoder, Format, KeyValue, Route, Time, TimeFormat, Type, Unix};
pub use entra::{Application, Entra, Giver};
pub use http::{CONTENT_TYPES, Http, ServerTls};
pub use kafka::{Compression, Kafka, Login, Sasl};
pub use modbus::{Modbus, ModbusLink, Number, Register, Slave, Table};
pub use mqtt::{Broker, ClientTls, Mqtt, Status, Subscription};
pub use quality::{Check, Quality, Then};
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
    /// A last line without a newline is taken as it is after this long without change.
    pub unterminated_after: Duration,
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
            unterminated_after: Duration::from_secs(10),
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

/// Files that records are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The folder; made if missing.
    pub path: PathBuf,
}

/// An event hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHubs {
    /// Where and as whom.
    pub connection: ConnectionString,
    /// The event hub.
    pub entity: String,
    /// All events of this sink go to one partition.
    pub partition: Option<String>,
    /// The device's name; part of the links' names.
    pub device: String,
    /// What AMQP is spoken over.
    pub transport: Transport,
    /// Where the hub, or its gateway, listens.
    pub port: u16,
    /// Roots instead of the system's; PEM.
    pub ca: Option<PathBuf>,
    /// On the way there.
    pub proxy: Option<Proxy>,
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

/// What AMQP is spoken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS.
    Amqp,
    /// A WebSocket over TLS.
    AmqpWebsocket,
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

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes it in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// For whoever must use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
