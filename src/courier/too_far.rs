//! Decides when a sink is too far behind (`max_behind`, `give_up_after`), and reports the records that it gives up.
//!
//! The age of a record comes from the wall clock, which may be set wrongly. Before a record is given up for its
//! age, the clock must have run for a while without a jump.

use crate::platform::clock::{self, Clock};
use crate::sink::Limit;
use crate::store::{Behind, GivenUp};
use crate::telemetry::event;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The time between two checks.
const LOOK: Duration = Duration::from_millis(500);
/// The time between two log lines about records of one stream that were given up.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// A clock is believed when it has run for this long without a jump; for short limits, half of the limit is enough.
const BELIEVED: Duration = Duration::from_secs(3600);

/// The limits of one sink, with the state of the checks and reports.
#[derive(Debug)]
pub struct TooFar {
    limit: Limit,
    clock: Clock,
    /// Wall time minus monotonic time, in milliseconds, and the time since which this difference is steady.
    steady: (i64, Instant),
    /// The time of the next check.
    due: Instant,
    /// By stream: the time of the last report, and the records that were given up since.
    reported: HashMap<String, (Instant, Option<GivenUp>)>,
}

impl TooFar {
    /// Starts the checks; the clock counts as steady from now on.
    pub fn new(limit: Limit, clock: Clock) -> Self {
        let steady = (clock.now().offset_ms(), Instant::now());
        Self { limit, clock, steady, due: Instant::now(), reported: HashMap::new() }
    }

    /// Waits for the next check, and returns how far behind the sink may be now. Without a limit it never returns.
    /// Cancel safe.
    pub async fn look(&mut self) -> Behind {
        if self.limit == Limit::default() {
            return std::future::pending().await;
        }
        sleep_until(self.due).await;
        self.due = Instant::now() + LOOK;
        let now = self.clock.now();
        if now.offset_ms().abs_diff(self.steady.0) >= clock::JUMP_MS {
            self.steady = (now.offset_ms(), Instant::now());
        }
        let believed = |age: &Duration| now.trusted && self.steady.1.elapsed() >= BELIEVED.min(*age / 2);
        let before = |age: Duration| now.wall_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        Behind { bytes: self.limit.bytes, before_ms: self.limit.age.filter(believed).map(before) }
    }

    /// Reports the records that were given up: the first time of a stream at once, then at most once a minute.
    pub fn tell(&mut self, sink: &str, given: Vec<GivenUp>) {
        let mut due = Vec::new();
        for given in given {
            match self.reported.get_mut(&given.stream) {
                Some((_, since @ None)) => *since = Some(given),
                Some((_, Some(since))) => since.to = given.to,
                None => {
                    self.reported.insert(given.stream.clone(), (Instant::now(), None));
                    due.push(given);
                }
            }
        }
        for (at, since) in self.reported.values_mut().filter(|(at, _)| at.elapsed() >= REPORT_EVERY) {
            if let Some(given) = since.take() {
                *at = Instant::now();
                due.push(given);
            }
        }
        for GivenUp { stream, from, to } in due {
            tracing::warn!(
                event = event::SINK_DROPPED,
                sink,
                stream,
                from,
                to,
                "given up: the sink is further behind than `max_behind` or `give_up_after` allow"
            );
        }
    }
}
