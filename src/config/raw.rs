//! The tables of the file as serde reads them: every field optional, so that `check` can report
//! all that is missing at once.

pub mod kafka;
pub mod modbus;
pub mod mqtt;
pub mod route;
pub mod serial;

use super::value::{Bytes, Codec, Span, WhenDone};
use serde::Deserialize;
use toml::Spanned;

/// A secret by reference, or in the open where that is allowed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// An environment variable.
    pub env: Option<String>,
    /// A file.
    pub file: Option<String>,
    /// A systemd credential.
    pub credential: Option<String>,
}

/// `[store]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The most that segments take together.
    pub cap: Option<Spanned<Bytes>>,
    /// Held even when empty.
    pub reserve: Option<Spanned<Bytes>>,
    /// How long a commit waits for more.
    pub linger: Option<Spanned<Span>>,
    /// Early commits for stalled sources.
    pub max_commits_per_second: Option<Spanned<u32>>,
    /// What gives way when the store is full.
    pub when_full: Option<Spanned<WhenFull>>,
}

/// What gives way when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Nothing: the sources wait.
    Block,
    /// What is oldest.
    DropOldest,
    /// What arrives.
    DropNewest,
}

/// `[stream.NAME]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stream {
    /// Released data that is kept.
    pub keep: Option<Spanned<Bytes>>,
    /// The most that is not delivered.
    pub cap: Option<Spanned<Bytes>>,
    /// What gives way then, or when the store is full.
    pub when_full: Option<Spanned<WhenFull>>,
    /// Which stream gives way first.
    pub priority: Option<Spanned<u8>>,
}

/// `[source.NAME]` with `kind = "file"`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Path or pattern.
    pub path: Option<Spanned<String>>,
    /// `beginning` or `end`.
    pub start: Option<Spanned<Start>>,
    /// How often to look.
    pub poll: Option<Spanned<Span>>,
    /// When a last line without newline is taken.
    pub unterminated_after: Option<Spanned<Span>>,
    /// The longest line.
    pub max_line: Option<Spanned<Bytes>>,
    /// A pattern of lines that begin a message.
    pub message_start: Option<Spanned<String>>,
    /// Old files are not begun.
    pub ignore_older: Option<Spanned<Span>>,
    /// Each file is one message.
    pub whole: Option<Spanned<bool>>,
    /// `keep`, `move` or `delete`.
    pub when_done: Option<Spanned<WhenDone>>,
    /// When a file is complete.
    pub done_after: Option<Spanned<Span>>,
    /// Files that are open at a time.
    pub max_open: Option<Spanned<usize>>,
}

/// `[source.NAME]` with `kind = "http"`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `address:port`.
    pub listen: Option<Spanned<String>>,
    /// Requests go here or below.
    pub path: Option<Spanned<String>>,
    /// A request must bear it.
    pub token: Option<Spanned<Reference>>,
    /// With TLS.
    pub tls: Option<Spanned<ServerTls>>,
    /// The largest body.
    pub max_body: Option<Spanned<Bytes>>,
}

/// `tls = { .. }` of a listener
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTls {
    /// A PEM file.
    pub certificate: Option<Spanned<String>>,
    /// A PEM file.
    pub key: Option<Spanned<String>>,
    /// A PEM file.
    pub client_ca: Option<Spanned<String>>,
}

/// Where a file is read from at the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// All of it.
    Beginning,
    /// What comes.
    End,
}

/// Where a new reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// With what is there.
    Oldest,
    /// With what comes.
    Newest,
}

/// `credential = { .. }`: Microsoft Entra
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Entra {
    /// Which.
    pub kind: Option<Spanned<EntraKind>>,
    /// The directory.
    pub tenant: Option<Spanned<String>>,
    /// The application, or which of several identities.
    pub client_id: Option<Spanned<String>>,
    /// The application's secret.
    pub secret: Option<Spanned<Reference>>,
    /// Its certificate instead, PEM.
    pub certificate: Option<Spanned<String>>,
    /// The certificate's key, where it is not in the same file.
    pub key: Option<Spanned<String>>,
    /// Another issuer's token.
    pub token_file: Option<Spanned<String>>,
    /// A program and its arguments.
    pub command: Option<Spanned<Vec<String>>>,
    /// Of another cloud.
    pub authority: Option<Spanned<String>>,
}

