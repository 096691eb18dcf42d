//! Steps of queries: what they read, make and keep stands or falls together.

use super::sums::{EACH, QUERY, Query, rule};
use super::*;
use crate::flow::receipt::Ticket;
use crate::telemetry::{Event, Metric, Metrics};

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
    let syncs = || options.metrics.get(Metric::StoreSyncs);
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
    assert!(metrics.get(Metric::StoreDropped) > 0);
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
