//! A part is a source with its intake, or a sink with its courier. The supervisor starts and stops parts.

use super::observe::Observer;
use super::supervisor::{Attempt, Begin, PartId, Supervisor};
use super::{Around, SINK, SOURCE};
use crate::config::{Config, Sink, Source};
use crate::flow::handover::{Budget, handover};
use crate::flow::health::{Health, Reporter};
use crate::flow::pulse::Work;
use crate::flow::stop::{Stop, reason};
use crate::store::Store;
use crate::{courier, dashboard, intake, monitor, source};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A source that waits longer than this for the store reports it.
const SOON: Duration = Duration::from_secs(1);

/// Begins a part that the configuration names.
pub fn begin(supervisor: &mut Supervisor, id: &PartId, config: &Config, around: &Around, observer: &Arc<Observer>) {
    let begin = match id {
        PartId::Source(name) => config.source(name).map(|source| {
            let (source, around, generation) = (source.clone(), around.clone(), config.generation);
            Arc::new(move |stop, health| -> Attempt {
                Box::pin(feed(source.clone(), generation, around.clone(), stop, health))
            }) as Begin
        }),
        PartId::Sink(name) => config.sink(name).map(|sink| {
            let (sink, around, device) = (sink.clone(), around.clone(), config.device.clone());
            Arc::new(move |stop, health| -> Attempt { Box::pin(deliver(&sink, &device, around.clone(), stop, health)) })
                as Begin
        }),
        PartId::Page => config.page.clone().map(|settings| {
            let (observer, store) = (observer.clone(), around.store.clone());
            Arc::new(move |stop, health| -> Attempt {
                let (settings, store, observer) = (settings.clone(), store.clone(), observer.clone());
                Box::pin(async move {
                    dashboard::run(settings, store, observer, health, stop).await;
                    Ok(())
                })
            }) as Begin
        }),
        PartId::Monitor => {
            let (settings, store) = (config.monitor.clone(), around.store.clone());
            let around = monitor::Around { agent: observer.clone(), store, generation: config.generation };
            let begin: Begin = Arc::new(move |stop, health| {
                let (settings, around) = (settings.clone(), around.clone());
                Box::pin(async move {
                    monitor::run(settings, around, health, stop).await;
                    Ok(())
                })
            });
            Some(begin)
        }
    };
    if let Some(begin) = begin {
        supervisor.start(id.clone(), begin);
    }
}

/// Runs a source with its intake until both have ended.
async fn feed(source: Source, generation: u64, around: Around, mut stop: Stop, health: Reporter) -> Result<(), String> {
    let Around { store, clock, metrics, short_of_memory, memory, .. } = around;
    // Frames of an earlier run may still be on their way to the disk. A source that begins before they are safe
    // would read them again.
    let mut caught_up = std::pin::pin!(store.caught_up());
    tokio::select! {
        () = &mut caught_up => {}
        () = tokio::time::sleep(SOON) => {
            health.waiting("the store takes no more at the moment");
            tokio::select! {
                () = caught_up => health.set(Health::Starting),
                () = stop.requested() => return Ok(()),
            }
        }
        () = stop.requested() => return Ok(()),
    }
    let metrics = metrics.part(SOURCE, &source.name);
    let rule = source.rule(generation);
    let (giver, taker) = handover(source.held);
    let positions = store.positions(&source.name);
    let name = source.name.as_str().into();
    let budget = giver.budget();
    let context =
        source::Context { name, giver, positions, stop, metrics: metrics.clone(), health: health.clone(), memory };
    // It ends with this function.
    let mut beside = JoinSet::new();
    beside.spawn(give_back(budget, store.clone(), short_of_memory));
    let mut pair = JoinSet::new();
    let running = pair.spawn(health.pulse("reading", Work::Shared).watch(source.settings.run(context)));
    // The supervisor waits until all reporters of a part are gone. This one lives as long as the intake.
    let alive = health.clone();
    let intake = intake::run(rule, taker, store.clone(), clock, metrics);
    let intake = health.pulse("decoding", Work::Shared).watch(intake);
    pair.spawn(async move {
        intake.await;
        drop(alive);
    });
    let mut failed = Ok(());
    while let Some(ended) = pair.join_next().await {
        // A source without new data would not notice that its intake is gone. The intake settles the frames that it
        // has.
        if let Err(error) = ended
            && failed.is_ok()
        {
            let why = reason(error);
            running.abort();
            health.waiting(format_args!("it failed ({why}), and ends in order"));
            failed = Err(why);
        }
    }
    failed
}

/// Holds a source back each time that memory is short and the source has a share in it, until all that it holds is on
/// disk.
async fn give_back(budget: Budget, store: Store, mut short_of_memory: watch::Receiver<u64>) {
    while short_of_memory.changed().await.is_ok() {
        if !budget.holds_little() {
            store.hurry();
            budget.drain().await;
        }
    }
}

/// Runs a sink with its courier.
fn deliver(
    sink: &Sink,
    device: &str,
    around: Around,
    stop: Stop,
    health: Reporter,
) -> impl Future<Output = Result<(), String>> + Send + 'static {
    let Around { store, clock, metrics, .. } = around;
    let metrics = metrics.part(SINK, &sink.name);
    let rule = courier::Rule { name: sink.name.clone(), device: device.into(), sending: sink.sending.clone() };
    let target = sink.settings.open(metrics.clone());
    courier::run(rule, store, target, clock, metrics, health, stop)
}
