//! Turns a frame into an atom: its records, its dead letters and its position.

use super::doubt::Doubts;
use super::quality::{Checker, KEYS};
use super::reader::Reader;
use super::reduce::{Reduced, Reducer, Span};
use super::rule::Route;
use super::{REPORT_EVERY, Rule};
use crate::decode::Decoder;
use crate::flow::frame::Frame;
use crate::flow::record::{CLOCK_UNSET, PayloadKind, Record};
use crate::platform::clock::Reading;
use crate::store::{Atom, MAX_ATOM, Part, StreamId};
use crate::telemetry::seldom::{Seldom, kind_of};
use crate::telemetry::{Metric, Metrics, event};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// The most characters of a message that a log line shows.
const SAMPLE: usize = 80;

/// The destination of a route's messages, with their decoder and their checks.
#[derive(Debug)]
pub struct Lane {
    /// The stream that the records go to.
    pub stream: StreamId,
    /// Its name.
    name: String,
    /// The decoder of the messages.
    pub decoder: Decoder,
    /// The checks of the decoded records.
    pub checker: Checker,
    /// Leaves out records that say nothing new.
    pub reducer: Reducer,
    /// The last device time of each key, with the running time of the machine (ms) at that moment: for formats whose
    /// messages continue the time of those before them.
    times: HashMap<Arc<str>, (i64, u64)>,
}

impl Lane {
    /// The lane of the route with this number.
    pub fn new(stream: StreamId, route: Route, number: usize) -> Self {
        let Route { decoder, quality, reduce, stream: name } = route;
        let (checker, reducer) = (Checker::new(quality), Reducer::new(reduce, number, name.clone()));
        Self { stream, name, decoder, checker, reducer, times: HashMap::new() }
    }
}

/// Builds the atoms of one source.
#[derive(Debug)]
pub struct Builder {
    /// The source's name.
    pub source: Arc<str>,
    /// The configuration's generation.
    pub generation: u64,
    /// The stream of dead letters.
    pub dead: StreamId,
    /// One lane for each route of the source, in the order of the routes.
    pub lanes: Vec<Lane>,
    /// The counters of dead letters and failed checks.
    pub metrics: Arc<Metrics>,
    /// Limits the log lines about dead letters.
    pub seldom: Seldom,
    /// Reports a device's time that cannot be right.
    pub doubts: Doubts,
}

impl Builder {
    /// The builder of a source. `stream_of` gives the number of a route's stream, by the route's number and the
    /// stream's name.
    pub fn new(rule: Rule, dead: StreamId, metrics: Arc<Metrics>, stream_of: impl Fn(usize, &str) -> StreamId) -> Self {
        let lane = |(number, route): (usize, Route)| Lane::new(stream_of(number, &route.stream), route, number);
        Self {
            source: rule.source,
            generation: rule.generation,
            dead,
            lanes: rule.routes.into_iter().enumerate().map(lane).collect(),
            metrics,
            seldom: Seldom::new(REPORT_EVERY),
            doubts: Doubts::default(),
        }
    }

    /// Builds the atoms of a frame, to be offered one after another. There is one atom, unless decoding made the
    /// records larger than an atom may be. The last atom has the position.
    pub fn build(&mut self, frame: Frame, now: Reading) -> Vec<Atom> {
        let route = frame.route.min(self.lanes.len().saturating_sub(1));
        let Some(Lane { stream, name, decoder, checker, reducer, times }) = self.lanes.get_mut(route) else {
            return Vec::new();
        };
        let unset = if now.trusted { 0 } else { CLOCK_UNSET };
        let received = frame.bytes();
        let mut attributes = frame.attributes;
        attributes.extend(now.marks());
        let base = Record {
            arrival_ms: now.wall_ms,
            device_time_us: None,
            key: frame.key.clone(),
            flags: frame.flags | unset,
            attributes,
            kind: PayloadKind::Bytes,
            payload: Bytes::new(),
        };
        let mut reader = Reader::new((&self.source, name), decoder, checker, &self.metrics, base);
        reader.arrival_us = now.trusted.then(|| now.wall_ms.saturating_mul(1000));
        reader.now_ms = now.monotonic_ms;
        reader.before_us = times.get(&frame.key).map(|(time_us, at_ms)| later(*time_us, now.monotonic_ms, *at_ms));
        reader.read(frame.payload, frame.header.as_deref(), received);
        let Reader { good, bad, before_us, .. } = reader;
        if let Some(before_us) = before_us.filter(|_| decoder.format.continues_time()) {
            if times.len() >= KEYS && !times.contains_key(&frame.key) {
                times.clear();
            }
            times.insert(frame.key.clone(), (before_us, now.monotonic_ms));
        }
        for letter in &bad {
            report_dead_letter(letter, &self.source, &mut self.seldom);
        }
        for record in &good {
            self.doubts.look(&self.source, record, now);
        }
        let Reduced { records, left_out, states } = reducer.pass(good, now.monotonic_ms);
        self.metrics.add(Metric::Reduced, left_out);
        let position = frame.position.map(|position| (self.source.to_string(), position.part, position.value));
        let states = states.into_iter().map(|(part, value)| (spans_of(&self.source), part, value));
        let positions = position.into_iter().chain(states).collect();
        let part = |stream, records| Part { stream, generation: self.generation, in_flight: false, records };
        cut(Atom { parts: vec![part(*stream, records), part(self.dead, bad)], positions })
    }

