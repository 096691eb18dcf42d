//! How a part is, as it says itself: one place that the status, the page, alerts and systemd read.
//!
//! A part holds a `Reporter` and says what changes; whoever watches sees the last word and since when it holds.

use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It has begun, and nothing is known yet.
    Starting,
    /// It has nothing to do yet: nothing was tried.
    Idle,
    /// It works.
    Up,
    /// It tries again by itself, at this time where it is known: the other side is away, or refuses.
    Waiting(String, Option<Instant>),
    /// It failed and is started again after this long.
    Failed(String, Duration),
}

impl Health {
    /// Whether nobody needs to look at it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Idle | Self::Up)
    }

    /// The word for it.
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

/// The last word of a part.
#[derive(Debug, Clone)]
pub struct Status {
    /// How it is.
    pub health: Health,
    /// Since when it is so, whatever the reasons were.
    pub since: Instant,
}

/// Says how a part is; clones speak for the same part.
#[derive(Debug, Clone)]
pub struct Reporter(watch::Sender<Status>);

impl Default for Reporter {
    fn default() -> Self {
        Self(watch::Sender::new(Status { health: Health::Starting, since: Instant::now() }))
    }
}

impl Reporter {
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

    /// Says it in full.
    pub fn set(&self, health: Health) {
        self.0.send_if_modified(|status| {
            let is_news = status.health != health;
            if status.health.word() != health.word() {
                status.since = Instant::now();
            }
            status.health = health;
            is_news
        });
    }

    /// Follows the part.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.0.subscribe()
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
