//! The downstream loop: what a reader has is encoded, delivered, released.
//!
//! Invariants: a cursor moves only under an `Accepted`; one batch is in flight per lane; order
//! within a lane is kept through every retry and split. Two tasks a stream at most: the whole lane, and
//! the older part while live data goes first (`progress`).

mod gather;
mod lane;
mod letter;
mod progress;
mod rounds;
mod too_far;
pub mod way;

use crate::encode::Origin;
use crate::flow::stop::Stop;
use crate::platform::clock::Clock;
use crate::sink::{Sending, Sink};
use crate::store::Store;
use crate::telemetry::{Metrics, event};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use too_far::TooFar;
use way::Way;

/// A lane that failed begins again after this long.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// What the courier knows of a sink.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The sink's name; its cursors are kept under it.
    pub name: String,
    /// The device's name.
    pub device: Arc<str>,
    /// How events are made and sent.
    pub sending: Sending,
}

/// What all lanes of a sink share.
#[derive(Debug)]
struct Shared {
    rule: Rule,
    store: Store,
    way: Way,
    metrics: Arc<Metrics>,
}

/// Runs until asked to stop: then every lane ends after the batch that it has in flight, or, with
/// `drain`, after what is durable was delivered once.
pub async fn run(rule: Rule, store: Store, sink: Arc<dyn Sink>, clock: Clock, metrics: Arc<Metrics>, mut stop: Stop) {
    let way = Way::new(
        rule.name.clone(),
        sink.clone(),
        rule.sending.rate,
        Some(store.clone()),
        clock.clone(),
        metrics.clone(),
    );
    let shared = Arc::new(Shared { rule, store: store.clone(), way, metrics });
    let mut durable = store.durable();
    let mut known = BTreeSet::new();
    let mut lanes = JoinSet::new();
    let mut tasks = HashMap::new();
    let mut too_far = TooFar::new(shared.rule.sending.limit, clock);
    loop {
        for (id, name) in store.streams_of(&shared.rule.name) {
            if known.insert(id) {
                let origin =
                    Origin { device: shared.rule.device.clone(), store: store.id().into(), stream: name.into() };
                let task = lanes.spawn(lane::run(shared.clone(), id, origin, stop.clone()));
                tasks.insert(task.id(), id);
            }
        }
        tokio::select! {
            changed = durable.changed() => if changed.is_err() { break },
            Some(ended) = lanes.join_next_with_id() => {
                // A lane ends only when it is asked to: this one failed, and begins again.
                let task = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(task, ())| *task);
                if !stop.is_requested() && let Some(id) = tasks.remove(&task) {
                    tracing::error!(event = event::SINK_DOWN, sink = shared.rule.name, stream = id, "a lane failed; beginning again");
                    tokio::time::sleep(BEGIN_AGAIN).await;
                    known.remove(&id);
                }
            }
            behind = too_far.look() => {
                too_far.tell(&shared.rule.name, shared.store.give_up(&shared.rule.name, behind));
            }
            () = stop.requested() => break,
        }
    }
    while lanes.join_next().await.is_some() {}
    sink.close().await;
}
