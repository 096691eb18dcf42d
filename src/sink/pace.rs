//! The speed limit of a sink: bytes or events per second, whichever is reached first. Pure: time is an argument.
//!
//! Event Hubs counts over short windows, for the whole namespace. A backlog that is sent as fast as the link
//! takes it would throttle every other device (`docs/reference/event-hubs.md`, "Throttling"). All lanes of a
//! sink share one pace. A sink that is slower than its pace never waits.

use crate::section::Section;

/// The bytes that Azure counts for each event besides its body, approximately: properties and framing.
const EVENT_BYTES: u64 = 512;

/// The speed limit of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second.
    pub bytes: u64,
    /// Events a second.
    pub events: u64,
}

impl Rate {
    /// The rate of this many throughput units. Each unit is 1 MB or 1000 events per second (Azure Event Hubs
    /// quotas, "throughput units").
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `read` bounds it
    pub fn throughput_units(units: f64) -> Self {
        Self { bytes: (units * 1e6) as u64, events: (units * 1e3) as u64 }
    }

    /// Reads `throughput_units`.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let units = section
            .number("throughput_units")
            .doc("This device's share of the namespace, in throughput units: 1 is 1 MB or 1000 events per second.")
            .example("0.5")
            .within(0.01..=1000.0)
            .hint("this device's share: 0.5 is 500 kB or 500 events a second")
            .get_or("as fast as the hub takes");
        units.map(Self::throughput_units)
    }
}

/// The time that these bytes and events take at a rate, in microseconds.
#[must_use]
pub fn cost_us(rate: Rate, bytes: u64, events: u64) -> u64 {
    let micros = |amount: u64, per_second: u64| amount.saturating_mul(1_000_000) / per_second.max(1);
    let bytes = bytes + events.saturating_mul(EVENT_BYTES);
    micros(bytes, rate.bytes).max(micros(events, rate.events))
}

/// The pace of one sink: its rate, and the time when the next batch may go.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    /// The time when the batches that were let through have used up their share of the rate, in microseconds.
    free_at_us: u64,
}

impl Pace {
    /// The pace of a sink that has sent nothing yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, free_at_us: 0 }
    }

    /// Takes the turn of a batch, and returns how long the batch must wait, in milliseconds.
    pub fn take(&mut self, now_ms: u64, bytes: u64, events: u64) -> u64 {
        let now = now_ms.saturating_mul(1000);
        let start = self.free_at_us.max(now);
        self.free_at_us = start.saturating_add(cost_us(self.rate, bytes, events));
        (start - now).div_ceil(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_keeps_the_pace_and_what_is_slower_never_waits() {
        let mut pace = Pace::new(Rate { bytes: 1_000_000, events: 1000 });
        let batch = 500_000 - EVENT_BYTES;
        assert_eq!([(); 4].map(|()| pace.take(0, batch, 1)), [0, 500, 1000, 1500], "bytes");
        assert_eq!(pace.take(10_000, batch, 1), 0, "nothing was saved up while it was idle");
        assert_eq!(pace.take(10_000, batch, 1), 500);
        let mut pace = Pace::new(Rate { bytes: 1_000_000, events: 1000 });
        assert_eq!([(); 3].map(|()| pace.take(0, 1, 100)), [0, 100, 200], "events");
        let mut pace = Pace::new(Rate { bytes: 1_000_000, events: 1000 });
        assert!((0..100).all(|second| pace.take(second * 1000, 900_000, 50) == 0));
    }

    #[test]
    fn odd_rates_and_times_do_no_harm() {
        let mut pace = Pace::new(Rate { bytes: 0, events: 0 });
        assert_eq!(pace.take(u64::MAX, u64::MAX / 2, u64::MAX / 1024), 0);
        pace.take(0, 1, 1);
    }
}
