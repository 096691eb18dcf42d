//! What is checked on the way in.

use super::decoder::Type;
use std::time::Duration;

/// What happens to a record that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It goes on, with the reason in its attribute `quality`.
    Tag,
    /// It goes to the dead letters.
    DeadLetter,
    /// It is gone, and counted.
    Drop,
}

/// Checks of one member.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The member.
    pub field: String,
    /// It must be there, and not null.
    pub required: bool,
    /// It must be of this type.
    pub kind: Option<Type>,
    /// A number at least this large.
    pub min: Option<f64>,
    /// A number at most this large.
    pub max: Option<f64>,
    /// One of these texts: units, states.
    pub one_of: Option<Vec<String>>,
    /// The same value of one key for this long is a stuck sensor.
    pub stuck: Option<Duration>,
    /// What happens otherwise.
    pub then: Then,
}

/// All checks of a route.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quality {
    /// Of members.
    pub checks: Vec<Check>,
    /// The same payload of one key again within this time.
    pub duplicate: Option<(Duration, Then)>,
    /// More records of one key in a second than this.
    pub rate_limit: Option<(u32, Then)>,
    /// A key that is silent for this long is told as an event.
    pub stale: Option<Duration>,
}

impl Quality {
    /// Whether there is nothing to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
