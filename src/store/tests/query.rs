//! Steps of queries: the records read, the results and the state of a step are all there, or none of them.

use super::*;
use crate::flow::receipt::Ticket;
use std::collections::VecDeque;

pub(super) const QUERY: &str = "query.sums";
/// The query makes one record of this many input records.
const EACH: u64 = 5;

/// The rule of the reader that sums up a stream.
pub(super) fn rule() -> ReaderRule {
    let streams = Selection::Named(vec!["readings".into()]);
    ReaderRule { name: QUERY.into(), streams, begin: Begin::Oldest, role: Role::Query }
}

/// A query that counts and adds up the values of `readings`, and makes a record of `sums` of every five.
#[derive(Default)]
pub(super) struct Query {
    pub state: Sums,
    /// The state after the last durable step.
    pub settled: Sums,
    waiting: VecDeque<(Ticket, Sums)>,
    reader: Option<Reader>,
    steps: u64,
    /// Pieces of a snapshot that are still to be written.
    pieces: VecDeque<(Bytes, Place)>,
}

/// The state that the query keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    /// The next sequence of the query's input.
    pub next: u64,
    pub sum: u64,
    pub count: u64,
    /// The number of records that the query made.
    pub made: u64,
}

impl Sums {
    fn numbers(self) -> [u64; 4] {
        [self.next, self.sum, self.count, self.made]
    }

    fn bytes(self) -> Vec<u8> {
        self.numbers().iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn of(bytes: &[u8]) -> Self {
        let mut numbers = bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
        let mut number = || numbers.next().unwrap();
        Self { next: number(), sum: number(), count: number(), made: number() }
    }

    /// What has come since: a change that is lost or done twice shows.
    fn since(self, before: Self) -> Vec<u8> {
        let pairs = self.numbers().into_iter().zip(before.numbers());
        pairs.flat_map(|(now, then)| now.wrapping_sub(then).to_le_bytes()).collect()
    }

    fn with(self, change: &[u8]) -> Self {
        let more = Self::of(change).numbers();
        let [next, sum, count, made] = std::array::from_fn(|at| self.numbers()[at].wrapping_add(more[at]));
        Self { next, sum, count, made }
    }
}

impl Query {
    /// Goes on where the log says; its state must be what it was at the cursor.
    pub fn open(&mut self, store: &Store) -> Result<(), String> {
        let (handle, input) = (store.reader(QUERY), store.stream("readings"));
        let (cursor, made) = (handle.position(input).next, store.end(store.stream("sums")) - 1);
        let memory = handle.memory().map_err(|error| error.to_string())?;
        let pieces: Vec<u8> = memory.snapshot.concat();
        let fresh = Sums { next: cursor, made, ..Sums::default() };
        // Without a snapshot it began at the cursor that it was given then.
        let begin = if pieces.is_empty() { Sums { next: 1, ..Sums::default() } } else { Sums::of(&pieces) };
        let state = memory.changes.iter().fold(begin, |state, change| state.with(change));
        let is_new = pieces.is_empty() && memory.changes.is_empty();
        self.state = if memory.is_damaged || is_new { fresh } else { state };
        self.reader = Some(store.reader_at(input, cursor));
        (self.waiting, self.pieces) = (VecDeque::new(), VecDeque::new());
        // A new state begins with a snapshot.
        self.steps = if memory.is_damaged || is_new { 0 } else { self.steps + 1 };
        let offered = self.settled;
        self.settled = self.state;
        if memory.is_damaged {
            return Err("its state is damaged".into());
        }
        if self.state.next != cursor || self.state.made != made {
            return Err(format!("the cursor is {cursor}, {made} records are made, its state says {:?}", self.state));
        }
        if self.state.next < offered.next && offered.count > 0 {
            return Err(format!("it was at {offered:?} and is at {:?}", self.state));
        }
        Ok(())
    }

    pub fn close(&mut self) {
        self.reader = None;
    }

