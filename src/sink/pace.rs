//! How fast a sink may send: bytes and events a second, whichever is reached first. Pure: time comes in.
//!
//! Event Hubs counts over short windows, for the whole namespace: a backlog sent as fast as the link
//! takes it would throttle every other device (`docs/reference/event-hubs.md`, "Throttling"). All lanes of a
//! sink share one pace. What is slower than the pace never waits.

use crate::section::Section;

/// What Azure counts besides a body: properties and framing, about this many bytes an event.
const EVENT_BYTES: u64 = 512;

/// How fast a sink may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second.
    pub bytes: u64,
    /// Events a second.
    pub events: u64,
}

impl Rate {
    /// So many throughput units: 1 MB or 1000 events a second each (Azure Event Hubs quotas, "throughput units").
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

/// How long so much takes at a rate, in microseconds.
#[must_use]
pub fn cost_us(rate: Rate, bytes: u64, events: u64) -> u64 {
    let micros = |amount: u64, per_second: u64| amount.saturating_mul(1_000_000) / per_second.max(1);
    let bytes = bytes + events.saturating_mul(EVENT_BYTES);
    micros(bytes, rate.bytes).max(micros(events, rate.events))
}

/// See the module.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    /// When what was let through has been paid for, in microseconds.
    free_at_us: u64,
}

impl Pace {
    /// Nothing has been sent.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, free_at_us: 0 }
    }

    /// Takes the turn of a batch; how long it must wait for that, in milliseconds.
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
