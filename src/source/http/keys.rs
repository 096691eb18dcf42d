//! Idempotency keys: a repeat after a lost 202 is known for an hour, also over a restart.
//!
//! A key is saved in the commit that holds its records, as a part of the source's position. At most `MOST` keys
//! are kept; beyond that, the oldest keys are forgotten early. The hour is counted in the machine's running
//! time, because the wall clock may be set at any moment. The hour of a key from an earlier boot begins at the
//! start.

use crate::flow::frame::{Frame, Position};
use crate::flow::hex::hex;
use crate::platform::clock;
use ring::digest::{SHA256, digest};
use std::collections::{BTreeSet, HashMap};

/// A key is known for this long, in milliseconds.
const KEPT_MS: u64 = 3_600_000;
/// The most keys that are kept. Each key costs about 40 bytes in every segment's checkpoint.
const MOST: usize = 20_000;

/// The keys that are known. Times are milliseconds since the machine was started.
#[derive(Debug, Default)]
pub struct Keys {
    /// By key: its time, and the number of the frame that carries it; 0 for a key of an earlier run.
    known: HashMap<String, (u64, u64)>,
    by_age: BTreeSet<(u64, String)>,
}

/// The saved form of a time: a short CRC of the boot, and the milliseconds since that boot.
fn saved(at_ms: u64) -> Vec<u8> {
    [&crc32c::crc32c(clock::boot().as_bytes()).to_le_bytes()[..], &at_ms.to_le_bytes()[..5]].concat()
}

/// The time from a saved value; `now_ms` if it is of another boot, or if an earlier version saved wall time.
fn loaded(value: &[u8], now_ms: u64) -> Option<u64> {
    let known = value.split_first_chunk::<4>().filter(|(boot, _)| **boot == saved(0)[..4]);
    match (value.len(), known) {
        (9, Some((_, at))) => {
            let mut bytes = [0; 8];
            bytes[..5].copy_from_slice(at);
            Some(u64::from_le_bytes(bytes).min(now_ms))
        }
        (8 | 9, _) => Some(now_ms),
        _ => None,
    }
}

impl Keys {
    /// Loads the keys from the positions of the last commit.
    #[must_use]
    pub fn load(positions: &[(String, Vec<u8>)], now_ms: u64) -> Self {
        let mut keys = Self::default();
        for (part, value) in positions {
            if let Some(at) = loaded(value, now_ms) {
                keys.remember(part.clone(), at, 0);
            }
        }
        keys
    }

    /// The name under which a client's key is saved. It depends on the path too, because two devices may use
    /// the same key.
    #[must_use]
    pub fn part(path: &str, key: &str) -> String {
        let hash = digest(&SHA256, format!("{path}\0{key}").as_bytes());
        hex(&hash.as_ref()[..8])
    }

    /// The number of the frame that carried the key, if the key is known.
    #[must_use]
    pub fn frame_of(&self, part: &str, now_ms: u64) -> Option<u64> {
        self.known.get(part).filter(|(at, _)| now_ms.saturating_sub(*at) < KEPT_MS).map(|(_, frame)| *frame)
    }

    /// The position to save with the records of a key.
    #[must_use]
    pub fn position(part: &str, now_ms: u64) -> Position {
        Position { part: part.into(), value: saved(now_ms) }
    }

    /// Remembers a key whose records are on their way to the store.
    pub fn remember(&mut self, part: String, now_ms: u64, frame: u64) {
        if let Some((before, _)) = self.known.insert(part.clone(), (now_ms, frame)) {
            self.by_age.remove(&(before, part.clone()));
        }
        self.by_age.insert((now_ms, part));
    }

    /// Forgets the oldest key, if it is too old or if there are too many keys. Returns the frame that removes
    /// its position.
    pub fn forget(&mut self, now_ms: u64) -> Option<Frame> {
        let due =
            self.by_age.first().is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= KEPT_MS) || self.known.len() > MOST;
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
        let mut again = Keys::load(&[(saved.part, saved.value), ("odd".into(), vec![1])], 5000);
        assert_eq!(again.frame_of(&part, 1000 + KEPT_MS - 1), Some(0));
        assert_eq!(again.frame_of(&part, 1000 + KEPT_MS), None);
        assert_eq!(again.forget(1000 + KEPT_MS - 1), None);
        let frame = again.forget(1000 + KEPT_MS).unwrap();
        assert_eq!(frame.position.unwrap().part, part);
        assert_eq!(again.forget(u64::MAX), None);
    }

    #[test]
    fn a_key_of_another_boot_or_of_a_later_time_has_its_hour_from_the_start_on() {
        let saved = |part: &str, value: &[u8]| (part.to_string(), value.to_vec());
        let mut other = Keys::position("", 70_000_000).value;
        other[0] ^= 1;
        let later = Keys::position("", 70_000_000).value;
        // 1970, as versions before saved it, and 2040.
        let (past, future) = (60_000_i64.to_le_bytes(), 2_208_988_800_000_i64.to_le_bytes());
        let all = [saved("a", &other), saved("b", &later), saved("c", &past), saved("d", &future)];
        let mut keys = Keys::load(&all, 1000);
        for part in ["a", "b", "c", "d"] {
            assert_eq!(keys.frame_of(part, 1000 + KEPT_MS - 1), Some(0), "{part}");
            assert_eq!(keys.frame_of(part, 1000 + KEPT_MS), None, "{part}");
        }
        // No old key pushes out a new one.
        keys.remember("new".into(), 2000, 7);
        assert_eq!(std::iter::from_fn(|| keys.forget(1000 + KEPT_MS)).count(), 4);
        assert_eq!(keys.frame_of("new", 1000 + KEPT_MS), Some(7));
    }

    #[test]
    fn they_are_bounded() {
        let mut keys = Keys::default();
        for n in 0..=MOST {
            keys.remember(n.to_string(), n as u64, 1);
        }
        assert!(keys.forget(0).is_some() && keys.forget(0).is_none());
        assert_eq!(keys.frame_of("0", 1), None);
    }
}
