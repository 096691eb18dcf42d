//! What may be given back: floors, `keep`, freeing of segments.
//!
//! Pure decisions over a snapshot; the committer carries them out. A segment is freed when each
//! of its sections lies below its stream's floor and the frame that says so is synced.

use super::log::body::{FloorEntry, Reason, StreamId};
use super::log::segment::Segment;
use super::state::State;
use std::collections::BTreeMap;

/// How a stream's released data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// At least this many stored bytes stay for replay; given up first when space is short.
    pub bytes: u64,
}

/// Who holds a stream back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The lowest cursor of its readers.
    Cursor(u64),
    /// It has no reader: only `keep` holds it.
    Nobody,
}

/// The floors that could be set now; only those that rise.
#[must_use]
pub fn floors(
    state: &State,
    segments: &BTreeMap<u64, Segment>,
    hold: impl Fn(StreamId) -> Hold,
    keep: impl Fn(StreamId) -> Option<Keep>,
    short: bool,
) -> Vec<FloorEntry> {
    let mut out = Vec::new();
    for stream in state.streams.values() {
        let lowest = match hold(stream.id) {
            Hold::Cursor(next) => next,
            Hold::Nobody => stream.next,
        };
        let kept = match (keep(stream.id), hold(stream.id)) {
            (Some(keep), _) => kept_from(segments, stream.id, keep, stream.next),
            // Without a reader and without `keep` nothing says that it may go.
            (None, Hold::Nobody) => stream.floor,
            (None, Hold::Cursor(_)) => lowest,
        };
        // What is only kept gives way when space is short, the oldest segment first.
        let given_up = if short { oldest_end(segments, stream.id) } else { 0 };
        let floor = lowest.min(kept.max(given_up));
        if floor > stream.floor {
            out.push(FloorEntry { stream: stream.id, floor, reason: Reason::Trim });
        }
    }
    out
}

/// Behind the last sequence that the oldest segment holds of a stream; 0 when it holds none.
fn oldest_end(segments: &BTreeMap<u64, Segment>, stream: StreamId) -> u64 {
    let oldest = segments.values().next().and_then(|segment| segment.summary.of(stream));
    oldest.map_or(0, |holding| holding.last + 1)
}

/// The lowest sequence that `keep` still wants, whole segments at a time.
fn kept_from(segments: &BTreeMap<u64, Segment>, stream: StreamId, keep: Keep, next: u64) -> u64 {
    let mut held = 0;
    let mut from = next;
    for holding in segments.values().rev().filter_map(|segment| segment.summary.of(stream)) {
        if held >= keep.bytes {
            break;
        }
        held += holding.bytes;
        from = from.min(holding.first);
    }
    from
}

/// The sealed segments that could be freed under these floors.
#[must_use]
pub fn freeable(state: &State, segments: &BTreeMap<u64, Segment>, floors: &[FloorEntry]) -> Vec<u64> {
    let floor = |stream: StreamId| {
        let raised = floors.iter().find(|entry| entry.stream == stream).map_or(0, |entry| entry.floor);
        raised.max(state.streams.get(&stream).map_or(u64::MAX, |stream| stream.floor))
    };
    let sealed = segments.len().saturating_sub(1);
    segments
        .iter()
        .take(sealed)
        .filter(|(_, segment)| segment.summary.holdings.iter().all(|holding| holding.last < floor(holding.stream)))
        .map(|(number, _)| *number)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::body::{Holding, Summary};
    use crate::store::log::layout::Heat;
    use crate::store::state::new_stream;

    fn segment(number: u64, first: u64, last: u64) -> (u64, Segment) {
        let holding = Holding { stream: 1, first, last, bytes: 100, arrival_min: 0, arrival_max: 0 };
        let summary = Summary { number, heat: Heat::Hot, size: 0, end: 0, holdings: vec![holding] };
        (number, Segment { path: "".into(), summary })
    }

    fn store() -> (State, BTreeMap<u64, Segment>) {
        let mut state = State::default();
        let mut stream = new_stream(1, "a".into());
        stream.next = 31;
        state.streams.insert(1, stream);
        (state, [segment(1, 1, 10), segment(2, 11, 20), segment(3, 21, 30)].into())
    }

    #[test]
    fn what_the_lowest_reader_has_released_is_freed_whole_segments_at_a_time() {
        let (state, segments) = store();
        let at = |next| floors(&state, &segments, |_| Hold::Cursor(next), |_| None, false);
        assert_eq!(freeable(&state, &segments, &at(20)), [1]);
        assert_eq!(freeable(&state, &segments, &at(21)), [1, 2]);
        assert_eq!(freeable(&state, &segments, &at(31)), [1, 2], "the newest is never freed");
        assert!(freeable(&state, &segments, &[]).is_empty());
    }

    #[test]
    fn kept_data_stays_until_space_is_short() {
        let (state, segments) = store();
        let keep = |_| Some(Keep { bytes: 150 });
        assert_eq!(floors(&state, &segments, |_| Hold::Cursor(31), keep, false)[0].floor, 11);
        let large = |_| Some(Keep { bytes: 1000 });
        assert!(floors(&state, &segments, |_| Hold::Cursor(31), large, false).is_empty());
        let short = floors(&state, &segments, |_| Hold::Cursor(31), large, true);
        assert_eq!(freeable(&state, &segments, &short), [1], "the oldest segment, and no more");
        assert!(floors(&state, &segments, |_| Hold::Cursor(1), large, true).is_empty(), "what is not delivered stays");
    }

    #[test]
    fn a_stream_without_reader_stays_while_there_is_space_and_with_keep_is_bounded() {
        let (state, segments) = store();
        assert!(floors(&state, &segments, |_| Hold::Nobody, |_| None, false).is_empty());
        let short = floors(&state, &segments, |_| Hold::Nobody, |_| None, true);
        assert_eq!(freeable(&state, &segments, &short), [1], "nobody reads it: it may not block those that are read");
        let kept = floors(&state, &segments, |_| Hold::Nobody, |_| Some(Keep { bytes: 1 }), true);
        assert_eq!(kept[0].floor, 21);
    }
}
