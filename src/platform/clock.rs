//! Wall and monotonic time.
//!
//! Wall time may jump; only monotonic time orders things inside one boot. A gateway without a battery-backed clock
//! starts in 1970. Such a wall time is recorded and marked as not trusted, together with the boot and its monotonic
//! time. With these, the wall time can be corrected later.

use super::machine;
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall times before this cannot be right, in milliseconds since 1970: a program does not run before it was built.
/// A build that is not told its time (`SOURCE_DATE_EPOCH`, reproducible-builds.org) has 2025-01-01T00:00:00Z: the
/// format is younger than that.
const EARLIEST_CREDIBLE_MS: i64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(seconds) => built_ms(seconds),
    None => FORMAT_MS,
};
const FORMAT_MS: i64 = 1_735_689_600_000;

/// The time of the build from its text in seconds, a day earlier: clocks and time zones may differ a little. What is
/// no number, or older than the format, does not count.
const fn built_ms(seconds: &str) -> i64 {
    const DAY_MS: i64 = 86_400_000;
    match i64::from_str_radix(seconds, 10) {
        Ok(seconds) if seconds > FORMAT_MS / 1000 && seconds < i64::MAX / 1000 => seconds * 1000 - DAY_MS,
        _ => FORMAT_MS,
    }
}

/// A jump of the wall time by this much means that the clock was set, in milliseconds. Keeping a clock right takes
/// smaller steps.
pub const JUMP_MS: u64 = 2000;

/// A wall time as people write it, in UTC.
#[must_use]
pub fn utc(wall_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(wall_ms).map_or_else(|_| format!("{wall_ms} ms"), |time| time.to_string())
}

/// A time that a person wrote, such as `2026-12-01T06:00:00Z`, in milliseconds since 1970; `None` when it is none.
#[must_use]
pub fn parsed(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since the Unix epoch; negative before it.
    pub wall_ms: i64,
    /// Milliseconds since the machine was started, including the time that it slept.
    pub monotonic_ms: u64,
    /// Whether the wall time can be right.
    pub trusted: bool,
}

impl Reading {
    /// Wall time minus monotonic time, in milliseconds. It changes only when the clock is set.
    #[must_use]
    pub fn offset_ms(&self) -> i64 {
        self.wall_ms.saturating_sub(i64::try_from(self.monotonic_ms).unwrap_or(i64::MAX))
    }

    /// The attributes of a record that arrives now, if the wall time is not to be trusted
    /// (`docs/design/envelope.md`).
    #[must_use]
    pub fn marks(&self) -> Vec<(Box<str>, Box<str>)> {
        if self.trusted {
            return Vec::new();
        }
        let monotonic = self.monotonic_ms.to_string();
        vec![(CLOCK.into(), UNSET.into()), (BOOT.into(), boot().into()), (MONOTONIC.into(), monotonic.into())]
    }
}

/// The attribute that says whether a record's time of arrival can be trusted.
pub const CLOCK: &str = "clock";
/// The value of `clock` while nobody has set the clock.
pub const UNSET: &str = "unset";
/// The value of `clock` when the time was corrected after the clock had been set.
pub const CORRECTED: &str = "corrected";
/// The attribute with the boot in which the record arrived.
pub const BOOT: &str = "boot";
/// The attribute with the milliseconds between that boot and the arrival.
pub const MONOTONIC: &str = "monotonic_ms";

/// The id of this boot, as 16 hexadecimal digits.
#[must_use]
pub fn boot() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let id = machine::boot_id();
        format!("{:016x}", u128::from_be_bytes(id) >> 64)
    })
}

/// Milliseconds since the machine was started, including the time that it slept (`CLOCK_BOOTTIME`,
/// time_namespaces(7)).
#[must_use]
pub fn boot_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// The source of time; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Set by hand, for tests: milliseconds since the start.
    #[cfg(test)]
    manual: Option<std::sync::Arc<std::sync::atomic::AtomicU64>>,
}

impl Clock {
    /// The machine's own clocks.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until a test advances it. Its wall time starts in 2027.
    #[cfg(test)]
    #[must_use]
    pub fn manual() -> Self {
        Self { manual: Some(std::sync::Arc::default()) }
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

    /// Milliseconds since the machine was started.
    #[must_use]
    pub fn monotonic_ms(&self) -> u64 {
        #[cfg(test)]
        if let Some(manual) = &self.manual {
            return manual.load(std::sync::atomic::Ordering::SeqCst);
        }
        boot_ms()
    }
}

/// Whether a wall time can be that of now.
#[must_use]
pub fn is_credible(now_ms: i64) -> bool {
    now_ms >= EARLIEST_CREDIBLE_MS
}

/// Whether a wall time that was stored can be right. An earlier build of the program may have stored it.
#[must_use]
pub fn was_credible(wall_ms: i64) -> bool {
    wall_ms >= FORMAT_MS
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clock_is_trusted_that_shows_a_time_before_the_build() {
        assert_eq!(built_ms("1793750400"), 1_793_664_000_000);
        for no_time in ["", "x", "-5", "0", "99999999999999999"] {
            assert_eq!(built_ms(no_time), FORMAT_MS, "{no_time}");
        }
        assert!(!is_credible(0) && !is_credible(FORMAT_MS - 1) && is_credible(wall_ms()));
    }
}
