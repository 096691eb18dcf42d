//! When a sink is too far behind (`max_behind`, `give_up_after`).
//!
//! An age is one by the wall clock, which may be set wrongly: what is too old must have been so for a while
//! of running time, without a jump of the clock, before anything is given up for it.

use crate::platform::clock::{self, Clock};
use crate::sink::Limit;
use crate::store::{Behind, GivenUp};
use crate::telemetry::event;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is told what was given up of a stream.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// A clock that has run on for this long is believed; for short limits half of the limit.
const BELIEVED: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub struct TooFar {
    limit: Limit,
    clock: Clock,
    /// Wall time less monotonic time, and since when it is that.
    steady: (i64, Instant),
    /// When it is looked next.
    due: Instant,
    /// By stream: when it was told of, and what was given up since.
    reported: HashMap<String, (Instant, Option<GivenUp>)>,
}

impl TooFar {
    /// From now on.
    pub fn new(limit: Limit, clock: Clock) -> Self {
        let steady = (clock.now().offset_ms(), Instant::now());
        Self { limit, clock, steady, due: Instant::now(), reported: HashMap::new() }
    }

    /// Waits until it is time to look; how far behind the sink may be now. Never, without a limit. Cancel safe.
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

    /// Tells what was given up: of a stream at once, and later each minute what it was since.
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
