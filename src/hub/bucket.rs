//! Throughput units as Azure counts them: bytes and events that arrive within a second.
//!
//! Azure's windows are not documented. The hub uses one second that is refilled continuously. This is the shortest
//! window that Azure's own figures name (`docs/reference/event-hubs.md`, "Throttling").

/// Bytes that a unit takes in a second.
const BYTES: f64 = 1_048_576.0;
/// Events that a unit takes in a second.
const EVENTS: f64 = 1000.0;

/// The allowance that is left.
#[derive(Debug, Default)]
pub struct Bucket {
    /// The bytes and events that are left, and the time of that state in milliseconds; `None` before the first
    /// batch.
    left: Option<(f64, f64, i64)>,
}

impl Bucket {
    /// Accepts a batch, or refuses it. A batch passes while any allowance is left, however large the batch is.
    /// Otherwise a batch larger than a second's allowance could never pass.
    pub fn take(&mut self, units: f64, now_ms: i64, bytes: u64, events: u64) -> bool {
        let (most_bytes, most_events) = (units * BYTES, units * EVENTS);
        let (had_bytes, had_events, at) = self.left.unwrap_or((most_bytes, most_events, now_ms));
        let seconds = (now_ms - at).max(0) as f64 / 1000.0;
        let left_bytes = (had_bytes + seconds * most_bytes).min(most_bytes);
        let left_events = (had_events + seconds * most_events).min(most_events);
        let takes = left_bytes > 0.0 && left_events > 0.0;
        let (bytes, events) = if takes { (bytes as f64, events as f64) } else { (0.0, 0.0) };
        self.left = Some((left_bytes - bytes, left_events - events, now_ms));
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_passes_and_no_more() {
        let mut bucket = Bucket::default();
        assert!(bucket.take(1.0, 0, 2_000_000, 1), "larger than a second's worth: it passes, and is paid for");
        assert!(!bucket.take(1.0, 500, 1, 1));
        assert!(bucket.take(1.0, 1000, 1, 1));
        let mut bucket = Bucket::default();
        assert!(bucket.take(0.5, 0, 1, 500) && !bucket.take(0.5, 0, 1, 1) && bucket.take(0.5, 10, 1, 1));
    }
}
