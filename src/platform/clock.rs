//! Wall and monotonic time.
//!
//! Wall time may jump; only monotonic time orders things inside one boot. A gateway without a
//! battery-backed clock starts in 1970: such a wall time is recorded, and marked as not trusted.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall times before 2025-01-01T00:00:00Z cannot be right: the format is younger than that.
const EARLIEST_CREDIBLE_MS: i64 = 1_735_689_600_000;

/// A wall time as people write it, in UTC.
#[must_use]
pub fn utc(wall_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(wall_ms).map_or_else(|_| format!("{wall_ms} ms"), |time| time.to_string())
}

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since the Unix epoch; negative before it.
    pub wall_ms: i64,
    /// Milliseconds since the process started to look at the clock.
    pub monotonic_ms: u64,
    /// False when the wall time cannot be right.
    pub trusted: bool,
}

/// The source of time; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    /// Set by hand, for tests: milliseconds since the start.
    #[cfg(test)]
    manual: Option<std::sync::Arc<std::sync::atomic::AtomicU64>>,
}

impl Clock {
    /// The machine's own clocks.
    #[must_use]
    pub fn system() -> Self {
        Self {
            started: Instant::now(),
            #[cfg(test)]
            manual: None,
        }
    }

    /// One that stands still until it is advanced; its wall time starts in 2027.
    #[cfg(test)]
    #[must_use]
    pub fn manual() -> Self {
        Self { manual: Some(std::sync::Arc::default()), ..Self::system() }
    }

    /// Moves a manual clock on.
    #[cfg(test)]
    pub fn advance(&self, ms: u64) {
        if let Some(manual) = &self.manual {
            manual.fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
        }
    }

    /// Both clocks, now.
    #[must_use]
    pub fn now(&self) -> Reading {
        #[cfg(test)]
        if self.manual.is_some() {
            let monotonic_ms = self.monotonic_ms();
            return Reading { wall_ms: 1_800_000_000_000 + monotonic_ms.cast_signed(), monotonic_ms, trusted: true };
        }
        let wall_ms = wall_ms();
        Reading { wall_ms, monotonic_ms: self.monotonic_ms(), trusted: is_credible(wall_ms) }
    }

    /// Milliseconds since this clock was made.
    #[must_use]
    pub fn monotonic_ms(&self) -> u64 {
        #[cfg(test)]
        if let Some(manual) = &self.manual {
            return manual.load(std::sync::atomic::Ordering::SeqCst);
        }
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether a wall time can be right.
#[must_use]
pub fn is_credible(wall_ms: i64) -> bool {
    wall_ms >= EARLIEST_CREDIBLE_MS
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// Seconds since the Unix epoch; zero before it.
#[must_use]
pub fn wall_s() -> u64 {
    u64::try_from(wall_ms() / 1000).unwrap_or(0)
}
