//! Which segments may be freed, and which data is given up when space is short.
//!
//! The decisions are pure functions over a snapshot; the committer carries them out. A segment is freed when each
//! of its sections lies below its stream's floor and the frame that says so is synced.
//!
//! A full store makes room in this order. Data that is only kept goes first. Then the live rest of a segment that
//! is mostly dead is copied out. Then streams that may lose their oldest data lose it, lowest priority first.
//! Otherwise the sources wait.

use super::log::body::{FloorEntry, Holding, Reason, StreamId, Summary};
use super::log::layout::Heat;
use super::log::segment::Segment;
use super::state::State;
use crate::flow::record::is_own_stream;
use std::collections::{BTreeMap, BTreeSet};

/// The priority of a stream for which none is set; priorities go from 0 (gives way first) to 9.
pub const PRIORITY: u8 = 5;
/// A copy that would free less than this many bytes of a segment gains nothing.
const WORTH_COPYING: u64 = 4096;

/// How a stream's released data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// At least this many stored bytes stay for replay; they are the first to be given up when space is short.
    pub bytes: u64,
}

/// What happens when a stream, or the whole store, has no more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The sources wait.
    #[default]
    Block,
    /// The oldest records of the stream are given up.
    DropOldest,
    /// The records that arrive for the stream are given up.
    DropNewest,
}

/// The space that a stream may take, and what happens when it takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamRule {
    /// How much of the stream's released data is kept.
    pub keep: Option<Keep>,
    /// The largest number of stored bytes that are not released. One commit at most may exceed it.
    pub cap: Option<u64>,
    /// What happens at `cap`, and when the store is full.
    pub when_full: WhenFull,
    /// The priority of the stream, from 0 (gives way first) to 9.
    pub priority: u8,
}

impl Default for StreamRule {
    fn default() -> Self {
        Self { keep: None, cap: None, when_full: WhenFull::Block, priority: PRIORITY }
    }
}

/// What holds a stream's data back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The lowest cursor of the stream's readers.
    Cursor(u64),
    /// The stream has no reader: only `keep` holds its data.
    Nobody,
}

/// Floors that are to rise, by stream.
pub type Floors = BTreeMap<StreamId, FloorEntry>;

/// How a full store gets room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// These floors rise.
    Raise(Floors),
    /// The live rest of this segment is copied into another.
    Copy(u64),
    /// The segment that is appended to holds nothing that is wanted once these floors rise. It is sealed, and then
    /// freed.
    Seal(Floors),
    /// There is no way to get room: sources wait.
    None,
}

/// All that decisions about space depend on.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// The state of the store, as durable.
    pub state: &'a State,
    /// The segments, as durable.
    pub segments: &'a BTreeMap<u64, Segment>,
    /// The segment that is appended to is never freed or copied.
    pub current: u64,
    /// The hold on each stream, by stream.
    pub holds: BTreeMap<StreamId, Hold>,
    /// The rule of each stream, by stream.
    pub rules: BTreeMap<StreamId, StreamRule>,
    /// Segments that turned out not to be worth copying under these floors.
    pub not_worth_copying: BTreeSet<u64>,
}

