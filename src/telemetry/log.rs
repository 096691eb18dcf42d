//! The last log lines, for the page; and the level of the log, which can change while the agent runs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tracing::level_filters::LevelFilter;

/// The number of lines that are kept, from the level INFO on.
const LINES: usize = 200;
/// The longest text of a line that is kept, in bytes.
const LONGEST: usize = 1000;

/// A log line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// The time, in milliseconds since 1970.
    pub at_ms: i64,
    /// The level, such as `WARN`.
    pub level: &'static str,
    /// The name of the event.
    pub event: String,
    /// The message with its fields.
    pub text: String,
}

fn kept() -> MutexGuard<'static, VecDeque<Line>> {
    static KEPT: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a line. The oldest gives way.
pub fn keep(mut line: Line) {
    super::people::cut(&mut line.text, LONGEST);
    let mut kept = kept();
    if kept.len() >= LINES {
        kept.pop_front();
    }
    kept.push_back(line);
}

/// The lines that are kept, the oldest first.
#[must_use]
pub fn recent() -> Vec<Line> {
    kept().iter().cloned().collect()
}

type Change = Box<dyn Fn(LevelFilter) -> bool + Send + Sync>;

fn change() -> &'static OnceLock<Change> {
    static CHANGE: OnceLock<Change> = OnceLock::new();
    &CHANGE
}

/// How the level of the log is changed: whoever sets the log up says so, once.
pub fn changes_by(how: impl Fn(LevelFilter) -> bool + Send + Sync + 'static) {
    // A second one would be a second log.
    let _ = change().set(Box::new(how));
}

/// Changes the level of the log until the agent is started again. Returns whether it could be changed.
#[must_use]
pub fn set_level(level: LevelFilter) -> bool {
    change().get().is_some_and(|change| change(level))
}
