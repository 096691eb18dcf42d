//! Where frames come from.
//!
//! A source reads its device, hands frames over and is told when they are safe. It knows
//! nothing of streams, queries or sinks. A new kind is one folder and one arm in `run`.

pub mod file;
pub mod http;
pub mod modbus;
pub mod mqtt;
pub mod serial;

use crate::flow::handover::Giver;
use crate::flow::stop::Stop;
use crate::telemetry::Metrics;
use std::sync::Arc;

/// Memory for unpacking zstd is bounded by windows of 8 MiB: what levels up to 19 use.
const ZSTD_WINDOW_LOG: u32 = 23;

/// What every source is given.
#[derive(Debug)]
pub struct Context {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Takes its frames.
    pub giver: Giver,
    /// Where its parts stood at the last commit.
    pub positions: Vec<(String, Vec<u8>)>,
    /// When to end.
    pub stop: Stop,
    /// Where numbers go.
    pub metrics: Arc<Metrics>,
}

/// The kinds of source.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Lines of files.
    File(file::Settings),
    /// Requests of devices that push.
    Http(http::Settings),
    /// Registers of Modbus devices.
    Modbus(modbus::Settings),
    /// Messages of an MQTT broker.
    Mqtt(mqtt::Settings),
    /// Frames from serial ports.
    Serial(serial::Settings),
}

impl Kind {
    /// Whether a source can be tried without its store, as a copy that disturbs nobody: `forebay tap`.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn for_tap(mut self) -> Result<Self, &'static str> {
        match &mut self {
            Self::Mqtt(mqtt) => {
                // A session of its own; the broker keeps nothing for it and waits for nothing.
                mqtt.client_id.push_str("-tap");
                mqtt.clean_session = true;
                mqtt.status = None;
                // A shared subscription would take messages away from the agents that share it.
                mqtt.subscriptions.iter_mut().for_each(crate::config::value::Subscription::for_tap);
            }
            Self::File(file) => file.from_end = true,
            Self::Http(_) => return Err("what devices push would be answered 202 and be lost; run the agent instead"),
            Self::Serial(_) | Self::Modbus(_) => {}
        }
        Ok(self)
    }
}

/// Tries to reach what a source reads; what was found.
///
/// # Errors
/// What is in the way.
pub async fn probe(kind: &Kind) -> Result<String, String> {
    match kind {
        Kind::File(settings) => file::probe(settings),
        Kind::Http(settings) => http::open(settings).await.map(|_| format!("{} can be listened on", settings.listen)),
        Kind::Modbus(settings) => modbus::probe(settings).await,
        Kind::Mqtt(settings) => mqtt::probe(settings).await,
        Kind::Serial(settings) => serial::probe(settings),
    }
}

/// Runs a source until it is asked to stop. It keeps trying whatever happens outside.
pub async fn run(kind: Kind, context: Context) {
    match kind {
        Kind::File(settings) => file::run(settings, context).await,
        Kind::Http(settings) => http::run(settings, context).await,
        Kind::Modbus(settings) => modbus::run(settings, context).await,
        Kind::Mqtt(settings) => mqtt::run(settings, context).await,
        Kind::Serial(settings) => serial::run(settings, context).await,
    }
}