    /// Takes over the spans of `reduce` that were open at the last stop. Returns the saved ones that do not go on: of
    /// routes that have changed.
    pub fn load(&mut self, saved: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
        let mut goes_on = |part: &str, value: &[u8]| {
            let span = Span::decode(value);
            span.is_some_and(|span| self.lanes.iter_mut().any(|lane| lane.reducer.load(part, &span, value.len())))
        };
        saved.into_iter().filter(|(part, value)| !goes_on(part, value)).collect()
    }

    /// The atoms of the spans that have ended.
    pub fn ended(&mut self, wall_ms: i64) -> Vec<Atom> {
        let (source, generation) = (&*self.source, self.generation);
        let lanes = self.lanes.iter_mut();
        let atom = |stream, (record, part)| atom_of_span(source, generation, stream, record, part);
        lanes
            .flat_map(|lane| lane.reducer.ended(wall_ms).into_iter().map(move |ended| atom(lane.stream, ended)))
            .collect()
    }
}

/// The atom of a span that has ended: its record, and the end of its state.
pub fn atom_of_span(source: &str, generation: u64, stream: StreamId, record: Record, part: String) -> Atom {
    let positions = vec![(spans_of(source), part, Vec::new())];
    Atom { parts: vec![Part { stream, generation, in_flight: false, records: vec![record] }], positions }
}

/// The ending of the name under which the open spans of a source are saved with the positions.
pub const SPANS: &str = "#reduce";

/// The name under which the open spans of a source are saved with the positions.
pub fn spans_of(source: &str) -> String {
    format!("{source}{SPANS}")
}

/// A device's time, moved on by the time that has passed since.
fn later(time_us: i64, now_ms: u64, at_ms: u64) -> i64 {
    let passed = i64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(i64::MAX);
    time_us.saturating_add(passed.saturating_mul(1000))
}

/// Logs a message that became a dead letter, at a limited rate for each kind of reason.
fn report_dead_letter(letter: &Record, source: &str, seldom: &mut Seldom) {
    let reason = letter.attributes.iter().rfind(|(name, _)| &**name == "reason").map(|(_, reason)| &**reason);
    let reason = reason.unwrap_or_default();
    if let Some(count) = seldom.report(&kind_of(reason)) {
        let (key, sample) = (&*letter.key, sample(&letter.payload));
        tracing::warn!(
            event = event::DEAD_LETTER,
            source,
            key,
            reason,
            sample,
            count,
            "set aside: not a reading; it is in the stream forebay.dead-letters"
        );
    }
}

/// The beginning of a message, escaped for a log line.
fn sample(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(&payload[..payload.len().min(4 * SAMPLE)]);
    text.chars().take(SAMPLE).flat_map(char::escape_debug).collect()
}

