//! The part of a stream that keeps one order on its way to the hub (`docs/design/format.md`, "Lanes").

use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a lane within a stream. A record's lane never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(u32);

impl LaneId {
    /// The whole stream, or with a partition rule the records without the attribute.
    pub const WHOLE: Self = Self(0);
    /// The older part of a stream, while live data goes first.
    pub const OLD: Self = Self(1);
    /// Not a lane of records. In a cursor it marks the sequence up to which the whole lane may have been sent.
    pub const CLAIM: Self = Self(u32::MAX);

    /// The lane of the records that have this value in the partition attribute.
    #[must_use]
    pub fn of_value(value: &str) -> Self {
        Self(crc32c::crc32c(value.as_bytes()).clamp(Self::OLD.0 + 1, Self::CLAIM.0 - 1))
    }

    /// The number of the lane, as events and the store's log have it.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lane_of_a_value_is_none_that_means_something_else() {
        assert_eq!(LaneId::of_value("line1").number(), crc32c::crc32c(b"line1"));
        // CRC32C of nothing is 0.
        assert_eq!(LaneId::of_value("").number(), 2);
        assert!(LaneId::OLD < LaneId::of_value("") && LaneId::of_value("a") < LaneId::CLAIM);
    }
}
