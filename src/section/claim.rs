//! Resources that no two parts of a configuration may share.

use super::{ClientTls, Place};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A resource that a source or a sink claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// A session with this client id at this broker.
    Session {
        /// The text that distinguishes the broker from others. It may contain a token and is never shown.
        broker: String,
        /// The client id.
        client_id: String,
    },
    /// An address that a source listens on.
    Listener(SocketAddr),
    /// A serial port.
    SerialPort(PathBuf),
    /// Files that a source reads: a path or a pattern.
    Reads(String),
    /// A folder that a sink writes to.
    Writes(PathBuf),
    /// The PEM file of a certificate that the part shows to others.
    Certificate(PathBuf),
    /// A place that a sink connects to, and how it knows the server; without, the connection has no TLS.
    Target(Place, Option<ClientTls>),
    /// A host that a part connects to, besides targets.
    Host(String),
    /// A file that a part reads besides readings.
    File(PathBuf),
    /// A program that a part runs.
    Program(String),
    /// A signature that was made elsewhere, and its end in seconds since the Unix epoch.
    Signature(i64),
}
