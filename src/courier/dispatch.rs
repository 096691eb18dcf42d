//! Dispatches batches to a sink: waits until a batch may go, delivers it, and updates the link from the outcome.

use crate::flow::batch::{Batch, Unset};
use crate::flow::health::Reporter;
use crate::flow::receipt::Accepted;
use crate::flow::stop::{Stop, Stopped};
use crate::platform::clock::{self, Clock};
use crate::platform::random;
use crate::sink::link::{Link, Permit};
use crate::sink::pace::{Pace, Rate};
use crate::sink::{Class, DeliverError, Sink};
use crate::store::ReaderHandle;
use crate::telemetry::outage::{Outage, Tell};
use crate::telemetry::people;
use crate::telemetry::{Histogram, Metric, Metrics, Reason, event};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// After the request to stop, a delivery in flight may take this much longer.
const LAST_DELIVERY: Duration = Duration::from_secs(3);
/// After a pause of this length, in milliseconds, the other side may have closed the connection.
const IDLE_MS: u64 = 10_000;
/// The last delivery is remembered for at most this many channels.
const CHANNELS: usize = 1024;
/// While the target refuses our credentials, the secret files are checked for a change at this interval.
const LOOK_AT_SECRETS: Duration = Duration::from_secs(2);

/// The outcome of a delivery.
#[derive(Debug)]
pub enum Outcome {
    /// The target has the batch for good.
    Accepted(Accepted),
    /// The batch is larger than the target accepts.
    TooLarge(String),
    /// The target will never accept the batch.
    Refused(String),
    /// The batch must not be sent any more. The clock was set since, so that its times can be corrected, or its
    /// records were given up.
    Outdated,
}

/// Delivers the batches of all lanes of a sink.
#[derive(Debug)]
pub struct Dispatcher {
    name: String,
    sink: Arc<dyn Sink>,
    link: Mutex<Link>,
    pace: Option<Mutex<Pace>>,
    probed: Notify,
    /// The time of the last delivery of each channel, in monotonic milliseconds.
    used: Mutex<HashMap<Arc<str>, u64>>,
    outage: Mutex<Outage>,
    /// The sink's reader of the store, which counts the waiting records.
    reader: Option<ReaderHandle>,
    clock: Clock,
    metrics: Arc<Metrics>,
    health: Reporter,
}

impl Dispatcher {
    /// A dispatcher for the sink `name` that sends no faster than `rate`.
    #[must_use]
    pub fn new(
        name: String,
        sink: Arc<dyn Sink>,
        rate: Option<Rate>,
        reader: Option<ReaderHandle>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let pace = rate.map(|rate| Mutex::new(Pace::new(rate)));
        let (link, probed, outage) = (Mutex::default(), Notify::new(), Mutex::default());
        let (used, health) = (Mutex::default(), Reporter::default());
        Self { name, sink, link, pace, probed, used, outage, reader, clock, metrics, health }
    }

    /// Reports the health of the sink to `health`.
    #[must_use]
    pub fn reporting(self, health: Reporter) -> Self {
        Self { health, ..self }
    }

    /// The sink.
    #[must_use]
    pub fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    /// Tries until the batch is accepted, too large, refused, or not wanted any more.
    ///
    /// # Errors
    /// When the stop was asked for. Then it is not known whether the batch arrived.
    pub async fn deliver(
        &self,
        batch: &Batch,
        is_wanted: impl Fn() -> bool,
        stop: &mut Stop,
    ) -> Result<Outcome, Stopped> {
        self.paced(batch, stop).await?;
        let mut may_be_reaped = self.was_idle(&batch.channel);
        loop {
            self.admitted(stop).await?;
            if self.can_correct(batch) || !is_wanted() {
                // This lane has the link but does not need it now: another lane may try.
                self.link.lock().unwrap_or_else(PoisonError::into_inner).try_now();
                return Ok(Outcome::Outdated);
            }
            let began = self.clock.monotonic_ms();
            let result = tokio::select! {
                result = self.sink.deliver(batch) => result,
                // The outcome is not known then: the batch is delivered again after the next start.
                () = patience_after(stop) => return Err(Stopped),
            };
            self.use_now(&batch.channel);
            let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
            // After a long pause the other side may have closed the connection: that is no outage. A new connection
            // shows whether the target is there.
            if std::mem::take(&mut may_be_reaped)
                && link.is_online()
                && let Err(DeliverError { class: Class::Transient, message }) = &result
            {
                tracing::debug!(
                    event = event::SINK_DOWN,
                    sink = self.name,
                    message,
                    "after a pause; trying again at once"
                );
                continue;
            }
            let error = match result {
                Ok(proof) => {
                    if link.succeeded() {
                        self.over();
                        self.probed.notify_waiters();
                    }
                    let took = self.clock.monotonic_ms().saturating_sub(began);
                    self.metrics.observe(Histogram::SinkDelivery, took);
                    self.metrics.observe(Histogram::SinkBatchBytes, batch.bytes() as u64);
                    self.observe_latency(batch);
                    self.health.up();
                    return Ok(Outcome::Accepted(proof));
                }
                Err(error) => error,
            };
            self.metrics.add_for(reason(error.class), 1);
            match error.class {
                Class::TooLarge | Class::Refused => {
                    // The target answered: the link is fine.
                    if link.succeeded() {
                        self.over();
                    }
                    self.probed.notify_waiters();
                    return Ok(if error.class == Class::TooLarge {
                        self.health.up();
                        Outcome::TooLarge(error.message)
                    } else {
                        self.health.waiting(format_args!("events are refused and set aside: {error}"));
                        Outcome::Refused(error.message)
                    });
                }
                _ => {
                    let (wait, _) = link.failed(error.class, self.clock.monotonic_ms(), random::below);
                    self.complain(&error, wait);
                    self.probed.notify_waiters();
                }
            }
        }
    }

