//! Readers, identities, reopening.

use super::*;

#[test]
fn two_readers_go_at_their_own_pace_and_a_new_one_may_begin_at_the_newest() {
    let disk = SimDisk::new(1);
    let mut rules = rules();
    rules.push(ReaderRule {
        name: "late".into(),
        streams: Selection::Named(vec!["readings".into()]),
        begin: Begin::Newest,
        role: Role::Sink,
    });
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    assert!(put(&store, &disk, atom(stream, 0..10, 50)));
    release(&store, stream, 6);
    store.close();
    let (store, _) = Store::open(&root(), &options(&disk), rules).unwrap();
    assert_eq!(store.reader("sink").open(stream).next_sequence(), 6);
    assert_eq!(store.reader("late").open(stream).next_sequence(), 11);
    assert_eq!(store.reader("sink").backlog().records, 5);
    assert_eq!(store.reader("late").backlog().records, 0);
    store.close();
}

#[test]
fn sequences_go_on_and_epochs_rise_over_restarts() {
    let disk = SimDisk::new(2);
    let mut epochs = Vec::new();
    for life in 0..4 {
        let (store, findings) = open(&disk).unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        let stream = store.stream("readings");
        assert!(put(&store, &disk, atom(stream, life..life + 1, 50)));
        let (records, _) = read_all(&mut store.reader("sink").open(stream));
        let (epoch, sequence, value) = *records.last().unwrap();
        assert_eq!((sequence, value), (life + 1, life));
        epochs.push(epoch >> 32);
        store.close();
    }
    assert_eq!(epochs, [1, 2, 3, 4]);
}

#[test]
fn what_is_too_large_is_refused_with_its_size() {
    let disk = SimDisk::new(3);
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    let error = store.offer(atom(stream, 0..3, 900_000)).unwrap_err();
    assert!(error.to_string().contains("larger than the limit"), "{error}");
    store.close();
    assert!(matches!(store.offer(atom(stream, 0..1, 10)), Err(OfferError::Closed)));
}

#[test]
fn records_of_different_generations_keep_their_order_and_their_mark() {
    let disk = SimDisk::new(4);
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    let mut mixed = atom(stream, 0..2, 10);
    for (generation, numbers) in [(2, 2..3), (1, 3..4)] {
        let mut part = atom(stream, numbers, 10).parts.remove(0);
        part.generation = generation;
        mixed.parts.push(part);
    }
    assert!(put(&store, &disk, mixed));
    let mut reader = store.reader("sink").open(stream);
    let mut seen = Vec::new();
    while let Some(Item::Span(span)) = reader.read().unwrap() {
        seen.extend(span.records().map(|(_, r)| (span.head.generation, number_of(r.payload))));
    }
    assert_eq!(seen, [(1, 0), (1, 1), (2, 2), (1, 3)]);
    store.close();
}

