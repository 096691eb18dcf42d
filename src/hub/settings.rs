//! How a hub is set up.

use super::fault::Fault;
use std::path::PathBuf;
use std::time::Duration;

/// How a hub is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where it listens; port 0 takes a free one.
    pub listen: String,
    /// Its event hubs.
    pub hubs: Vec<String>,
    /// Partitions of each.
    pub partitions: u16,
    /// The policy that may do everything.
    pub key_name: String,
    /// Its key.
    pub key: String,
    /// The largest message, in bytes.
    pub max_message_size: u64,
    /// With TLS, and then only with it: certificate and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Above so many the hub answers server-busy; none: it takes all that comes.
    pub throughput_units: Option<f64>,
    /// Above so many a partition is throttled by itself.
    pub partition_throughput_units: Option<f64>,
    /// The oldest events go when a partition holds more than this, in bytes.
    pub retain: u64,
    /// Events go when they are older than this.
    pub retention: Option<Duration>,
    /// Events are kept in this folder.
    pub data: Option<PathBuf>,
    /// How long every byte takes, each way; a round trip is twice as long.
    pub latency: Option<Duration>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5672".into(),
            hubs: vec!["readings".into()],
            partitions: 4,
            key_name: "RootManageSharedAccessKey".into(),
            key: "SAS_KEY_VALUE".into(),
            max_message_size: 1 << 20,
            tls: None,
            throughput_units: None,
            partition_throughput_units: None,
            retain: 256 << 20,
            retention: None,
            data: None,
            latency: None,
            faults: Vec::new(),
        }
    }
}
