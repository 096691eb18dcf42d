//! The position of a sink in a stream, when live data may go first.
//!
//! Invariants: a record is sent in one lane for life. The part of a stream that becomes the old lane was
//! never sent before. This process knows the records that it tried to send (`tried`). Of an earlier process, the
//! claim is known: the records that it was allowed to send. A claim is in the log before its records are sent (the
//! mark of the lane `CLAIM`). The split is in the log before either part goes on. While there is an old part, the
//! cursor is the position of the old part.
//! This module is pure: the lane decides which position is written, and when.

use super::gather::Sent;
use crate::flow::lane::LaneId;
use crate::store::{LaneMark, Position};

/// A claim reaches at least this many records beyond the records that are sent next.
const LEAST_CLAIM: u64 = 2000;

/// The old part of a stream, which waits while live data goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Old {
    /// The next sequence of the old part that is not delivered.
    pub next: u64,
    /// The end of the old part: the first sequence after it.
    pub end: u64,
}

/// The progress of a sink in one stream (see the module's description).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The next sequence that the whole lane has not delivered.
    pub live: u64,
    /// The last sequence that the whole lane sent.
    pub after: u64,
    /// The old part, while there is one.
    pub old: Option<Old>,
    /// The last sequence that the old lane sent, in this drain or an earlier drain.
    pub old_after: u64,
    /// All sequences below this number may have been sent in the whole lane.
    tried: u64,
    /// The claim in the log: sequences below it may be sent in the whole lane. `None` without `live-first`.
    claim: Option<u64>,
    /// The last sequence of the records for which the last claim was made.
    claimed_at: u64,
}

impl Progress {
    /// The progress from the position in the log; `end` is the stream's next sequence. With `live_first` the stream
    /// may be split.
    pub fn new(position: &Position, live_first: bool, end: u64) -> Self {
        let whole = position.lane(LaneId::WHOLE);
        let live = position.split.map_or(position.next, |split| whole.map_or(split, |mark| mark.next.max(split)));
        let old = position.split.filter(|split| position.next < *split);
        let claimed = position.lane(LaneId::CLAIM).map(|mark| mark.next);
        // A process that sent without claims may have sent all records up to `end`.
        let tried = claimed.unwrap_or(if position.lanes.is_empty() { live } else { end }).max(live);
        Self {
            live,
            after: whole.map_or(0, |mark| mark.after),
            old: old.map(|end| Old { next: position.next, end }),
            old_after: position.lane(LaneId::OLD).map_or(0, |mark| mark.after),
            tried,
            claim: live_first.then_some(claimed.unwrap_or(0)),
            claimed_at: live,
        }
    }

    /// The position that the store must keep.
    pub fn position(&self) -> Position {
        let mut lanes = vec![LaneMark { lane: LaneId::WHOLE, next: self.live, after: self.after }];
        if self.old.is_some() || self.old_after > 0 {
            let next = self.old.map_or(self.old_after + 1, |old| old.next);
            lanes.push(LaneMark { lane: LaneId::OLD, next, after: self.old_after });
        }
        lanes.extend(self.claim.map(|next| LaneMark { lane: LaneId::CLAIM, next, after: 0 }));
        Position { next: self.old.map_or(self.live, |old| old.next), lanes, split: self.old.map(|old| old.end) }
    }

    /// Before the whole lane sends up to `last`: true when a larger claim must be in the log first.
    pub fn must_claim(&mut self, last: u64) -> bool {
        match &mut self.claim {
            Some(claim) if last >= *claim => {
                // Claims become larger and larger, so that a fast drain does not wait for the disk.
                let ahead = (last.saturating_sub(self.claimed_at) * 4).max(LEAST_CLAIM);
                *claim = last + 1 + ahead;
                self.claimed_at = last;
                true
            }
            _ => false,
        }
    }

    /// The whole lane is about to send up to `last`.
    pub fn trying(&mut self, last: u64) {
        self.tried = self.tried.max(last + 1);
    }

    /// The whole lane delivered everything below `next`.
    pub fn delivered(&mut self, next: u64, sent: &Sent) {
        self.live = self.live.max(next);
        self.after = sent.get(&LaneId::WHOLE).copied().unwrap_or(self.after);
    }