    /// The time that the first record of each event took from its arrival; none while the clock cannot be trusted.
    fn observe_latency(&self, batch: &Batch) {
        let now = self.clock.now();
        for arrival_ms in batch.events.iter().filter_map(|event| event.arrival_ms).filter(|_| now.trusted) {
            let took = now.wall_ms.saturating_sub(arrival_ms).max(0).unsigned_abs();
            self.metrics.observe(Histogram::SinkLatency, took);
        }
    }

    /// Whether a channel has sent before, but nothing for `IDLE_MS`.
    fn was_idle(&self, channel: &Arc<str>) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get(channel).is_some_and(|before| self.clock.monotonic_ms().saturating_sub(*before) >= IDLE_MS)
    }

    fn use_now(&self, channel: &Arc<str>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= CHANNELS && !used.contains_key(channel) {
            used.clear();
        }
        used.insert(channel.clone(), self.clock.monotonic_ms());
    }

    /// Whether a batch was made before the clock was set, and its times can be corrected now.
    fn can_correct(&self, batch: &Batch) -> bool {
        let is_of_this_boot = |unset: &Unset| &*unset.boot == clock::boot();
        self.clock.now().trusted
            && batch.events.iter().any(|event| event.envelope.unset.as_ref().is_some_and(is_of_this_boot))
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) {
        if let Some(lasted_ms) = self.outage().over(self.clock.monotonic_ms()) {
            let after = people::span(lasted_ms);
            tracing::info!(event = event::SINK_UP, sink = self.name, after, "delivering again");
        }
    }

    fn complain(&self, error: &DeliverError, wait_ms: u64) {
        self.metrics.add(Metric::SinkRetries, 1);
        self.health.waiting_for(error, Duration::from_millis(wait_ms));
        let sink = &self.name;
        let tell = self.outage().failed(&error.message, self.clock.monotonic_ms());
        let waits = || {
            let backlog = self.reader.as_ref().map(ReaderHandle::backlog).unwrap_or_default();
            format!("{} records ({})", backlog.records, people::size(backlog.bytes))
        };
        match tell {
            Tell::Begun => {
                tracing::warn!(event = event::SINK_DOWN, sink, wait_ms, %error, "cannot deliver; readings wait on disk");
            }
            Tell::OtherCause => {
                tracing::warn!(event = event::SINK_DOWN, sink, wait_ms, %error, "still cannot deliver, for another reason");
            }
            Tell::Lasting(ms) => {
                let (since, waits) = (people::span(ms), waits());
                tracing::warn!(event = event::SINK_DOWN, sink, since, waits, %error, "still cannot deliver");
            }
            Tell::Flapping(times) => {
                let waits = waits();
                tracing::warn!(event = event::SINK_DOWN, sink, times, waits, %error, "the target comes and goes");
            }
            Tell::Nothing => tracing::debug!(event = event::SINK_DOWN, sink, wait_ms, %error, "still cannot deliver"),
        }
    }

    /// Waits until the link lets this lane try.
    async fn admitted(&self, stop: &mut Stop) -> Result<(), Stopped> {
        loop {
            let now = self.clock.monotonic_ms();
            let probed = self.probed.notified();
            let (permit, denied) = {
                let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
                (link.admit(now), link.is_denied())
            };
            let wait = match permit {
                Permit::Go => return Ok(()),
                Permit::Wait(until) => Duration::from_millis(until - now),
                Permit::WaitForProbe => Duration::from_secs(1),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = probed, if permit == Permit::WaitForProbe => {}
                what = self.mended(), if denied && permit != Permit::WaitForProbe => {
                    tracing::info!(event = event::SINK_NOTE, sink = self.name, "{what}; trying again");
                    self.link.lock().unwrap_or_else(PoisonError::into_inner).try_now();
                }
                () = stop.requested() => return Err(Stopped),
            }
        }
    }

    /// Waits until a secret file of the sink was written again, or the clock was set. Then a token or a certificate
    /// may be good. Returns the reason as text.
    async fn mended(&self) -> &'static str {
        let written = || -> Vec<Option<SystemTime>> {
            let files = self.sink.secret_files();
            files.iter().map(|file| std::fs::metadata(file).and_then(|about| about.modified()).ok()).collect()
        };
        let (before, offset) = (written(), self.clock.now().offset_ms());
        loop {
            tokio::time::sleep(LOOK_AT_SECRETS).await;
            if written() != before {
                return "a secret was written anew";
            }
            if self.clock.now().offset_ms().abs_diff(offset) >= clock::JUMP_MS {
                return "the clock was set";
            }
        }
    }

    /// Waits until the pace of the sink allows the batch.
    async fn paced(&self, batch: &Batch, stop: &mut Stop) -> Result<(), Stopped> {
        let Some(pace) = &self.pace else { return Ok(()) };
        let (now, events) = (self.clock.monotonic_ms(), batch.events.len() as u64);
        let wait = pace.lock().unwrap_or_else(PoisonError::into_inner).take(now, batch.bytes() as u64, events);
        self.metrics.add(Metric::SinkPacedMs, wait);
        if wait == 0 { Ok(()) } else { stop.pause(Duration::from_millis(wait)).await }
    }
}

