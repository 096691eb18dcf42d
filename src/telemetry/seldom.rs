//! Limits the reports of an event that happens again and again. The first one is reported at once, the later ones
//! at most once in an interval, with their number. A log that fills by itself hides everything else, and wears out
//! a card.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// At most so many kinds of events are counted apart; all further kinds are counted as one.
const MOST: usize = 64;

/// Limits the reports of events, for each kind of event.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    reported: BTreeMap<String, (Instant, u64)>,
}

impl Seldom {
    /// Reports each kind of event at most once in `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, reported: BTreeMap::new() }
    }

    /// The number of events of this kind since the last report, if it is to be reported now. This event is
    /// included.
    pub fn report(&mut self, what: &str) -> Option<u64> {
        let key = if self.reported.len() < MOST || self.reported.contains_key(what) { what } else { "" };
        match self.reported.get_mut(key) {
            None => {
                self.reported.insert(key.to_string(), (Instant::now(), 0));
                Some(1)
            }
            Some((at, held)) => {
                *held += 1;
                if at.elapsed() < self.every {
                    return None;
                }
                *at = Instant::now();
                Some(std::mem::take(held))
            }
        }
    }
}

/// The kind of event that a message is about. The numbers in the message are replaced, because they belong to one
/// case.
#[must_use]
pub fn kind_of(message: &str) -> String {
    let mut kind = String::new();
    for c in message.chars().take(160) {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if c != '#' || !kind.ends_with('#') {
            kind.push(c);
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_others_are_summed_up() {
        let mut seldom = Seldom::new(Duration::from_secs(3600));
        assert_eq!((seldom.report("a"), seldom.report("a"), seldom.report("b")), (Some(1), None, Some(1)));
        let mut often = Seldom::new(Duration::ZERO);
        assert_eq!((often.report("a"), often.report("a")), (Some(1), Some(1)));
        seldom.every = Duration::ZERO;
        assert_eq!(seldom.report("a"), Some(2));
        (0..1000).for_each(|n| assert!(seldom.report(&n.to_string()).is_some()));
        assert!(seldom.reported.len() <= MOST + 1);
    }

    #[test]
    fn numbers_do_not_make_another_kind() {
        assert_eq!(kind_of("line 12, column 3: no"), kind_of("line 7, column 100: no"));
        assert_ne!(kind_of("not JSON"), kind_of("not CSV"));
    }
}
