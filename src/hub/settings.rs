//! The settings of a local hub.

use super::fault::Fault;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a hub.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The address to listen on. Port 0 takes a free port.
    pub listen: String,
    /// The names of the event hubs.
    pub hubs: Vec<String>,
    /// The number of partitions of each event hub.
    pub partitions: u16,
    /// The name of the policy that may do everything.
    pub key_name: String,
    /// The key of the policy.
    pub key: String,
    /// The largest message, in bytes.
    pub max_message_size: u64,
    /// The files of the certificate and its key, PEM. With them, the hub accepts only TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The throughput units of the hub, above which it answers server-busy. Without them, it accepts everything.
    pub throughput_units: Option<f64>,
    /// The throughput units of each partition, above which that partition is throttled.
    pub partition_throughput_units: Option<f64>,
    /// The most bytes of events in a partition. Above it, the oldest events are removed.
    pub retain: u64,
    /// The age from which events are removed.
    pub retention: Option<Duration>,
    /// The folder in which events are kept on disk.
    pub data: Option<PathBuf>,
    /// The time that every byte takes in each direction. A round trip takes twice as long.
    pub latency: Option<Duration>,
    /// The rules for faults.
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
