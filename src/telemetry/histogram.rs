//! Distributions: the number of values between bounds, the basis of histograms as Prometheus has them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bounds of times, in milliseconds.
const TIMES_MS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000];
/// Bounds of ages, up to a week, in milliseconds.
const AGES_MS: &[u64] = &[
    10,
    50,
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10_000,
    30_000,
    60_000,
    300_000,
    900_000,
    3_600_000,
    21_600_000,
    86_400_000,
    604_800_000,
];
/// Bounds of sizes, in bytes.
const SIZES: &[u64] =
    &[256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 16 << 20];

macro_rules! histograms {
    ($($variant:ident $bounds:ident $name:literal $help:literal)*) => {
        /// A distribution that Forebay keeps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Histogram { $(#[doc = $help] $variant),* }

        /// Every histogram: its bounds, its name, its meaning, in order.
        pub const HISTOGRAMS: &[(Histogram, &[u64], &str, &str)] =
            &[$((Histogram::$variant, $bounds, $name, $help)),*];
    };
}

histograms! {
    SourceSettle TIMES_MS "source_settle_ms" "Milliseconds from a frame's arrival until it was safe and could be acknowledged."
    StoreCommit TIMES_MS "store_commit_ms" "Milliseconds that writing and flushing a frame of the log took."
    SinkDelivery TIMES_MS "sink_delivery_ms" "The round trip: milliseconds from handing a batch to the target until it was accepted; failed tries do not count."
    SinkLatency AGES_MS "sink_latency_ms" "Milliseconds from the arrival of the first record of an event until its target accepted it; without events from before the clock was set."
    SinkBatchBytes SIZES "sink_batch_bytes" "Bytes of the bodies of an accepted batch."
}

/// The values of one histogram.
#[derive(Debug)]
pub struct Buckets {
    bounds: &'static [u64],
    /// The count of each bound, and one more for values above all bounds.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Each bound, with the number of values that are not larger than it but larger than the bound before.
    pub buckets: Vec<(u64, u64)>,
    /// The number of values above all bounds.
    pub above: u64,
    /// The sum of all values.
    pub sum: u64,
}

impl Buckets {
    /// A histogram without values.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// The distribution at this moment.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        Distribution {
            buckets: self.bounds.iter().copied().zip(counts.iter().copied()).collect(),
            above: counts.last().copied().unwrap_or(0),
            sum: self.sum.load(Relaxed),
        }
    }
}

impl Distribution {
    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum::<u64>() + self.above
    }

    /// The bound that this share of the values (in percent) does not exceed. `None` without values, and when the
    /// share reaches values above all bounds.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        let reached = |(bound, count): &(u64, u64)| {
            seen += count;
            (seen >= wanted && seen > 0).then_some(*bound)
        };
        self.buckets.iter().find_map(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_at_the_first_bound_that_they_do_not_exceed() {
        let buckets = Buckets::new(TIMES_MS);
        assert_eq!((buckets.distribution().count(), buckets.distribution().percentile(50)), (0, None));
        for value in [0, 1, 2, 3, 1000, 1_000_000] {
            buckets.observe(value);
        }
        let now = buckets.distribution();
        assert_eq!(now.buckets[..4], [(1, 2), (2, 1), (5, 1), (10, 0)]);
        assert_eq!((now.above, now.sum, now.count()), (1, 1_001_006, 6));
        assert_eq!(
            [1, 50, 66, 83, 100].map(|percent| now.percentile(percent)),
            [Some(1), Some(2), Some(5), Some(1000), None]
        );
    }

    #[test]
    fn every_histogram_has_its_place_rising_bounds_and_a_unit() {
        for (i, (histogram, bounds, name, help)) in HISTOGRAMS.iter().enumerate() {
            assert_eq!(*histogram as usize, i);
            assert!(bounds.is_sorted() && help.ends_with('.'), "{name}");
            assert!(name.ends_with("_ms") || name.ends_with("_bytes"), "{name}");
        }
    }
}
