//! The state of the link to a target: online, probing or offline. A pure state machine.
//!
//! All lanes of a sink share one link. While it is offline, no lane tries until the backoff is over. Then one lane
//! probes while the other lanes wait. Full jitter: the wait is a random part of the backoff, so that
//! ten thousand agents do not come back at once.

use super::Class;

/// The first backoff, in milliseconds.
const FIRST_MS: u64 = 1000;
/// The longest backoff, in milliseconds.
const LONGEST_MS: u64 = 60_000;
/// The longest time of a probe, in milliseconds; then another lane takes over.
const PROBE_MS: u64 = 300_000;
/// The first backoff after a refusal that only a person can fix, in milliseconds. The wait is at least half of it.
const DENIED_MS: u64 = 30_000;
/// The longest backoff after such a refusal, in milliseconds.
const DENIED_LONGEST_MS: u64 = 300_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Online,
    Offline { until_ms: u64 },
    Probing { since_ms: u64 },
}

/// The answer of the link to a lane that wants to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// The lane may deliver.
    Go,
    /// The lane must ask again at this time, in monotonic milliseconds.
    Wait(u64),
    /// The lane must ask again when the probe of another lane has ended.
    WaitForProbe,
}

/// The link of one sink.
#[derive(Debug)]
pub struct Link {
    state: State,
    failures: u32,
    denied: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self { state: State::Online, failures: 0, denied: false }
    }
}

impl Link {
    /// Whether a lane may deliver now. After `Go`, `succeeded` or `failed` must follow.
    pub fn admit(&mut self, now_ms: u64) -> Permit {
        match self.state {
            State::Online => Permit::Go,
            State::Probing { since_ms } if now_ms.saturating_sub(since_ms) < PROBE_MS => Permit::WaitForProbe,
            State::Offline { until_ms } if now_ms < until_ms => Permit::Wait(until_ms),
            State::Offline { .. } | State::Probing { .. } => {
                self.state = State::Probing { since_ms: now_ms };
                Permit::Go
            }
        }
    }

    /// A delivery was accepted, or the batch itself was refused. True when the link was not online before.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.denied = false;
        std::mem::replace(&mut self.state, State::Online) != State::Online
    }

    /// A delivery failed; `random(n)` gives a number below n. Returns the wait in milliseconds,
    /// and whether this is the first failure in a row.
    pub fn failed(&mut self, class: Class, now_ms: u64, random: impl Fn(u64) -> u64) -> (u64, bool) {
        let first = self.failures == 0;
        let doubled = |base: u64, limit: u64| base.saturating_mul(1 << self.failures.min(20)).min(limit);
        let wait = match class {
            Class::Denied => {
                let ceiling = doubled(DENIED_MS, DENIED_LONGEST_MS);
                // Never soon: quick retries do not fix a wrong key.
                ceiling / 2 + random(ceiling / 2 + 1)
            }
            Class::Busy(least) => {
                let least = u64::try_from(least.as_millis()).unwrap_or(u64::MAX).min(DENIED_LONGEST_MS);
                least + random(doubled(FIRST_MS, LONGEST_MS) + 1)
            }
            _ => random(doubled(FIRST_MS, LONGEST_MS) + 1),
        };
        self.failures = self.failures.saturating_add(1);
        self.denied = class == Class::Denied;
        self.state = State::Offline { until_ms: now_ms + wait };
        (wait, first)
    }

    /// Whether the link waits for a person, because the target refuses our credentials.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.denied
    }

    /// Whether the last delivery succeeded, or none has failed yet.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.state == State::Online
    }

    /// Ends a backoff or gives a probe back, so that a lane may try at once.
    pub fn try_now(&mut self) {
        if self.state != State::Online {
            self.state = State::Offline { until_ms: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_lane_probes_and_the_others_wait() {
        let mut link = Link::default();
        assert_eq!(link.admit(0), Permit::Go);
        assert_eq!(link.failed(Class::Transient, 100, |n| n - 1), (1000, true));
        assert_eq!(link.admit(500), Permit::Wait(1100));
        assert_eq!(link.admit(1100), Permit::Go);
        assert_eq!(link.admit(1100), Permit::WaitForProbe);
        assert_eq!(link.admit(1100 + PROBE_MS), Permit::Go, "the probing lane is gone");
        assert!(link.succeeded());
        assert_eq!((link.admit(1100), link.admit(1100)), (Permit::Go, Permit::Go));
    }

    #[test]
    fn backoff_doubles_up_to_its_limit_with_full_jitter() {
        let mut link = Link::default();
        let highest: Vec<u64> = (0..9).map(|_| link.failed(Class::Transient, 0, |n| n - 1).0).collect();
        assert_eq!(highest, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(link.failed(Class::Transient, 0, |_| 0).0, 0, "the wait may be anything below");
    }

    #[test]
    fn a_wrong_key_is_tried_seldom_and_a_busy_hub_is_left_alone() {
        let mut link = Link::default();
        let (wait, first) = link.failed(Class::Denied, 0, |_| 0);
        assert!(first && wait >= 15_000, "{wait}");
        assert!(link.is_denied() && link.admit(1) == Permit::Wait(wait));
        link.try_now();
        assert!(link.admit(1) == Permit::Go && link.succeeded() && !link.is_denied());
        let mut link = Link::default();
        assert!(link.failed(Class::Busy(Duration::from_secs(4)), 0, |_| 0).0 >= 4000);
    }

    #[test]
    fn ten_thousand_that_lost_their_hub_try_seldom_and_not_together() {
        const AGENTS: u64 = 10_000;
        let seed = std::cell::Cell::new(7_u64);
        let random = |below: u64| {
            seed.set(seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
            (seed.get() >> 33) % below
        };
        // Each has something to send every 10 s, and finds out then.
        let mut tried = vec![0_u64; 600];
        for agent in 0..AGENTS {
            let (mut link, mut now) = (Link::default(), agent * 10_000 / AGENTS);
            while let Some(second) = tried.get_mut(usize::try_from(now / 1000).unwrap()) {
                *second += 1;
                now += link.failed(Class::Transient, now, random).0.max(1);
            }
        }
        assert!(tried.iter().all(|count| *count < AGENTS * 6 / 10), "{tried:?}");
        assert!(tried[120..].iter().all(|count| *count < AGENTS / 20), "{tried:?}");
    }
}
