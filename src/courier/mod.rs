//! The downstream loop: what a reader has is encoded, delivered, released.
//!
//! Invariants: a cursor moves only under an `Accepted`; one batch is in flight per lane; order
//! within a lane is kept through every retry and split. One task per stream (its only lane).

mod gather;
mod lane;

use crate::encode::{Codec, Origin};
use crate::flow::stop::Stop;
use crate::platform::clock::Clock;
use crate::sink::Sink;
use crate::sink::link::Link;
use crate::store::Store;
use crate::telemetry::Metrics;
use lane::Lane;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What the courier knows of a sink.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The sink's name; its cursors are kept under it.
    pub name: String,
    /// The device's name.
    pub device: Arc<str>,
    /// How bodies are compressed.
    pub codec: Codec,
    /// How long a small batch waits for more.
    pub linger: Duration,
}

/// What all lanes of a sink share.
#[derive(Debug)]
struct Shared {
    rule: Rule,
    store: Store,
    sink: Arc<dyn Sink>,
    link: Mutex<Link>,
    probed: Notify,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Runs until asked to stop: then every lane ends after the batch that it has in flight, or, with
/// `drain`, after what is durable was delivered once.
pub async fn run(rule: Rule, store: Store, sink: Arc<dyn Sink>, clock: Clock, metrics: Arc<Metrics>, mut stop: Stop) {
    let shared = Arc::new(Shared {
        rule,
        store: store.clone(),
        sink: sink.clone(),
        link: Mutex::new(Link::default()),
        probed: Notify::new(),
        clock,
        metrics,
    });
    let mut durable = store.durable();
    let mut known = BTreeSet::new();
    let mut lanes = JoinSet::new();
    loop {
        for (id, name) in store.streams_of(&shared.rule.name) {
            if known.insert(id) {
                let origin = Origin {
                    device: shared.rule.device.clone(),
                    store: store.id().into(),
                    stream: name.into(),
                    lane: 0,
                };
                lanes.spawn(Lane::new(shared.clone(), id, origin).run(stop.clone()));
            }
        }
        tokio::select! {
            changed = durable.changed() => if changed.is_err() { break },
            () = stop.requested() => break,
        }
    }
    while lanes.join_next().await.is_some() {}
    sink.close().await;
}
