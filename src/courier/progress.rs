//! Where a sink stands in a stream, when live data may go first.
//!
//! Invariants: a record is sent in one lane for life. The part of a stream that becomes the old lane was
//! never sent before: in this process that is known (`tried`); of an earlier process it is known as far as
//! what it was allowed to send, which is in the log before it is sent (the mark of the lane `CLAIM`). The
//! split is in the log before either part goes on. The cursor is where the old part stands while there is one.
//! Pure: what is to be written and when is the lane's business.

use super::gather::Sent;
use crate::flow::lane::LaneId;
use crate::store::{LaneMark, Position};

/// At least so many records are claimed at a time.
const LEAST_CLAIM: u64 = 2000;

/// The part that waits while live data goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Old {
    /// The next sequence that it has not delivered.
    pub next: u64,
    /// Where it ends.
    pub end: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The next sequence that the whole lane has not delivered.
    pub live: u64,
    /// What the whole lane sent last.
    pub after: u64,
    /// The old part, while there is one.
    pub old: Option<Old>,
    /// What the old lane sent last, in this drain or one before.
    pub old_after: u64,
    /// Sequences below may have been sent in the whole lane.
    tried: u64,
    /// Sequences below may be sent in the whole lane: it is in the log. None: nobody asked for live first.
    claim: Option<u64>,
    /// Where the last claim was made.
    claimed_at: u64,
}

impl Progress {
    /// As the log has it; `end` is the stream's next sequence. With `live_first` it may be split.
    pub fn new(position: &Position, live_first: bool, end: u64) -> Self {
        let whole = position.lane(LaneId::WHOLE);
        let live = position.split.map_or(position.next, |split| whole.map_or(split, |mark| mark.next.max(split)));
        let old = position.split.filter(|split| position.next < *split);
        let claimed = position.lane(LaneId::CLAIM).map(|mark| mark.next);
        // Whoever sent before without claims may have sent all that was there.
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

    /// What the store is to keep.
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
                // Ever more at a time, so that a fast drain does not wait for the disk.
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

    /// Whether what follows was never sent, and nothing else waits: then the stream may be split here.
    pub fn may_split(&self) -> bool {
        self.claim.is_some() && self.old.is_none() && self.live >= self.tried
    }

    /// Everything from here up to `end` becomes the old part; the whole lane goes on at `end`.
    pub fn split(&mut self, end: u64) {
        self.old = Some(Old { next: self.live, end });
        self.live = end;
        self.tried = self.tried.max(end);
    }

    /// In order, at the end: nothing more is sent than was tried.
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