/// Cuts an atom that is larger than `MAX_ATOM` into several. The last one has the positions.
fn cut(whole: Atom) -> Vec<Atom> {
    if whole.weight() <= MAX_ATOM {
        return vec![whole];
    }
    let (mut done, mut open, mut weight) = (Vec::new(), Atom::default(), 0);
    for part in whole.parts {
        for record in part.records {
            let one = Part { records: vec![record], ..part };
            let more = Atom { parts: vec![one], ..Atom::default() };
            let heavier = more.weight();
            // Atoms are filled to half of the limit, so that the last one has room for the positions.
            if weight + heavier > MAX_ATOM / 2 && weight > 0 {
                done.push(std::mem::take(&mut open));
                weight = 0;
            }
            weight += heavier;
            match open.parts.last_mut().filter(|last| last.stream == part.stream) {
                Some(last) => last.records.extend(more.parts.into_iter().flat_map(|part| part.records)),
                None => open.parts.extend(more.parts),
            }
        }
    }
    open.positions = whole.positions;
    done.push(open);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::frame::Payload;
    use crate::flow::record::MAX_RECORD;
    use crate::intake::Then;
    use crate::intake::quality::QUALITY;
    use crate::intake::reader::MOST_LINES;

    use crate::flow::record::DEAD_LETTER_KEEP;

    const NOW: Reading = Reading { wall_ms: 7, monotonic_ms: 7, trusted: true };
    use crate::decode::{Csv, Format, Json, Ndjson};
    use crate::flow::frame::Position;
    use crate::intake::{Check, Quality};

    fn builder(format: impl Format, quality: Quality) -> Builder {
        let lane = Lane::new(1, Route { stream: "s".into(), decoder: Decoder::new(format), quality, reduce: None }, 0);
        Builder {
            source: "s".into(),
            generation: 3,
            dead: 2,
            lanes: vec![lane],
            metrics: Metrics::new(),
            seldom: Seldom::new(std::time::Duration::ZERO),
            doubts: Doubts::default(),
        }
    }

    fn frame(payload: Payload) -> Frame {
        let position = Some(Position { part: "p".into(), value: vec![1] });
        Frame { flags: 1, position, attributes: vec![("line".into(), "7".into())], ..Frame::new("k", payload) }
    }

    fn payloads(part: &Part) -> Vec<&str> {
        part.records.iter().map(|record| std::str::from_utf8(&record.payload).unwrap()).collect()
    }

    #[test]
    fn good_and_bad_lines_of_a_frame_are_one_atom_with_its_position() {
        let lines = Payload::Lines(Bytes::from("1\n\nno\n{}\r\n"));
        let atoms = builder(Json, Quality::default()).build(frame(lines), NOW);
        let [atom] = &atoms[..] else { panic!("{atoms:?}") };
        assert_eq!((atom.parts[0].stream, payloads(&atom.parts[0])), (1, vec!["1", "{}"]));
        assert_eq!((atom.parts[1].stream, payloads(&atom.parts[1])), (2, vec!["no"]));
        let letter = &atom.parts[1].records[0].attributes;
        let names: Vec<&str> = letter.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["line", "source", "stream", "reason", "length", "crc32c"]);
        let reason = &letter[3];
        assert!(reason.1.contains("not JSON"), "{reason:?}");
        assert_eq!(atom.positions, [("s".into(), "p".into(), vec![1])]);
        let record = &atom.parts[0].records[0];
        assert_eq!((record.flags, &*record.attributes), (1, &[("line".into(), "7".into())][..]));
    }

    #[test]
    fn a_long_header_does_not_multiply_by_the_lines() {
        let message = format!("{}\n{}", "x".repeat(100_000), "1\n".repeat(3000));
        let atoms = builder(Csv::default(), Quality::default()).build(frame(Payload::One(message.into())), NOW);
        let parts = || atoms.iter().flat_map(|atom| &atom.parts);
        let count = |stream| parts().filter(|part| part.stream == stream).map(|part| part.records.len()).sum::<usize>();
        assert!((100..300).contains(&count(1)), "{}", count(1));
        assert_eq!(count(1) + count(2), 3000, "the others are dead letters");
    }

    #[test]
    fn what_is_too_large_keeps_its_length_its_crc_and_its_beginning() {
        let payload = Bytes::from(vec![b'1'; MAX_RECORD + 1]);
        let atoms = builder(Json, Quality::default()).build(frame(Payload::One(payload.clone())), NOW);
        let letter = &atoms[0].parts[1].records[0];
        assert_eq!(letter.payload.len(), DEAD_LETTER_KEEP);
        assert_eq!(&*letter.attributes[4].1, (MAX_RECORD + 1).to_string());
        assert_eq!(&*letter.attributes[5].1, format!("{:08x}", crc32c::crc32c(&payload)));
    }

    #[test]
    fn a_message_of_lines_has_its_header_first_and_a_block_brings_it() {
        let mut builder = builder(Csv::default(), Quality::default());
        let atoms = builder.build(frame(Payload::One(Bytes::from("a,b\n1,2\n\n3,4\n5\n"))), NOW);
        assert_eq!(payloads(&atoms[0].parts[0]), [r#"{"a":1,"b":2}"#, r#"{"a":3,"b":4}"#]);
        assert_eq!(payloads(&atoms[0].parts[1]), ["5"]);
        let block = Frame { header: Some(b"x"[..].into()), ..frame(Payload::Lines(Bytes::from("1\n2"))) };
        assert_eq!(payloads(&builder.build(block, NOW)[0].parts[0]), [r#"{"x":1}"#, r#"{"x":2}"#]);
    }

    #[test]
    fn rows_around_the_header_of_a_message_are_not_read() {
        let csv = Csv { skip_rows: 1, skip_after_header: 1, comment: Some("#".into()), ..Csv::default() };
        let mut builder = builder(csv, Quality::default());
        let mut good = |message: &'static str| {
            let atom = builder.build(frame(Payload::One(Bytes::from(message))), NOW).remove(0);
            (payloads(&atom.parts[0]).join(" "), payloads(&atom.parts[1]).join(" "))
        };
        let pair = |good: &str, bad: &str| (good.to_string(), bad.to_string());
        assert_eq!(good("TOA5\n# x\na,b\nV,A\n1,2\n"), pair(r#"{"a":1,"b":2}"#, ""));
        for short in ["TOA5", "TOA5\na,b\n", "TOA5\na,b\nV,A\n"] {
            assert_eq!(good(short), pair("", short), "it does not vanish");
        }
    }

    #[test]
    fn a_header_alone_or_one_that_is_no_text_does_not_vanish() {
        let mut builder = builder(Csv::default(), Quality::default());
        for message in [&b"a,b"[..], b"Gr\xf6sse,b\n1,2\n"] {
            let atom = builder.build(frame(Payload::One(Bytes::copy_from_slice(message))), NOW).remove(0);
            assert_eq!((atom.parts[0].records.len(), atom.parts[1].records.len()), (0, 1));
            assert_eq!(&atom.parts[1].records[0].payload[..], message);
        }
        let many = Bytes::from("1\n".repeat(MOST_LINES + 1));
        let mut ndjson = self::builder(Ndjson, Quality::default());
        let atom = ndjson.build(frame(Payload::One(many)), NOW).remove(0);
        assert_eq!((atom.parts[0].records.len(), atom.parts[1].records.len()), (0, 1));
    }

    #[test]
    fn what_fails_its_checks_is_tagged_set_aside_or_dropped_and_counted() {
        for (then, counted) in [
            (Then::Tag, Metric::QualityTagged),
            (Then::DeadLetter, Metric::QualitySetAside),
            (Then::Drop, Metric::QualityDropped),
        ] {
            let check = Check {
                field: "t".into(),
                required: true,
                kind: None,
                min: None,
                max: None,
                one_of: None,
                stuck: None,
                then,
            };
            let mut builder = builder(Json, Quality { checks: vec![check], ..Quality::default() });
            let atom = builder.build(frame(Payload::One(Bytes::from("{}"))), NOW).remove(0);
            assert_eq!(builder.metrics.get(counted), 1);
            let kept = atom.parts[0].records.first();
            let tag = kept.and_then(|record| record.attributes.last());
            assert_eq!(tag.is_some_and(|(name, why)| &**name == QUALITY && &**why == "missing:t"), then == Then::Tag);
            assert_eq!(atom.parts[1].records.len(), usize::from(then == Then::DeadLetter));
            assert_eq!(atom.positions.len(), 1, "it settles in any case");
        }
    }

    #[test]
    fn records_that_grew_beyond_an_atom_are_several_and_the_last_has_the_position() {
        let header = "a_rather_long_name_of_a_column,".repeat(100);
        let line = format!("{}\n", ",".repeat(100));
        let block = Payload::Lines(Bytes::from(line.repeat(600)));
        let frame = Frame { header: Some(header.as_bytes().into()), ..frame(block) };
        let atoms = builder(Csv::default(), Quality::default()).build(frame, NOW);
        assert!(atoms.len() > 1 && atoms.iter().all(|atom| atom.weight() <= MAX_ATOM));
        let records: usize = atoms.iter().flat_map(|atom| &atom.parts).map(|part| part.records.len()).sum();
        assert_eq!(records, 600);
        assert!(atoms[..atoms.len() - 1].iter().all(|atom| atom.positions.is_empty()));
        assert_eq!(atoms.last().unwrap().positions.len(), 1);
    }
}
