//! Carriers bring documents, and take reports. A carrier knows nothing of what a document says.

mod folder;
mod mqtt;
mod opamp;
mod twin;
mod web;

pub use folder::{BACK, taken};
pub use mqtt::connect;

use super::settings::Settings;
use crate::flow::stop::Stop;
use crate::platform::random;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Whether a carrier is done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It was taken, was known, or is refused for good.
    Done,
    /// It cannot be taken now: bring it again.
    Later,
}

/// What a carrier brings.
#[derive(Debug)]
pub enum Wish {
    /// A document, if it is one.
    Take(Vec<u8>),
    /// A person on the device wants the document before this one back.
    Back,
}

/// A wish that was brought.
#[derive(Debug)]
pub struct Arrived {
    /// The wish.
    pub wish: Wish,
    /// The carrier, in one word.
    pub by: &'static str,
    /// The answer to the carrier.
    pub answer: oneshot::Sender<Handled>,
}

/// A connection to a broker that lasted so long was a good one.
const LASTING: Duration = Duration::from_secs(60);
/// The first and the longest pause before a new connection, in milliseconds.
const PAUSE_MS: (u64, u64) = (1000, 60_000);

/// The pauses between connections to a broker.
#[derive(Debug, Default)]
struct Reconnects {
    failures: u32,
}

impl Reconnects {
    /// The pause after a connection that lasted so long. One that ends soon each time is no success: a broker may refuse
    /// after it has accepted.
    fn pause(&mut self, lasted: Duration) -> Duration {
        self.failures = if lasted < LASTING { self.failures + 1 } else { 1 };
        random::backoff(PAUSE_MS.0, PAUSE_MS.1, self.failures)
    }
}

/// What each carrier is given.
#[derive(Debug, Clone)]
pub struct Around {
    /// The name of the device.
    pub device: String,
    /// Takes what is brought.
    pub arrived: mpsc::Sender<Arrived>,
    /// The report, as JSON; empty as long as there is none.
    pub report: watch::Receiver<String>,
    /// The end of the agent.
    pub stop: Stop,
}

impl Around {
    /// Hands a document over, and waits for the answer. Without an answer the agent ends.
    async fn hand_over(&self, wish: Wish, by: &'static str) -> Handled {
        let (answer, answered) = oneshot::channel();
        if self.arrived.send(Arrived { wish, by, answer }).await.is_err() {
            return Handled::Later;
        }
        answered.await.unwrap_or(Handled::Later)
    }
}

/// Starts all carriers of a configuration.
#[must_use]
pub fn start(settings: &Settings, inbox: PathBuf, around: &Around) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(folder::run(inbox, around.clone()));
    if let Some(web) = settings.web.clone() {
        tasks.spawn(web::run(web, settings.fleet.clone(), around.clone()));
    }
    if let Some(mqtt) = settings.mqtt.clone() {
        tasks.spawn(mqtt::run(mqtt, settings.fleet.clone(), around.clone()));
    }
    if let Some(server) = settings.opamp.clone() {
        tasks.spawn(opamp::run(server, settings.fleet.clone(), around.clone()));
    }
    if let Some(hub) = settings.iothub.clone() {
        tasks.spawn(twin::run(hub, around.clone()));
    }
    tasks
}
