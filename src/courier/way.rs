//! The way to a sink: when a batch may go, sending it, and what its fate says of the link.

use crate::flow::batch::{Batch, Unset};
use crate::flow::receipt::Accepted;
use crate::flow::stop::Stop;
use crate::platform::clock::{self, Clock};
use crate::platform::random;
use crate::sink::link::{Link, Permit};
use crate::sink::pace::{Pace, Rate};
use crate::sink::{Class, DeliverError, Sink};
use crate::telemetry::{Metric, Metrics, event};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// A delivery under way gets so long once we were asked to stop.
const LAST_DELIVERY: Duration = Duration::from_secs(3);
/// While the target refuses us it is looked this often whether a secret was written anew.
const LOOK_AT_SECRETS: Duration = Duration::from_secs(2);

/// How a delivery ended.
#[derive(Debug)]
pub enum Ended {
    /// The target has it for good.
    Accepted(Accepted),
    /// The target takes less at a time.
    TooLarge(String),
    /// The target will never take it.
    Refused(String),
    /// The clock was set since the batch was made: its times can be corrected now.
    Outdated,
    /// We were asked to stop; whether it arrived is not known.
    Stopped,
}

/// What all lanes of a sink share on the way to it.
#[derive(Debug)]
pub struct Way {
    name: String,
    sink: Arc<dyn Sink>,
    link: Mutex<Link>,
    pace: Option<Mutex<Pace>>,
    probed: Notify,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Way {
    /// To a sink of this name, no faster than `rate`.
    #[must_use]
    pub fn new(name: String, sink: Arc<dyn Sink>, rate: Option<Rate>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let pace = rate.map(|rate| Mutex::new(Pace::new(rate)));
        Self { name, sink, link: Mutex::default(), pace, probed: Notify::new(), clock, metrics }
    }

    /// The sink.
    #[must_use]
    pub fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    /// Tries until the batch is accepted, or found to be its own trouble.
    pub async fn deliver(&self, batch: &Batch, stop: &mut Stop) -> Ended {
        if !self.paced(batch, stop).await {
            return Ended::Stopped;
        }
        loop {
            if !self.admitted(stop).await {
                return Ended::Stopped;
            }
            if self.can_correct(batch) {
                // The link was given to us and is not needed now.
                self.link.lock().unwrap_or_else(PoisonError::into_inner).try_now();
                return Ended::Outdated;
            }
            let result = tokio::select! {
                result = self.sink.deliver(batch) => result,
                // What becomes of it is not known then: it is delivered again after the next start.
                () = patience_after(stop) => return Ended::Stopped,
            };
            let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
            let error = match result {
                Ok(proof) => {
                    if link.succeeded() {
                        tracing::info!(event = event::SINK_UP, sink = self.name, "delivering again");
                        self.probed.notify_waiters();
                    }
                    return Ended::Accepted(proof);
                }
                Err(error) => error,
            };
            match error.class {
                Class::TooLarge | Class::Refused => {
                    // The target answered: the link is fine.
                    link.succeeded();
                    self.probed.notify_waiters();
                    return if error.class == Class::TooLarge {
                        Ended::TooLarge(error.message)
                    } else {
                        Ended::Refused(error.message)
                    };
                }
                _ => {
                    let (wait, first) = link.failed(error.class, self.clock.monotonic_ms(), random::below);
                    self.complain(&error, wait, first);
                    self.probed.notify_waiters();
                }
            }
        }
    }

    /// Whether the times of a batch, which was made before the clock was set, are known now.
    fn can_correct(&self, batch: &Batch) -> bool {
        let is_of_this_boot = |unset: &Unset| &*unset.boot == clock::boot();
        self.clock.now().trusted
            && batch.events.iter().any(|event| event.envelope.unset.as_ref().is_some_and(is_of_this_boot))
    }

    fn complain(&self, error: &DeliverError, wait_ms: u64, first: bool) {
        self.metrics.add(Metric::SinkRetries, 1);
        let sink = &self.name;
        if first || error.class == Class::Denied {
            tracing::warn!(event = event::SINK_DOWN, sink, wait_ms, %error, "cannot deliver; readings stay safe on disk");
        } else {
            tracing::debug!(event = event::SINK_DOWN, sink, wait_ms, %error, "still cannot deliver");
        }
    }

    /// Waits until the link lets this lane try; false when asked to stop.
    async fn admitted(&self, stop: &mut Stop) -> bool {
        loop {
            let now = self.clock.monotonic_ms();
            let probed = self.probed.notified();
            let (permit, denied) = {
                let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
                (link.admit(now), link.is_denied())
            };
            let wait = match permit {
                Permit::Go => return true,
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
                () = stop.requested() => return false,
            }
        }
    }

    /// Waits until a file that the sink has a secret of was written anew, or the clock was set: a token or a
    /// certificate may be good then.
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

    /// Waits until it is the batch's turn; false when asked to stop.
    async fn paced(&self, batch: &Batch, stop: &mut Stop) -> bool {
        let Some(pace) = &self.pace else { return true };
        let (now, events) = (self.clock.monotonic_ms(), batch.events.len() as u64);
        let wait = pace.lock().unwrap_or_else(PoisonError::into_inner).take(now, batch.bytes() as u64, events);
        self.metrics.add(Metric::SinkPacedMs, wait);
        wait == 0 || pause(Duration::from_millis(wait), stop).await
    }
}

/// Waits; false when asked to stop.
pub async fn pause(wait: Duration, stop: &mut Stop) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        () = stop.requested() => false,
    }
}

/// Ends a while after the stop was asked for.
async fn patience_after(stop: &mut Stop) {
    stop.requested().await;
    tokio::time::sleep(LAST_DELIVERY).await;
}