impl Snapshot<'_> {
    /// The floors that can be set now, because all records below them are released and not kept.
    #[must_use]
    pub fn released(&self) -> Floors {
        let mut out = Floors::new();
        for stream in self.state.streams.values() {
            let lowest = self.lowest(stream.id, stream.next);
            let kept = match (self.rule(stream.id).keep, self.hold(stream.id)) {
                (Some(keep), _) => self.kept_from(stream.id, keep, stream.next),
                // Without a reader and without `keep`, no rule says that the records may go.
                (None, Hold::Nobody) => stream.floor,
                (None, Hold::Cursor(_)) => lowest,
            };
            let floor = lowest.min(kept);
            if floor > stream.floor {
                out.insert(stream.id, FloorEntry { stream: stream.id, floor, reason: Reason::Trim });
            }
        }
        out
    }

    /// The segments that can be freed under these floors. Their records are released, or were copied out of them (a
    /// crash may come between the copy and the removal of the original).
    #[must_use]
    pub fn freeable(&self, raised: &Floors) -> Vec<u64> {
        // There are few copies, if any. A search of all segments for each segment would be quadratic.
        let cold: Vec<&Summary> =
            self.segments.values().map(|segment| &segment.summary).filter(|s| s.heat == Heat::Cold).collect();
        let copied = |number: u64, holding: &Holding, floor: u64| {
            let mut copies = cold.iter().filter(|copy| copy.number > number).filter_map(|copy| copy.of(holding.stream));
            copies.any(|copy| copy.first <= holding.first.max(floor) && copy.last >= holding.last)
        };
        let dead = |segment: &&Segment| {
            segment.summary.holdings.iter().all(|holding| {
                let floor = self.floor(raised, holding.stream);
                holding.last < floor || copied(segment.summary.number, holding, floor)
            })
        };
        self.sealed().filter(dead).map(|segment| segment.summary.number).collect()
    }

    /// What a full store does next.
    #[must_use]
    pub fn room(&self) -> Room {
        let mut raised = self.released();
        while self.freeable(&raised).is_empty() {
            let Some(entry) = self.given_way(&raised) else { break };
            raised.insert(entry.stream, entry);
        }
        if !self.freeable(&raised).is_empty() {
            return Room::Raise(raised);
        }
        let current = self.segments.get(&self.current).map(|segment| &segment.summary.holdings[..]).unwrap_or_default();
        if !current.is_empty() && current.iter().all(|holding| holding.last < self.floor(&raised, holding.stream)) {
            return Room::Seal(raised);
        }
        // The store writes a little more before it loses data.
        let may_drop = self
            .state
            .streams
            .values()
            .any(|stream| self.rule(stream.id).when_full == WhenFull::DropOldest && !is_own_stream(&stream.name));
        let share = if may_drop { (3, 4) } else { (1, 2) };
        if let Some(number) = self.laggard(&raised, share) {
            return if raised.is_empty() { Room::Copy(number) } else { Room::Raise(raised) };
        }
        while let Some(entry) = self.victim(&raised) {
            raised.insert(entry.stream, entry);
            if !self.freeable(&raised).is_empty() || self.laggard(&raised, share).is_some() {
                return Room::Raise(raised);
            }
        }
        Room::None
    }

    /// Floors for streams that are over their own cap and lose their oldest records.
    #[must_use]
    pub fn over_cap(&self) -> Floors {
        let mut out = Floors::new();
        for stream in self.state.streams.values() {
            let rule = self.rule(stream.id);
            let Some(cap) = rule.cap.filter(|_| rule.when_full == WhenFull::DropOldest) else { continue };
            let mut excess = self.unreleased(stream.id).saturating_sub(cap);
            let lowest = self.lowest(stream.id, stream.next);
            // Copied segments have high numbers and old records, so holdings are sorted by sequence.
            let mut holdings: Vec<&Holding> = self.holdings(stream.id).filter(|h| h.last >= lowest).collect();
            holdings.sort_by_key(|holding| holding.first);
            for holding in holdings {
                if excess == 0 {
                    break;
                }
                let live = holding.bytes_from(lowest);
                let all = holding.last + 1 - holding.first.max(lowest);
                // Within a segment, bytes are estimated in proportion to records.
                let count = if excess >= live { all } else { (excess * all).div_ceil(live.max(1)).min(all) };
                let floor = holding.first.max(lowest) + count;
                excess = excess.saturating_sub(live);
                let entry = FloorEntry { stream: stream.id, floor, reason: Reason::Drop };
                out.entry(stream.id).and_modify(|known| known.floor = known.floor.max(floor)).or_insert(entry);
            }
        }
        out
    }

    /// Streams that are over their own cap and whose rule does not drop their oldest records.
    #[must_use]
    pub fn full_streams(&self) -> BTreeMap<StreamId, WhenFull> {
        let capped = self.state.streams.keys().filter_map(|id| Some((*id, self.rule(*id), self.rule(*id).cap?)));
        let full =
            capped.filter(|(id, rule, cap)| rule.when_full != WhenFull::DropOldest && self.unreleased(*id) >= *cap);
        full.map(|(id, rule, _)| (id, rule.when_full)).collect()
    }

    /// Stored bytes of a stream that its slowest reader has not released.
    #[must_use]
    pub fn unreleased(&self, stream: StreamId) -> u64 {
        self.bytes_from(stream, self.lowest(stream, self.state.streams.get(&stream).map_or(0, |stream| stream.floor)))
    }

    /// Stored bytes of a stream from a sequence on.
    #[must_use]
    pub fn bytes_from(&self, stream: StreamId, from: u64) -> u64 {
        self.holdings(stream).filter(|holding| holding.last >= from).map(|holding| holding.bytes_from(from)).sum()
    }

    /// The next floor to raise so that data that is only kept gives way, the oldest first.
    fn given_way(&self, raised: &Floors) -> Option<FloorEntry> {
        let kept = self.state.streams.values().filter_map(|stream| {
            let (number, holding) = self.first_live(raised, stream.id)?;
            let floor = (holding.last + 1).min(self.lowest(stream.id, stream.next));
            (floor > self.floor(raised, stream.id)).then_some((number, stream.id, floor))
        });
        let (_, stream, floor) = kept.min()?;
        Some(FloorEntry { stream, floor, reason: Reason::Trim })
    }

    /// The next floor that drops data: of a stream that may lose its oldest records, the lowest priority first.
    fn victim(&self, raised: &Floors) -> Option<FloorEntry> {
        let droppable = self.state.streams.keys().filter(|id| self.rule(**id).when_full == WhenFull::DropOldest);
        let candidates = droppable.filter_map(|id| {
            let (number, holding) = self.first_live(raised, *id)?;
            Some((self.rule(*id).priority, number, *id, holding.last + 1))
        });
        let (_, _, stream, floor) = candidates.min()?;
        Some(FloorEntry { stream, floor, reason: Reason::Drop })
    }

    /// The sealed segment with the fewest live bytes, if they are less than this share of its size.
    fn laggard(&self, raised: &Floors, (part_of, whole): (u64, u64)) -> Option<u64> {
        let live = |segment: &Segment| {
            let holdings = segment.summary.holdings.iter();
            holdings
                .filter(|h| h.last >= self.floor(raised, h.stream))
                .map(|h| h.bytes_from(self.floor(raised, h.stream)))
                .sum()
        };
        let sparse = self.sealed().filter(|segment| !self.not_worth_copying.contains(&segment.summary.number));
        let sparse = sparse.filter_map(|segment| {
            let (live, size): (u64, u64) = (live(segment), segment.summary.size);
            let worth = live * whole < size * part_of && live + WORTH_COPYING < size;
            worth.then_some((live, segment.summary.number))
        });
        sparse.min().map(|(_, number)| number)
    }

    /// The sealed segment in which a stream's live data begins, and what it holds of the stream.
    fn first_live(&self, raised: &Floors, stream: StreamId) -> Option<(u64, &Holding)> {
        let floor = self.floor(raised, stream);
        let live = self.sealed().filter_map(|segment| Some((segment.summary.number, segment.summary.of(stream)?)));
        live.filter(|(_, holding)| holding.last >= floor).min_by_key(|(_, holding)| holding.first)
    }

    /// The lowest sequence that `keep` still wants; `keep` holds whole segments.
    fn kept_from(&self, stream: StreamId, keep: Keep, next: u64) -> u64 {
        let mut held = 0;
        let mut from = next;
        let mut holdings: Vec<&Holding> = self.holdings(stream).collect();
        holdings.sort_by_key(|holding| std::cmp::Reverse(holding.last));
        for holding in holdings {
            if held >= keep.bytes {
                break;
            }
            held += holding.bytes;
            from = from.min(holding.first);
        }
        from
    }

    fn holdings(&self, stream: StreamId) -> impl Iterator<Item = &Holding> {
        self.segments.values().filter_map(move |segment| segment.summary.of(stream))
    }

    fn sealed(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values().filter(|segment| segment.summary.number != self.current)
    }

    fn rule(&self, stream: StreamId) -> StreamRule {
        self.rules.get(&stream).copied().unwrap_or_default()
    }

    fn hold(&self, stream: StreamId) -> Hold {
        self.holds.get(&stream).copied().unwrap_or(Hold::Nobody)
    }

    /// The first sequence that some reader has not released.
    fn lowest(&self, stream: StreamId, without_reader: u64) -> u64 {
        match self.hold(stream) {
            Hold::Cursor(next) => next.max(self.state.streams.get(&stream).map_or(0, |stream| stream.floor)),
            Hold::Nobody => without_reader,
        }
    }

    fn floor(&self, raised: &Floors, stream: StreamId) -> u64 {
        // The data of an unknown stream is wanted.
        let set = self.state.streams.get(&stream).map_or(0, |stream| stream.floor);
        raised.get(&stream).map_or(set, |entry| entry.floor.max(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::state::new_stream;

    const SIZE: u64 = 100_000;

    /// Segments as (stream, first, last, bytes) each; the newest is appended to.
    fn segments(all: &[&[(StreamId, u64, u64, u64)]]) -> (State, BTreeMap<u64, Segment>) {
        let mut state = State::default();
        let mut out = BTreeMap::new();
        for (number, holdings) in (1..).zip(all) {
            for (id, _, last, _) in *holdings {
                state.streams.entry(*id).or_insert_with(|| new_stream(*id, format!("s{id}"))).next = last + 1;
            }
            let holding = |&(stream, first, last, bytes): &(StreamId, u64, u64, u64)| Holding {
                stream,
                first,
                last,
                bytes,
                arrival_min: 0,
                arrival_max: 0,
            };
            let holdings = holdings.iter().map(holding).collect();
            let summary = Summary { number, heat: Heat::Hot, size: SIZE, end: SIZE, holdings };
            out.insert(number, Segment { path: "".into(), summary });
        }
        (state, out)
    }

    fn three() -> (State, BTreeMap<u64, Segment>) {
        segments(&[&[(1, 1, 10, 90_000)], &[(1, 11, 20, 90_000)], &[(1, 21, 30, 90_000)]])
    }

    fn look<'a>(
        (state, segments): &'a (State, BTreeMap<u64, Segment>),
        holds: &[(StreamId, u64)],
        rules: &[(StreamId, StreamRule)],
    ) -> Snapshot<'a> {
        let holds = holds.iter().map(|(id, next)| (*id, Hold::Cursor(*next))).collect();
        let current = *segments.keys().next_back().unwrap();
        let rules = rules.iter().copied().collect();
        Snapshot { state, segments, current, holds, rules, not_worth_copying: BTreeSet::new() }
    }

    fn keep(bytes: u64) -> StreamRule {
        StreamRule { keep: Some(Keep { bytes }), ..StreamRule::default() }
    }

    fn oldest(priority: u8) -> StreamRule {
        StreamRule { when_full: WhenFull::DropOldest, priority, ..StreamRule::default() }
    }

    fn raised(room: &Room) -> Vec<(StreamId, u64, Reason)> {
        match room {
            Room::Raise(floors) => floors.values().map(|entry| (entry.stream, entry.floor, entry.reason)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_lowest_reader_has_released_is_freed_whole_segments_at_a_time() {
        let store = three();
        let free = |next| {
            let snapshot = look(&store, &[(1, next)], &[]);
            snapshot.freeable(&snapshot.released())
        };
        assert_eq!(free(20), [1]);
        assert_eq!(free(21), [1, 2]);
        assert_eq!(free(31), [1, 2], "the newest is never freed");
        assert!(look(&store, &[(1, 31)], &[]).freeable(&Floors::new()).is_empty());
    }

    #[test]
    fn kept_data_stays_until_space_is_short() {
        let store = three();
        let floor = |bytes| look(&store, &[(1, 31)], &[(1, keep(bytes))]).released().get(&1).map(|entry| entry.floor);
        assert_eq!((floor(100_000), floor(1_000_000)), (Some(11), None));
        let short = look(&store, &[(1, 31)], &[(1, keep(1_000_000))]).room();
        assert_eq!(raised(&short), [(1, 11, Reason::Trim)], "the oldest segment, and no more");
        let undelivered = look(&store, &[(1, 1)], &[(1, keep(1_000_000))]).room();
        assert_eq!(undelivered, Room::None, "what is not delivered stays");
    }

    #[test]
    fn a_stream_without_reader_stays_while_there_is_space_and_with_keep_is_bounded() {
        let store = three();
        assert!(look(&store, &[], &[]).released().is_empty());
        let short = look(&store, &[], &[]).room();
        assert_eq!(raised(&short)[0].1, 11, "nobody reads it: it may not block those that are read");
        assert_eq!(look(&store, &[], &[(1, keep(1))]).released()[&1].floor, 21);
    }

    #[test]
    fn the_lowest_priority_that_may_drop_gives_way_and_only_as_much_as_helps() {
        let both: &[_] = &[(1, 1, 10, 40_000), (2, 1, 10, 50_000)];
        let later: &[_] = &[(1, 11, 20, 40_000), (2, 11, 20, 50_000)];
        let store = segments(&[both, later, &[(1, 21, 21, 1)]]);
        let room = |rules: &[_]| look(&store, &[(1, 1), (2, 1)], rules).room();
        assert_eq!(room(&[]), Room::None, "nothing may be dropped: sources wait");
        // The rest of segment 1 is then less than three quarters of it: it can be copied out.
        assert_eq!(raised(&room(&[(1, oldest(7)), (2, oldest(3))])), [(2, 11, Reason::Drop)]);
        assert_eq!(raised(&room(&[(1, oldest(3)), (2, oldest(7))])), [(1, 11, Reason::Drop)]);
        assert_eq!(raised(&room(&[(1, oldest(3))])), [(1, 11, Reason::Drop)]);
    }

    #[test]
    fn the_live_rest_of_a_mostly_dead_segment_is_copied_out_before_anything_is_dropped() {
        let store = segments(&[&[(1, 1, 10, 80_000), (2, 1, 1, 500)], &[(1, 11, 20, 90_000)], &[(1, 21, 21, 1)]]);
        let snapshot = look(&store, &[(1, 11), (2, 1)], &[(1, oldest(0))]);
        assert_eq!(snapshot.room(), Room::Raise(snapshot.released()), "first the floor is made durable");
        let mut store = store;
        store.0.streams.get_mut(&1).unwrap().floor = 11;
        assert_eq!(look(&store, &[(1, 11), (2, 1)], &[(1, oldest(0))]).room(), Room::Copy(1));
    }

    #[test]
    fn a_stream_over_its_own_cap_loses_as_much_as_it_is_over() {
        let store = three();
        let rule = |when_full| StreamRule { cap: Some(135_000), when_full, ..StreamRule::default() };
        let over = look(&store, &[(1, 1)], &[(1, rule(WhenFull::DropOldest))]);
        assert_eq!(over.over_cap()[&1], FloorEntry { stream: 1, floor: 16, reason: Reason::Drop });
        assert!(over.full_streams().is_empty());
        let blocked = look(&store, &[(1, 1)], &[(1, rule(WhenFull::Block))]);
        assert!(blocked.over_cap().is_empty());
        assert_eq!(blocked.full_streams(), [(1, WhenFull::Block)].into());
        let released = look(&store, &[(1, 25)], &[(1, rule(WhenFull::Block))]);
        assert!(released.full_streams().is_empty(), "what is released does not count");
    }
}