#[test]
fn a_clock_that_is_set_is_an_event_and_ages_stay_what_they_were() {
    let disk = SimDisk::new(9);
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    assert!(put(&store, &disk, atom(stream, 0..1, 10)));
    store.clock_set(400 * 86_400_000);
    let events = store.stream(crate::flow::record::EVENTS);
    let mut reader = store.reader("sink").open(events);
    let event = loop {
        match reader.read().unwrap() {
            Some(Item::Span(span)) => {
                break String::from_utf8(span.records().next().unwrap().1.payload.to_vec()).unwrap();
            }
            Some(Item::Gap(gap)) => panic!("{gap:?}"),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let event: serde_json::Value = serde_json::from_str(&event).unwrap();
    assert_eq!((&event["event"], &event["by_ms"]), (&"clock_set".into(), &(400_i64 * 86_400_000).into()));
    assert_eq!(event["boot"], crate::platform::clock::boot());
    assert!(event["monotonic_ms"].is_u64() && event["wall_ms"].is_i64());
    store.close();
}

#[test]
fn readers_and_rules_change_while_the_store_is_open() {
    let disk = SimDisk::new(11);
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    assert!(put(&store, &disk, atom(stream, 0..10, 50)));
    release(&store, stream, 6);
    let reader = |name: &str, begin| ReaderRule { name: name.into(), streams: Selection::All, begin, role: Role::Sink };
    let unchanged = options(&disk).rules();
    store.configure(
        vec![reader("sink", Begin::Oldest), reader("new", Begin::Oldest), reader("late", Begin::Newest)],
        unchanged.clone(),
    );
    let next = |name: &str| store.reader(name).open(stream).next_sequence();
    assert_eq!((next("sink"), next("new"), next("late")), (6, 1, 11));
    assert_eq!(store.reader("new").backlog().records, 10);
    assert!(put(&store, &disk, atom(stream, 10..12, 50)));
    // Configured again, a reader that began at the newest skips nothing of what came since.
    store.configure(vec![reader("sink", Begin::Oldest), reader("late", Begin::Newest)], unchanged.clone());
    assert_eq!((next("late"), store.reader("late").backlog().records), (11, 2));
    assert_eq!(store.reader("new").backlog(), Backlog::default(), "nobody waits for it any more");
    store.configure(vec![reader("sink", Begin::Oldest), reader("new", Begin::Oldest)], unchanged.clone());
    assert_eq!(next("new"), 1, "it goes on where it was, as far as that is kept");
    // Value n arrived n milliseconds after the first and has sequence n + 1.
    let first_ms = record(0, 10).arrival_ms;
    let begins = [Begin::Sequence(4), Begin::Sequence(99), Begin::Time(first_ms + 7), Begin::Time(0)];
    let begins = begins.into_iter().chain([Begin::Time(first_ms + 99)]);
    let names = ["at", "beyond", "then", "ever", "never"];
    let all = begins.zip(names).map(|(begin, name)| reader(name, begin));
    store.configure(
        [reader("sink", Begin::Oldest), reader("new", Begin::Oldest)].into_iter().chain(all).collect(),
        unchanged.clone(),
    );
    assert_eq!(names.map(next), [4, 13, 8, 1, 13]);
    // A stream gets a rule: it is full, and is not any more.
    let capped = StreamRule { cap: Some(1), ..StreamRule::default() };
    let rules = Rules { streams: vec![("readings".into(), capped)], ..unchanged.clone() };
    store.configure(vec![reader("sink", Begin::Oldest)], rules);
    assert!(matches!(store.offer(atom(stream, 12..13, 10)), Err(OfferError::Full(_))));
    store.configure(vec![reader("sink", Begin::Oldest)], unchanged);
    assert!(put(&store, &disk, atom(stream, 12..13, 10)));
    store.close();
}

#[test]
fn a_group_that_had_no_room_is_tried_again_when_the_rules_change() {
    let disk = SimDisk::new(12);
    let options = options(&disk);
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    let stream = stepped.store.stream("readings");
    let taken = stepped.press(stream, 10);
    let durable = stepped.store.durable();
    let before = *durable.borrow();
    stepped.pass(60_000);
    assert_eq!(*durable.borrow(), before, "full: nothing more is taken");
    let larger = Rules { cap: options.cap * 4, ..options.rules() };
    stepped.store.configure(rules(), larger);
    stepped.pass(0);
    assert!(*durable.borrow() > before, "what waited is written at once");
    assert!(stepped.store.offer(atom(stream, taken..taken + 1, 10)).is_ok());
    stepped.close();
}

#[test]
fn a_storm_of_events_is_written_in_several_frames_also_at_the_close() {
    use crate::flow::record::EVENTS;
    use crate::telemetry::{Event, Metric, Metrics};
    let disk = SimDisk::new(14);
    let options = options(&disk);
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    let storm = |store: &Store, from: usize, to: usize| {
        for n in from..to {
            store.tell(&Event::SensorBack { source: "s".into(), key: n.to_string() }, &Metrics::new());
        }
    };
    let keys = |store: &Store| {
        let mut reader = store.reader_at(store.stream(EVENTS), 1);
        let mut keys = Vec::new();
        while let Some(Item::Span(span)) = reader.read().unwrap() {
            let event = |payload: &[u8]| serde_json::from_slice::<serde_json::Value>(payload).unwrap();
            keys.extend(span.records().map(|(_, record)| event(record.payload)["key"].as_str().unwrap().to_string()));
        }
        keys
    };
    let numbers = |to: usize| (0..to).map(|n| n.to_string()).collect::<Vec<_>>();
    storm(&stepped.store, 0, 600);
    stepped.pass(1000);
    assert_eq!(keys(&stepped.store), numbers(600));
    storm(&stepped.store, 600, 1200);
    stepped.close();
    let mut again = Stepped::open(&options, rules()).unwrap();
    assert_eq!(keys(&again.store), numbers(1200));
    // What is more than the store keeps waiting is counted.
    storm(&again.store, 1200, 1200 + 4096 + 7);
    again.pass(1000);
    assert_eq!(keys(&again.store).len(), 1200 + 4096);
    assert_eq!(options.metrics.get(Metric::EventsLeftOut), 7);
}
