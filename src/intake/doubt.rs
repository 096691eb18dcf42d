//! Device times that cannot be right: reported once for each source, and stored as they are.

use crate::flow::record::Record;
use crate::platform::clock::{self, Reading};
use crate::telemetry::event;

/// A device's time is doubted when it is further than this from the arrival: one year, in milliseconds.
const FAR_MS: i64 = 365 * 86_400_000;

/// Remembers whether a doubtful time of this source was reported.
#[derive(Debug, Default)]
pub struct Doubts {
    is_reported: bool,
}

impl Doubts {
    /// Checks the device's time of a record that has just arrived.
    pub fn look(&mut self, source: &str, record: &Record, now: Reading) {
        let Some(time_us) = record.device_time_us.filter(|_| !self.is_reported && now.trusted) else { return };
        if let Some(hint) = doubt(time_us, now.wall_ms) {
            self.is_reported = true;
            let (key, time) = (&*record.key, clock::utc(time_us / 1000));
            tracing::warn!(
                event = event::SOURCE_NOTE,
                source,
                key,
                time,
                "the device's time is more than a year from now: {hint} (told once a source)"
            );
        }
    }
}

/// A hint at the cause of a time that cannot be right; `None` when the time is plausible.
fn doubt(time_us: i64, now_ms: i64) -> Option<&'static str> {
    let is_far = |time_us: i64| (time_us / 1000).saturating_sub(now_ms).unsigned_abs() > FAR_MS.unsigned_abs();
    if !is_far(time_us) {
        return None;
    }
    // The number was probably read in the wrong unit.
    Some(if !is_far(time_us / 1000) {
        "it would be right a thousand times smaller: if `time` says unix_s, the values are milliseconds (unix_ms)"
    } else if !is_far(time_us / 1_000_000) {
        "it would be right a million times smaller: if `time` says unix_s, the values are microseconds (unix_us)"
    } else if !is_far(time_us.saturating_mul(1000)) {
        "it would be right a thousand times larger: if `time` says unix_ms, the values are seconds (unix_s)"
    } else {
        "is the device's clock set?"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_another_unit_is_said_so() {
        let now_ms = 1_800_000_000_000;
        let us = now_ms * 1000;
        assert_eq!((doubt(us, now_ms), doubt(us - 300 * 86_400_000_000, now_ms)), (None, None));
        assert!(doubt(us * 1000, now_ms).unwrap().contains("unix_ms"));
        assert!(doubt(us / 1000, now_ms).unwrap().contains("unix_s)"));
        assert!(doubt(0, now_ms).unwrap().contains("clock"));
        assert!(doubt(i64::MAX, now_ms).is_some() && doubt(i64::MIN, now_ms).is_some());
    }
}
