//! The health of a part, as the part itself reports it. The status, the page, alerts and systemd read it here.
//!
//! A part holds a `Reporter` and reports each change. A watcher sees the last report, and since when it holds. The
//! tasks of a part get their pulses here, too.

use super::pulse::{Pulse, Pulses, Work};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The health of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The part has started, and its health is not known yet.
    Starting,
    /// The part has nothing to do yet: it has tried nothing.
    Idle,
    /// The part works.
    Up,
    /// The other side is away or refuses (the reason). The part tries again by itself, at this time if known.
    Waiting(String, Option<Instant>),
    /// The part failed (the reason), and is started again after this time.
    Failed(String, Duration),
}

impl Health {
    /// Whether the part needs no attention.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Idle | Self::Up)
    }

    /// The name of this health, in one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Up => "up",
            Self::Waiting(..) => "waiting",
            Self::Failed(..) => "failed",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Starting | Self::Idle | Self::Up => Ok(()),
            Self::Waiting(why, None) => write!(f, ": {why}"),
            Self::Waiting(why, Some(again)) => {
                let left = again.saturating_duration_since(Instant::now());
                write!(f, ": {why}; again in {} s", left.as_secs_f32().ceil())
            }
            Self::Failed(why, again) => write!(f, ": {why}; again in {} s", again.as_secs_f32().ceil()),
        }
    }
}

/// The last report of a part.
#[derive(Debug, Clone)]
pub struct Status {
    /// The health of the part.
    pub health: Health,
    /// The time of the last change of the health; a change of the reason alone does not count.
    pub since: Instant,
}

/// Reports the health of a part; all clones report for the same part.
#[derive(Debug, Clone)]
pub struct Reporter {
    status: watch::Sender<Status>,
    part: Arc<str>,
    pulses: Pulses,
}

impl Default for Reporter {
    /// The reporter of a part that nobody watches.
    fn default() -> Self {
        Self::new("", Pulses::default())
    }
}

impl Reporter {
    /// The reporter of a part. Its tasks are watched with the others in `pulses`.
    #[must_use]
    pub fn new(part: &str, pulses: Pulses) -> Self {
        let status = watch::Sender::new(Status { health: Health::Starting, since: Instant::now() });
        Self { status, part: part.into(), pulses }
    }

    /// The pulse of one more task of the part.
    #[must_use]
    pub fn pulse(&self, task: &'static str, work: Work) -> Pulse {
        self.pulses.add(&self.part, task, work)
    }

    /// The part works.
    pub fn up(&self) {
        self.set(Health::Up);
    }

    /// The part waits for the other side.
    pub fn waiting(&self, why: impl fmt::Display) {
        self.set(Health::Waiting(why.to_string(), None));
    }

    /// The part waits, and tries again after this long.
    pub fn waiting_for(&self, why: impl fmt::Display, wait: Duration) {
        self.set(Health::Waiting(why.to_string(), Some(Instant::now() + wait)));
    }

    /// The part has nothing to do.
    pub fn idle(&self) {
        self.set(Health::Idle);
    }

    /// Reports any health; watchers are woken only when the report is new.
    pub fn set(&self, health: Health) {
        self.status.send_if_modified(|status| {
            let is_news = status.health != health;
            if status.health.word() != health.word() {
                status.since = Instant::now();
            }
            status.health = health;
            is_news
        });
    }

    /// A receiver for the last report of the part and for each change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reason_does_not_change_since_when() {
        let reporter = Reporter::default();
        let mut watch = reporter.watch();
        reporter.waiting("no route");
        let since = watch.borrow_and_update().since;
        reporter.waiting("no route");
        assert!(!watch.has_changed().unwrap(), "nothing new");
        reporter.waiting("refused");
        assert!(watch.has_changed().unwrap());
        assert_eq!(watch.borrow_and_update().since, since);
        reporter.up();
        assert_eq!(watch.borrow().health, Health::Up);
        assert_eq!(
            Health::Failed("panic".into(), Duration::from_millis(1500)).to_string(),
            "failed: panic; again in 2 s"
        );
    }
}
