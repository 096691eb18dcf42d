//! A listener for devices that push.

use super::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Address and port.
    pub listen: SocketAddr,
    /// Requests go to this path or below it.
    pub path: String,
    /// A request must bear it.
    pub token: Option<Secret>,
    /// With TLS.
    pub tls: Option<ServerTls>,
    /// The largest body, decompressed, in bytes.
    pub max_body: usize,
    /// The route of each content type, where the configuration leaves the decoder open.
    pub by_content_type: bool,
    /// Bodies are Influx line protocol: the query may name the unit of their times.
    pub influx: bool,
}

/// What a server shows, and whom it lets in. PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Its certificate, and those that lead to the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Clients must have a certificate of one of these.
    pub client_ca: Option<PathBuf>,
}

/// Units of times as clients of InfluxDB name them, version 2 and 1.
pub const INFLUX_UNITS: [&str; 6] = ["ns", "n", "us", "u", "ms", "s"];

/// Content types that are known, in the order of their routes.
pub const CONTENT_TYPES: [&str; 5] =
    ["application/json", "application/x-ndjson", "text/csv", "text/plain", "application/octet-stream"];