    /// The old lane delivered everything below `next`; true when it is done.
    pub fn delivered_old(&mut self, next: u64, sent: &Sent) -> bool {
        self.old_after = sent.get(&LaneId::OLD).copied().unwrap_or(self.old_after);
        if let Some(old) = &mut self.old {
            old.next = old.next.max(next);
            if old.next >= old.end {
                self.old = None;
            }
        }
        self.old.is_none()
    }

    /// Whether the stream may be split here: the following records were never sent, and there is no old part.
    pub fn may_split(&self) -> bool {
        self.claim.is_some() && self.old.is_none() && self.live >= self.tried
    }

    /// Splits the stream: the undelivered records below `end` become the old part; the whole lane goes on at `end`.
    pub fn split(&mut self, end: u64) {
        self.old = Some(Old { next: self.live, end });
        self.live = end;
        self.tried = self.tried.max(end);
    }

    /// Lowers the claim at an end in order: the whole lane sent nothing above the records that it tried.
    pub fn settle(&mut self) {
        self.claim = self.claim.map(|_| self.tried.max(self.live));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_split_once_and_the_cursor_stays_with_the_old_part() {
        let mut progress = Progress::new(&Position { next: 1, lanes: Vec::new(), split: None }, true, 1);
        assert!(progress.may_split());
        assert!(progress.must_claim(10), "nothing was claimed yet");
        assert!(!progress.must_claim(10) && !progress.must_claim(2010) && progress.must_claim(2011));
        progress.trying(10);
        assert!(!progress.may_split(), "its outcome is not known");
        progress.delivered(11, &Sent::from([(LaneId::WHOLE, 10)]));
        assert!(progress.may_split());
        progress.split(5000);
        assert!(!progress.may_split());
        assert_eq!((progress.position().next, progress.position().split), (11, Some(5000)));
        progress.delivered(5100, &Sent::from([(LaneId::WHOLE, 5099)]));
        assert!(!progress.delivered_old(3000, &Sent::from([(LaneId::OLD, 2999)])));
        // As the log has it after a crash.
        let again = Progress::new(&progress.position(), true, 9000);
        assert_eq!((again.old, again.live), (Some(Old { next: 3000, end: 5000 }), 5100));
        assert_eq!((again.after, again.old_after), (5099, 2999));
        assert!(progress.delivered_old(5000, &Sent::from([(LaneId::OLD, 4999)])));
        assert_eq!((progress.position().next, progress.position().split), (5100, None));
        assert_eq!(progress.position().lane(LaneId::OLD).unwrap().after, 4999, "kept for the next drain");
    }

    #[test]
    fn what_an_earlier_process_may_have_sent_is_not_split() {
        let mut first = Progress::new(&Position { next: 1, lanes: Vec::new(), split: None }, true, 1);
        first.must_claim(100);
        // It crashed: its cursor was not saved, and it may have sent up to its claim.
        let mut second = Progress::new(&first.position(), true, 1_000_000);
        assert!(!second.may_split());
        second.delivered(2101, &Sent::new());
        assert!(second.may_split());
        // It ended in order: what it did not try was not sent.
        second.settle();
        assert!(Progress::new(&second.position(), true, 1_000_000).may_split());
        // Without claims all that is there may have been sent.
        let fifo = Progress::new(&Position::whole(7, 6), false, 1000).position();
        let mut then = Progress::new(&fifo, true, 1000);
        assert!(!then.may_split());
        then.delivered(1000, &Sent::new());
        assert!(then.may_split());
    }

    #[test]
    fn a_drain_that_was_begun_ends_also_when_it_is_not_asked_for_any_more() {
        let mut progress = Progress::new(&Position { next: 5, lanes: Vec::new(), split: None }, true, 50);
        progress.split(50);
        let mut fifo = Progress::new(&progress.position(), false, 80);
        assert_eq!(fifo.old, Some(Old { next: 5, end: 50 }));
        assert!(fifo.delivered_old(50, &Sent::new()) && !fifo.may_split());
        assert_eq!(fifo.position().next, 50);
    }
}
