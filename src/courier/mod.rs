//! The downstream loop: the courier reads records from the store, encodes them, delivers them and releases them.
//!
//! Invariants: a cursor moves only under an `Accepted`; one batch is in flight per lane. The order within a lane is
//! kept through every retry and split. A stream has at most two tasks: one for the whole lane, and one for the
//! older part while live data goes first (`progress`).

mod dead_letter;
pub mod dispatch;
mod gather;
mod lane;
mod progress;
mod rounds;
mod too_far;

use crate::encode::Origin;
use crate::flow;
use crate::flow::health::Reporter;
use crate::flow::stop::{Stop, reason};
use crate::platform::clock::Clock;
use crate::sink::{Sending, Sink};
use crate::store::{ReaderHandle, Store};
use crate::telemetry::Metrics;
use dispatch::Dispatcher;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;
use too_far::TooFar;

/// The settings of a sink that the courier needs.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The sink's name; the store keeps its cursors under this name.
    pub name: String,
    /// The device's name.
    pub device: Arc<str>,
    /// The settings for making and sending events.
    pub sending: Sending,
}

/// The parts that all lanes of a sink share.
#[derive(Debug)]
struct Shared {
    rule: Rule,
    store: Store,
    reader: ReaderHandle,
    dispatcher: Dispatcher,
    metrics: Arc<Metrics>,
}

/// Runs until it is asked to stop. Then every lane ends after its batch in flight.
///
/// # Errors
/// The reason why a lane failed; by then the other lanes have ended in order.
pub async fn run(
    rule: Rule,
    store: Store,
    sink: Arc<dyn Sink>,
    clock: Clock,
    metrics: Arc<Metrics>,
    health: Reporter,
    mut stop: Stop,
) -> Result<(), String> {
    let rate = rule.sending.rate;
    let reader = store.reader(&rule.name);
    let dispatcher =
        Dispatcher::new(rule.name.clone(), sink.clone(), rate, Some(reader.clone()), clock.clone(), metrics.clone());
    let dispatcher = dispatcher.reporting(health.clone());
    let shared = Arc::new(Shared { rule, store: store.clone(), reader, dispatcher, metrics });
    let mut durable = store.durable();
    let mut known = BTreeSet::new();
    let mut lanes = JoinSet::new();
    // This second stop ends the lanes: when the sink is asked to stop, and when one lane has failed.
    let (ending, end) = flow::stop::stop();
    let is_idle = || shared.reader.backlog().records == 0;
    if is_idle() {
        health.idle();
    }
    let mut too_far = TooFar::new(shared.rule.sending.limit, clock);
    let ended = loop {
        for (id, name) in shared.reader.streams() {
            if known.insert(id) {
                let origin =
                    Origin { device: shared.rule.device.clone(), store: store.id().into(), stream: name.into() };
                lanes.spawn(lane::run(shared.clone(), id, origin, health.clone(), end.clone()));
            }
        }
        tokio::select! {
            changed = durable.changed() => if changed.is_err() { break Ok(()) },
            // A lane ends only when it is asked to, so an end here is a failure.
            Some(ended) = lanes.join_next() => break Err(ended.map_or_else(reason, |()| "a lane ended by itself".into())),
            behind = too_far.look() => {
                too_far.tell(&shared.rule.name, shared.reader.give_up(behind));
                if is_idle() {
                    health.idle();
                }
            }
            () = stop.requested() => break Ok(()),
        }
    };
    ending.stop();
    while lanes.join_next().await.is_some() {}
    sink.close().await;
    ended
}