/// Where tokens come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntraKind {
    /// An application's secret.
    ClientSecret,
    /// An application's certificate.
    ClientCertificate,
    /// Another issuer's token.
    WorkloadIdentity,
    /// Of Azure's own machines.
    ManagedIdentity,
    /// What a program prints.
    Command,
}

/// `[sink.NAME]` with `kind = "eventhubs"`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventHubs {
    /// A reference to the connection string.
    pub connection: Option<Spanned<Reference>>,
    /// Instead: where, and
    pub namespace: Option<Spanned<String>>,
    /// as whom.
    pub credential: Option<Spanned<Entra>>,
    /// Where the connection string has no `EntityPath`.
    pub event_hub: Option<Spanned<String>>,
    /// A fixed partition.
    pub partition: Option<Spanned<String>>,
    /// A publisher of its own.
    pub publisher: Option<Spanned<String>>,
    /// What decides the partition.
    pub partition_by: Option<Spanned<PartitionBy>>,
    /// The attribute that does.
    pub partition_attribute: Option<Spanned<String>>,
    /// What goes first after an outage.
    pub drain: Option<Spanned<Drain>>,
    /// How the hub is spoken to.
    pub transport: Option<Spanned<Transport>>,
    /// Another port than the usual one.
    pub port: Option<Spanned<u16>>,
    /// A PEM file.
    pub ca: Option<Spanned<String>>,
    /// Keys that the hub may have.
    pub pins: Option<Vec<Spanned<String>>>,
    /// On the way there.
    pub proxy: Option<Spanned<Proxy>>,
    /// This sink's share of the namespace.
    pub throughput_units: Option<Spanned<f64>>,
    /// `ndjson`.
    pub format: Option<Spanned<Format>>,
    /// `gzip` or `none`.
    pub compression: Option<Spanned<Codec>>,
    /// Common to all sinks.
    pub from: Option<Spanned<Vec<Spanned<String>>>>,
    /// Common to all sinks.
    pub begin: Option<Spanned<Begin>>,
    /// Common to all sinks.
    pub linger: Option<Spanned<Span>>,
    /// Common to all sinks.
    pub max_behind: Option<Spanned<Bytes>>,
    /// Common to all sinks.
    pub give_up_after: Option<Spanned<Span>>,
}

/// What decides the partition of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionBy {
    /// Its stream.
    Stream,
    /// Its device.
    Device,
    /// `partition_attribute`
    Attribute,
    /// Nothing.
    RoundRobin,
}

/// What goes first after an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drain {
    /// The oldest.
    Fifo,
    /// What comes.
    LiveFirst,
}

/// How a hub is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// AMQP over TLS, port 5671.
    Amqp,
    /// AMQP over a WebSocket, port 443.
    AmqpWebsocket,
    /// One event a request, port 443.
    Https,
    /// Kafka's protocol, port 9093.
    Kafka,
}

/// `proxy = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// `host:port`.
    pub address: Option<Spanned<String>>,
    /// As whom.
    pub username: Option<Spanned<String>>,
    /// As whom.
    pub password: Option<Spanned<Reference>>,
}

/// Body formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
}

/// `[sink.NAME]` with `kind = "directory"`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Directory {
    /// The folder.
    pub path: Option<Spanned<String>>,
    /// A file is finished at this age.
    pub roll: Option<Spanned<Span>>,
    /// The most that the folder may hold.
    pub keep: Option<Spanned<Bytes>>,
    /// Rights of files, in octal.
    pub mode: Option<Spanned<String>>,
    /// `gzip` or `none`.
    pub compression: Option<Spanned<Codec>>,
    /// Common to all sinks.
    pub from: Option<Spanned<Vec<Spanned<String>>>>,
    /// Common to all sinks.
    pub begin: Option<Spanned<Begin>>,
    /// Common to all sinks.
    pub linger: Option<Spanned<Span>>,
    /// Common to all sinks.
    pub max_behind: Option<Spanned<Bytes>>,
    /// Common to all sinks.
    pub give_up_after: Option<Spanned<Span>>,
}
