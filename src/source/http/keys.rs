//! Idempotency keys: a repeat after a lost 202 is known for an hour, also over a restart.
//!
//! A key is saved in the commit that holds its records, as a part of the source's position. At most
//! `MOST` are kept; then the oldest are forgotten early.

use crate::flow::frame::{Frame, Position};
use crate::flow::hex::hex;
use ring::digest::{SHA256, digest};
use std::collections::{BTreeSet, HashMap};

/// A key is known for this long, in milliseconds.
const KEPT_MS: i64 = 3_600_000;
/// Each costs about 40 bytes in every segment's checkpoint.
const MOST: usize = 20_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Keys {
    /// The frame that carries a key; 0 for one of an earlier run.
    known: HashMap<String, (i64, u64)>,
    by_age: BTreeSet<(i64, String)>,
}

impl Keys {
    /// From the positions of the last commit.
    #[must_use]
    pub fn load(positions: &[(String, Vec<u8>)]) -> Self {
        let mut keys = Self::default();
        for (part, value) in positions {
            if let Ok(bytes) = value.as_slice().try_into() {
                keys.remember(part.clone(), i64::from_le_bytes(bytes), 0);
            }
        }
        keys
    }

    /// What a key of a client is saved as; of its path too, for two devices may use the same.
    #[must_use]
    pub fn part(path: &str, key: &str) -> String {
        let hash = digest(&SHA256, format!("{path}\0{key}").as_bytes());
        hex(&hash.as_ref()[..8])
    }

    /// The frame that carried it, if it is known.
    #[must_use]
    pub fn frame_of(&self, part: &str, now_ms: i64) -> Option<u64> {
        self.known.get(part).filter(|(at, _)| now_ms - at < KEPT_MS).map(|(_, frame)| *frame)
    }

    /// What is saved with its records.
    #[must_use]
    pub fn position(part: &str, now_ms: i64) -> Position {
        Position { part: part.into(), value: now_ms.to_le_bytes().to_vec() }
    }

    /// The records are on their way.
    pub fn remember(&mut self, part: String, now_ms: i64, frame: u64) {
        if let Some((before, _)) = self.known.insert(part.clone(), (now_ms, frame)) {
            self.by_age.remove(&(before, part.clone()));
        }
        self.by_age.insert((now_ms, part));
    }

    /// One that is too old, or too many: what to save for it.
    pub fn forget(&mut self, now_ms: i64) -> Option<Frame> {
        let due = self.by_age.first().is_some_and(|(at, _)| now_ms - at >= KEPT_MS) || self.known.len() > MOST;
        let (_, part) = due.then(|| self.by_age.pop_first()).flatten()?;
        self.known.remove(&part);
        Some(Frame::position(part, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_for_an_hour_also_after_a_restart() {
        let part = Keys::part("/a", "k1");
        assert_ne!(part, Keys::part("/b", "k1"));
        let mut keys = Keys::default();
        keys.remember(part.clone(), 1000, 7);
        assert_eq!(keys.frame_of(&part, 2000), Some(7));
        let saved = Keys::position(&part, 1000);
        let mut again = Keys::load(&[(saved.part, saved.value), ("odd".into(), vec![1])]);
        assert_eq!(again.frame_of(&part, 1000 + KEPT_MS - 1), Some(0));
        assert_eq!(again.frame_of(&part, 1000 + KEPT_MS), None);
        assert_eq!(again.forget(1000 + KEPT_MS - 1), None);
        let frame = again.forget(1000 + KEPT_MS).unwrap();
        assert_eq!(frame.position.unwrap().part, part);
        assert_eq!(again.forget(i64::MAX), None);
    }

    #[test]
    fn they_are_bounded() {
        let mut keys = Keys::default();
        for n in 0..=MOST {
            keys.remember(n.to_string(), i64::try_from(n).unwrap(), 1);
        }
        assert!(keys.forget(0).is_some() && keys.forget(0).is_none());
        assert_eq!(keys.frame_of("0", 1), None);
    }
}