    /// Reads so many runs and commits a step; whether it did.
    pub fn step(&mut self, store: &Store, runs: usize) -> bool {
        let handle = store.reader(QUERY);
        let before = self.state;
        let (mut now, mut records) = (before, Vec::new());
        let reader = self.reader.as_mut().unwrap();
        let is_snapshot = !self.pieces.is_empty();
        for _ in 0..if is_snapshot { 0 } else { runs } {
            match reader.read() {
                Ok(Some(Item::Gap(gap))) => now.next = gap.to + 1,
                Ok(Some(Item::Span(span))) => {
                    for (sequence, record) in span.records() {
                        now.sum = now.sum.wrapping_add(number_of(record.payload));
                        now.count += 1;
                        now.next = sequence + 1;
                        if now.count.is_multiple_of(EACH) {
                            records.push(super::record(now.made, 60));
                            now.made += 1;
                        }
                    }
                }
                _ => break,
            }
        }
        if now == before && !is_snapshot {
            return false;
        }
        let kept = match self.pieces.front() {
            Some((piece, place)) => Kept::Snapshot { piece: piece.clone(), place: *place },
            None if self.steps.is_multiple_of(7) => Kept::Snapshot { piece: now.bytes().into(), place: Place::Whole },
            None => Kept::Change(now.since(before).into()),
        };
        let inputs = if is_snapshot { Vec::new() } else { vec![(store.stream("readings"), now.next)] };
        let part = Part { stream: store.stream("sums"), generation: 1, in_flight: false, records };
        match handle.commit(Step { inputs, output: vec![part], kept }) {
            Ok(ticket) => {
                self.steps += 1;
                self.state = now;
                self.waiting.push_back((ticket, now));
                self.pieces.pop_front();
                if self.steps % 11 == 3 {
                    let bytes = now.bytes();
                    let places = [(0..8, Place::First), (8..16, Place::Middle), (16..32, Place::Last)];
                    self.pieces = places.map(|(range, place)| (bytes[range].to_vec().into(), place)).into();
                }
                true
            }
            Err(StepError::Full(_) | StepError::Closed) => {
                self.reader.as_mut().unwrap().rewind(before.next);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether some steps are not durable yet.
    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !self.pieces.is_empty()
    }

    pub fn settle(&mut self, store: &Store) {
        let proof = *store.stepped().borrow();
        while self.waiting.front().is_some_and(|(ticket, _)| proof.covers(*ticket)) {
            self.settled = self.waiting.pop_front().unwrap().1;
        }
    }
}

/// A store that only a query reads, and its query.
fn opened(disk: &SimDisk, streams: &[(&str, StreamRule)]) -> (Stepped, Query, Options) {
    let streams = streams.iter().map(|(name, rule)| (name.to_string(), *rule)).collect();
    let options = Options { streams, ..options(disk) };
    let (stepped, mut query) = (Stepped::open(&options, vec![rule()]).unwrap(), Query::default());
    query.open(&stepped.store).unwrap();
    (stepped, query, options)
}

/// Runs steps until there is nothing more to read. Returns their number.
fn catch_up(stepped: &mut Stepped, query: &mut Query) -> u64 {
    let mut steps = 0;
    while query.step(&stepped.store.clone(), 4) || query.is_busy() {
        stepped.pass(1000);
        query.settle(&stepped.store);
        steps += 1;
        assert!(steps < 10_000, "it stands still");
    }
    steps
}

#[test]
fn a_store_full_of_what_only_a_query_reads_gets_empty_by_its_steps() {
    let disk = SimDisk::new(21);
    let (mut stepped, mut query, _) = opened(&disk, &[]);
    let stream = stepped.store.stream("readings");
    let taken = stepped.press(stream, 100);
    assert!(matches!(stepped.store.offer(atom(stream, taken..taken + 1, 10)), Err(OfferError::Full(_))), "{taken}");
    assert!(catch_up(&mut stepped, &mut query) > 10);
    assert_eq!((query.settled.count, query.settled.made), (taken, taken / EACH));
    assert!(stepped.store.offer(atom(stream, taken..taken + 1, 10)).is_ok());
    stepped.pass(1000);
    assert!(stepped.committer.run_until_idle().is_ok());
    // The device itself is full: the reserve has room for the results of a query.
    let taken = taken + 1;
    let mut next = taken;
    disk.limit(Some(disk.used()));
    for _ in 0..200 {
        let offered = stepped.store.offer(atom(stream, next..next + 10, 1000)).is_ok();
        next += if offered { 10 } else { 0 };
        stepped.pass(1000);
    }
    assert!(stepped.store.offer(atom(stream, next..next + 1, 10)).is_err());
    catch_up(&mut stepped, &mut query);
    // A group that waited for room is tried again within half a minute.
    stepped.pass(30_000);
    catch_up(&mut stepped, &mut query);
    assert_eq!(query.settled.count, next);
    assert!(stepped.store.offer(atom(stream, next..next + 1, 10)).is_ok());
}

#[test]
fn a_step_and_what_sources_offered_are_one_flush() {
    let disk = SimDisk::new(22);
    let (mut stepped, mut query, options) = opened(&disk, &[]);
    let stream = stepped.store.stream("readings");
    let syncs = || options.metrics.get(crate::telemetry::Metric::StoreSyncs);
    stepped.store.offer(atom(stream, 0..10, 50)).unwrap();
    stepped.pass(1000);
    let before = syncs();
    stepped.store.offer(atom(stream, 10..20, 50)).unwrap();
    assert!(query.step(&stepped.store.clone(), 4));
    stepped.pass(1000);
    query.settle(&stepped.store);
    assert_eq!((syncs() - before, query.settled.count), (1, 10));
}

#[test]
fn a_stream_has_one_kind_of_writer() {
    let disk = SimDisk::new(23);
    let (stepped, ..) = opened(&disk, &[]);
    let store = &stepped.store;
    let part =
        |name: &str| Part { stream: store.stream(name), generation: 1, in_flight: false, records: vec![record(0, 10)] };
    let step = |name: &str| store.reader(QUERY).commit(Step { output: vec![part(name)], ..Step::default() });
    let offer = |name: &str| store.offer(Atom { parts: vec![part(name)], ..Atom::default() });
    assert!(offer("readings").is_ok() && step("sums").is_ok());
    let words = [step("readings").unwrap_err().to_string(), offer("sums").unwrap_err().to_string()];
    assert_eq!(words[0], "the stream `readings` is written by sources: nobody else can write to it");
    assert_eq!(words[1], "the stream `sums` is written by queries: nobody else can write to it");
    // Forebay's own events are numbered by the store.
    for refused in [step("forebay.events").unwrap_err().to_string(), offer("forebay.events").unwrap_err().to_string()] {
        assert_eq!(refused, "the stream `forebay.events` is written by the store itself: nobody else can write to it");
    }
    let mixed = Kept::Snapshot { piece: Bytes::new(), place: Place::First };
    let mixed = Step { output: vec![part("sums")], kept: mixed, ..Step::default() };
    assert!(matches!(store.reader(QUERY).commit(mixed), Err(StepError::Mixed)));
    let large = Kept::Change(Bytes::from(vec![0; (1 << 20) + 1]));
    assert!(matches!(store.reader(QUERY).commit(Step { kept: large, ..Step::default() }), Err(StepError::TooLarge(_))));
}

#[test]
fn the_log_holds_no_more_of_a_state_than_its_last_snapshot_and_the_changes_since() {
    let disk = SimDisk::new(24);
    let (mut stepped, _, options) = opened(&disk, &[]);
    let piece = |n: u64| record(n, 9000).payload;
    for n in 0..400 {
        let kept = match n % 4 {
            0 => Kept::Snapshot { piece: piece(n), place: Place::First },
            1 => Kept::Snapshot { piece: piece(n), place: Place::Last },
            // A change in the middle: that snapshot never counts.
            2 if n % 8 == 2 => Kept::Snapshot { piece: piece(n), place: Place::First },
            _ => Kept::Change(piece(n)),
        };
        stepped.store.reader(QUERY).commit(Step { kept, ..Step::default() }).unwrap();
        stepped.pass(1000);
    }
    let used: u64 = stepped.store.inner.lock().segments.values().map(|segment| segment.summary.size).sum();
    assert!(used <= 3 * SEGMENT, "400 pieces of 9 KB leave {used} bytes");
    let memory = |stepped: &Stepped| {
        let memory = stepped.store.reader(QUERY).memory().unwrap();
        let numbers = |pieces: &[Bytes]| pieces.iter().map(|piece| number_of(piece)).collect::<Vec<_>>();
        (numbers(&memory.snapshot), numbers(&memory.changes), memory.is_damaged)
    };
    let now = memory(&stepped);
    assert_eq!(now, (vec![396, 397], vec![398, 399], false));
    // A rule of a stream cannot take a query's state away.
    let rules = Rules { when_full: WhenFull::DropOldest, ..options.rules() };
    stepped.store.configure(vec![rule()], rules);
    let stream = stepped.store.stream("bulk");
    stepped.press(stream, 100);
    assert_eq!(memory(&stepped), now);
    stepped.close();
    let again = Stepped::open(&options, vec![rule()]).unwrap();
    assert_eq!(memory(&again), now);
    again.close();
    // After `forget`, the query begins from nothing.
    let mut by_hand = Stepped::open(&options, Vec::new()).unwrap();
    by_hand.committer.forget(QUERY).unwrap();
    drop(by_hand);
    let anew = Stepped::open(&options, vec![rule()]).unwrap();
    assert_eq!(memory(&anew), (vec![], vec![], false));
}

fn sums(store: &Store, records: u64) -> Vec<Part> {
    let records = (0..records).map(|number| record(number, 1000)).collect();
    vec![Part { stream: store.stream("sums"), generation: 1, in_flight: false, records }]
}

fn commit(stepped: &mut Stepped, step: Step) -> Result<Ticket, StepError> {
    let committed = stepped.store.reader(QUERY).commit(step);
    stepped.pass(1000);
    committed
}

#[test]
fn readers_are_woken_by_steps_and_by_events_of_the_store() {
    let disk = SimDisk::new(25);
    let (mut stepped, ..) = opened(&disk, &[]);
    let mut durable = stepped.store.durable();
    let step = Step { output: sums(&stepped.store, 1), ..Step::default() };
    durable.mark_unchanged();
    commit(&mut stepped, step).unwrap();
    assert!(durable.has_changed().unwrap(), "a sink may wait for the output");
    durable.mark_unchanged();
    let (source, key) = ("s".into(), "k".into());
    stepped.store.tell(&Event::SensorBack { source, key }, &Metrics::new());
    stepped.pass(2000);
    assert!(durable.has_changed().unwrap(), "no source has to commit for an event to reach the hub");
}

#[test]
fn a_query_that_begins_at_the_newest_keeps_its_first_changes_over_a_restart() {
    let disk = SimDisk::new(26);
    let newest = || vec![ReaderRule { begin: Begin::Newest, ..rule() }];
    let options = options(&disk);
    let mut stepped = Stepped::open(&options, newest()).unwrap();
    let stream = stepped.store.stream("readings");
    stepped.store.offer(atom(stream, 0..10, 50)).unwrap();
    stepped.pass(1000);
    for change in [&b"one"[..], b"two"] {
        let kept = Kept::Change(Bytes::from_static(change));
        commit(&mut stepped, Step { inputs: vec![(stream, 11)], kept, ..Step::default() }).unwrap();
    }
    let handle = stepped.store.reader(QUERY);
    assert_eq!(handle.streams(), [(stream, "readings".into())], "its state is no input");
    assert_eq!(handle.backlog().records, 0);
    stepped.close();
    let again = Stepped::open(&options, newest()).unwrap();
    let memory = again.store.reader(QUERY).memory().unwrap();
    assert_eq!(memory.changes, [&b"one"[..], b"two"]);
}

#[test]
fn a_step_that_is_given_up_as_a_whole_settles_for_queries_and_not_for_sources() {
    let disk = SimDisk::new(27);
    let newest = StreamRule { when_full: WhenFull::DropNewest, ..StreamRule::default() };
    let (mut stepped, _, options) = opened(&disk, &[("sums", newest)]);
    stepped.store.configure([rules(), vec![rule()]].concat(), options.rules());
    let stream = stepped.store.stream("readings");
    stepped.press(stream, 100);
    let (durable, stepped_to) = (stepped.store.durable(), stepped.store.stepped());
    let before = *durable.borrow();
    let mut last = None;
    for _ in 0..200 {
        let step = Step { output: sums(&stepped.store, 20), ..Step::default() };
        last = commit(&mut stepped, step).ok();
    }
    assert_eq!(*durable.borrow(), before, "no source is told that its data is safe");
    assert!(stepped_to.borrow().covers(last.unwrap()));
    let metrics = &stepped.store.inner.options.metrics;
    assert!(metrics.get(crate::telemetry::Metric::StoreDropped) > 0);
}

#[test]
fn a_step_is_refused_beyond_its_limits() {
    let disk = SimDisk::new(28);
    let capped = StreamRule { cap: Some(20_000), ..StreamRule::default() };
    let (mut stepped, ..) = opened(&disk, &[("sums", capped)]);
    let store = stepped.store.clone();
    let input = |next| Step { inputs: vec![(store.stream("readings"), next)], ..Step::default() };
    store.offer(atom(store.stream("readings"), 0..10, 50)).unwrap();
    stepped.pass(1000);
    commit(&mut stepped, input(6)).unwrap();
    for next in [5, 12] {
        let refused = commit(&mut stepped, input(next)).unwrap_err();
        assert_eq!(refused.to_string(), format!("the stream `readings` cannot have been read up to sequence {next}"));
    }
    // An output with a cap of its own blocks its query, and no other.
    for _ in 0..3 {
        let _ = commit(&mut stepped, Step { output: sums(&store, 10), ..Step::default() });
    }
    let output = Step { output: sums(&store, 1), ..Step::default() };
    assert!(matches!(commit(&mut stepped, output), Err(StepError::Full(_))));
    // A snapshot in pieces has a limit.
    let piece = |place| {
        let piece = Bytes::from(vec![7; 1 << 20]);
        Step { kept: Kept::Snapshot { piece, place }, ..Step::default() }
    };
    commit(&mut stepped, piece(Place::First)).unwrap();
    for _ in 0..3 {
        commit(&mut stepped, piece(Place::Middle)).unwrap();
    }
    assert!(matches!(commit(&mut stepped, piece(Place::Last)), Err(StepError::SnapshotTooLarge)));
    commit(&mut stepped, piece(Place::Whole)).unwrap();
}

#[test]
fn after_a_change_of_the_configuration_a_stream_may_have_another_kind_of_writer() {
    let disk = SimDisk::new(29);
    let (mut stepped, _, options) = opened(&disk, &[]);
    let store = stepped.store.clone();
    let stream = store.stream("sums");
    store.offer(atom(stream, 0..3, 50)).unwrap();
    let step = || Step { output: sums(&store, 1), ..Step::default() };
    assert!(matches!(commit(&mut stepped, step()), Err(StepError::OtherWriter(_))));
    store.offer(atom(stream, 3..4, 50)).unwrap();
    store.configure(vec![rule()], options.rules());
    let refused = store.reader(QUERY).commit(step());
    assert!(matches!(refused, Err(StepError::Full(_))), "what sources offered is not durable yet");
    stepped.pass(1000);
    commit(&mut stepped, step()).unwrap();
    assert!(matches!(store.offer(atom(stream, 4..5, 50)), Err(OfferError::OtherWriter(_))));
    let sequences: Vec<u64> =
        read_all(&mut store.reader_at(stream, 1)).0.iter().map(|(_, sequence, _)| *sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
}
