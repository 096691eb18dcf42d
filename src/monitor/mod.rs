//! What an agent knows of itself and tells others without being asked: alerts, a sign of life, and its numbers over
//! OTLP.
//!
//! `view` is the agent at one moment. Everything that shows or judges the agent is made of it: the log, the page,
//! `forebay status`, the metrics, and the alerts. The part `run` tells; a target that is away never delays another.

pub mod alert;
mod gauges;
pub mod heartbeat;
pub mod history;
pub mod otlp;
mod post;
mod settings;
pub mod view;

pub use post::{is_web_address, mqtt_options, web_client, web_error};
pub use settings::Settings;

use crate::flow::dead_letter::{Fate, Taken};
use crate::flow::health::Reporter;
use crate::flow::stop::Stop;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::telemetry::family::{self, Family};
use history::Point;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::task::JoinSet;
use view::{AlertView, View};

/// What is answered later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The agent, for whoever shows or judges it.
pub trait Look: Send + Sync {
    /// The agent at this moment.
    fn view(&self) -> View;
    /// Its metrics.
    fn metrics(&self) -> &Arc<Metrics>;
    /// Shows these alerts as active from now on.
    fn alerts(&self, active: Vec<AlertView>);

    /// The state directory, which has the history of the configuration.
    fn state(&self) -> PathBuf;

    /// The last day, a point a minute.
    fn history(&self) -> Vec<Point>;

    /// Replays or discards the dead letters up to a sequence.
    fn take_dead_letters(&self, fate: Fate, upto: u64) -> Answer<'_, Result<Taken, String>>;

    /// All its numbers at the moment of a view.
    fn families(&self, view: &View) -> Vec<Family> {
        let mut families = family::kept(self.metrics());
        families.extend(gauges::of(view));
        families
    }
}

/// What the part is given.
#[derive(Clone)]
pub struct Around {
    /// The agent.
    pub agent: Arc<dyn Look>,
    /// Its store.
    pub store: Store,
    /// The generation of the configuration.
    pub generation: u64,
}

/// Tells others of the agent until the stop.
pub async fn run(settings: Settings, around: Around, health: Reporter, stop: Stop) {
    let mut tasks = JoinSet::new();
    let Settings { alerts, heartbeat, otlp } = settings;
    if let Some(heartbeat) = heartbeat {
        tasks.spawn(heartbeat::run(heartbeat, around.clone(), stop.clone()));
    }
    if let Some(otlp) = otlp {
        tasks.spawn(otlp::run(otlp, around.agent.clone(), stop.clone()));
    }
    tasks.spawn(alert::run(alerts, around, stop));
    health.up();
    while let Some(ended) = tasks.join_next().await {
        // A task that panicked takes the part along, so that the supervisor starts it again.
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}
