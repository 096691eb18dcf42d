//! Decides whether a source waits for us: it has sent as many messages as its peer allows without an
//! acknowledgement.
//!
//! The decision is learned. When everything has settled and more arrives right after, the source was waiting. From
//! then on, a silence much longer than the gaps within a burst is taken for waiting, and the commit is made early.
//! After a wrong guess a frame arrives after the silence. This makes the gap, and so the next silence, longer. A
//! wrong guess costs early commits, never data. `docs/decisions/0004` explains why this is not a learned window
//! size.

/// An arrival this soon after a settlement means that the source was waiting for it.
const PROMPT_MS: u64 = 50;
/// The shortest silence that counts, in milliseconds.
const SILENCE_MS: u64 = 3;
/// A silence counts when it is at least this many times the longest gap of a burst.
const FACTOR: u64 = 4;

/// Learns from arrivals and settlements when the source waits.
#[derive(Debug, Default)]
pub struct Stall {
    /// The most unacknowledged messages that the peer allows, as set by the user.
    window: Option<usize>,
    prompt: bool,
    gap_ms: u64,
    last_ms: Option<u64>,
    settled_ms: Option<u64>,
    hurried: bool,
}

impl Stall {
    /// Creates the state; `window` is the user's limit, if there is one.
    pub fn new(window: Option<usize>) -> Self {
        Self { window, ..Self::default() }
    }

    /// Notes that a frame arrived.
    pub fn arrived(&mut self, now_ms: u64) {
        if let Some(at) = self.settled_ms.take() {
            self.prompt = now_ms.saturating_sub(at) <= PROMPT_MS;
            // The intake itself causes the gap between two bursts, so it is not counted. Older gaps count less and
            // less.
            self.gap_ms /= 2;
        } else if let Some(last) = self.last_ms {
            self.gap_ms = self.gap_ms.max(now_ms.saturating_sub(last));
        }
        self.last_ms = Some(now_ms);
    }

    /// Notes that frames settled. `all` means that no frame is unsettled any more.
    pub fn settled(&mut self, all: bool, now_ms: u64) {
        self.hurried = false;
        self.settled_ms = all.then_some(now_ms);
    }

    /// The time from which a silent source is taken to be waiting, in monotonic milliseconds.
    pub fn due(&self, unsettled: usize) -> Option<u64> {
        let last = self.last_ms.filter(|_| !self.hurried && unsettled > 0)?;
        if let Some(window) = self.window {
            return (unsettled >= window).then_some(last + SILENCE_MS);
        }
        self.prompt.then_some(last + SILENCE_MS.max(self.gap_ms * FACTOR))
    }

    /// Notes an early commit: the next one is only due after a settlement.
    pub fn hurried(&mut self) {
        self.hurried = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_waits_is_found_out_after_one_settlement() {
        let mut stall = Stall::new(None);
        (0..20).for_each(|_| stall.arrived(0));
        assert_eq!(stall.due(20), None, "nothing is known yet");
        stall.settled(true, 1000);
        stall.arrived(1005);
        assert_eq!(stall.due(1), Some(1008));
        stall.hurried();
        assert_eq!(stall.due(1), None, "once until it settles");
        stall.settled(true, 1020);
        stall.arrived(1025);
        assert_eq!(stall.due(1), Some(1028));
    }

    #[test]
    fn bursts_are_not_silence_and_a_wrong_guess_makes_us_more_patient() {
        let mut stall = Stall::new(None);
        stall.arrived(0);
        stall.settled(true, 1000);
        for burst in 0..10 {
            stall.arrived(1001 + burst * 5);
        }
        assert_eq!(stall.due(10), Some(1046 + 20));
        stall.hurried();
        stall.arrived(1076);
        stall.settled(false, 1080);
        assert_eq!(stall.due(1), Some(1076 + 120));
    }

    #[test]
    fn a_slow_source_teaches_nothing() {
        let mut stall = Stall::new(None);
        for n in 0..5 {
            stall.arrived(n * 1900);
            assert_eq!(stall.due(1), None);
            stall.settled(true, n * 1900 + 1000);
        }
    }

    #[test]
    fn a_setting_overrides() {
        let mut stall = Stall::new(Some(5));
        stall.arrived(10);
        assert_eq!((stall.due(4), stall.due(5)), (None, Some(13)));
    }
}