/// Ends `LAST_DELIVERY` after the stop was asked for.
async fn patience_after(stop: &mut Stop) {
    stop.requested().await;
    tokio::time::sleep(LAST_DELIVERY).await;
}

fn reason(class: Class) -> Reason {
    match class {
        Class::Transient => Reason::Transient,
        Class::Busy(_) => Reason::Busy,
        Class::TooLarge => Reason::BatchTooLarge,
        Class::Refused => Reason::BatchRefused,
        Class::Denied => Reason::Denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::stop::stop;
    use crate::sink::{Delivery, Limits};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    /// Fails as often as it is told to.
    #[derive(Debug, Default)]
    struct Flaky(AtomicU64);

    impl Sink for Flaky {
        fn limits(&self) -> Limits {
            Limits { batch: 1, largest: 1, per_event: 0, raw: 1 }
        }

        fn deliver<'a>(&'a self, _: &'a Batch) -> Delivery<'a> {
            let fails = self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            let done = if fails { Err(DeliverError::transient("closed")) } else { Ok(Accepted::by_target()) };
            Box::pin(std::future::ready(done))
        }

        fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_in_a_pause_is_no_outage() {
        let (sink, clock, metrics) = (Arc::new(Flaky::default()), Clock::manual(), Metrics::new());
        let dispatcher = Dispatcher::new("s".into(), sink.clone(), None, None, clock.clone(), metrics.clone());
        let (_sender, mut stop) = stop();
        let batch = Batch { channel: "lane".into(), ..Batch::default() };
        for pause in [0, 60_000, 60_000] {
            clock.advance(pause);
            sink.0.store(u64::from(pause > 0), SeqCst);
            assert!(matches!(dispatcher.deliver(&batch, || true, &mut stop).await, Ok(Outcome::Accepted(_))));
        }
        assert_eq!(metrics.get(Metric::SinkRetries), 0, "tried again at once, without a word");
        // A target that is not there is one.
        clock.advance(60_000);
        sink.0.store(2, SeqCst);
        let delivering = async { dispatcher.deliver(&batch, || true, &mut stop).await };
        let passing = async {
            while metrics.get(Metric::SinkRetries) == 0 {
                tokio::task::yield_now().await;
            }
            clock.advance(10_000);
        };
        let (ended, ()) = tokio::join!(delivering, passing);
        assert!(matches!(ended, Ok(Outcome::Accepted(_))));
        assert_eq!(metrics.get(Metric::SinkRetries), 1);
    }

    #[tokio::test]
    async fn a_batch_that_is_not_wanted_any_more_is_let_go() {
        let sink = Arc::new(Flaky(AtomicU64::new(u64::MAX)));
        let dispatcher = Dispatcher::new("s".into(), sink, None, None, Clock::manual(), Metrics::new());
        let (_sender, mut stop) = stop();
        assert!(matches!(dispatcher.deliver(&Batch::default(), || false, &mut stop).await, Ok(Outcome::Outdated)));
    }
}
