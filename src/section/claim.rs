//! What no two parts of a configuration may have in common.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Something that a source or sink takes for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// A session of this id at this broker.
    Session {
        /// All that tells the broker from others; it may hold a token and is never shown.
        broker: String,
        /// The client id.
        client_id: String,
    },
    /// An address that is listened on.
    Listener(SocketAddr),
    /// A serial port.
    SerialPort(PathBuf),
    /// Files that are read: a path or a pattern.
    Reads(String),
    /// A folder that is written to.
    Writes(PathBuf),
}
