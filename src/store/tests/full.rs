//! What gives way when a stream or the store is full; drops counted, with their range.

use super::*;
use crate::flow::record::EVENTS;
use crate::telemetry::Metric;

fn rule(when_full: WhenFull, priority: u8) -> StreamRule {
    StreamRule { when_full, priority, ..StreamRule::default() }
}

fn stepped(disk: &SimDisk, streams: &[(&str, StreamRule)]) -> (Stepped, Options) {
    let streams = streams.iter().map(|(name, rule)| (name.to_string(), *rule)).collect();
    let options = Options { streams, ..options(disk) };
    (Stepped::open(&options, rules()).unwrap(), options)
}

/// Offers 1 KB records of a stream from `first` on; how many were taken.
fn fill(stepped: &mut Stepped, name: &str, first: u64, count: u64) -> u64 {
    let stream = stepped.store.stream(name);
    let mut taken = 0;
    for n in (first..first + count).step_by(10) {
        if stepped.store.offer(atom(stream, n..n + 10, 1000)).is_ok() {
            taken += 10;
        }
        stepped.pass(10);
    }
    taken
}

/// What is there of a stream, and what is gone: sequences.
fn look(stepped: &Stepped, name: &str) -> (Vec<u64>, Vec<Gap>) {
    let (records, gaps) = read_all(&mut stepped.store.reader("sink").open(stepped.store.stream(name)));
    assert!(records.iter().all(|(_, sequence, value)| *sequence == value + 1), "{records:?}");
    (records.into_iter().map(|(_, sequence, _)| sequence).collect(), gaps)
}

fn bytes(stepped: &Stepped) -> u64 {
    stepped.store.inner.lock().segments.values().map(|segment| segment.summary.size).sum()
}

/// Records of a stream that events say were given up.
fn told(stepped: &Stepped, name: &str) -> u64 {
    let mut reader = stepped.store.reader("anybody").open(stepped.store.stream(EVENTS));
    let mut told = 0;
    while let Some(Item::Span(span)) = reader.read().unwrap() {
        for (_, record) in span.records() {
            let event: serde_json::Value = serde_json::from_slice(record.payload).unwrap();
            if event["event"] == "store_dropped" && event["stream"] == name {
                told += event["records"].as_u64().unwrap();
            }
        }
    }
    told
}

#[test]
fn drop_oldest_keeps_the_newest_and_tells_what_is_gone() {
    let disk = SimDisk::new(1);
    let (mut stepped, options) = stepped(&disk, &[("bulk", rule(WhenFull::DropOldest, 5))]);
    // What nobody has read is dropped under the eyes of a reader that stands at the beginning.
    let mut reader = stepped.store.reader("sink").open(stepped.store.stream("bulk"));
    assert_eq!(fill(&mut stepped, "bulk", 0, 5000), 5000, "sources never wait");
    assert!(bytes(&stepped) <= options.cap, "{} bytes", bytes(&stepped));
    let (records, gaps) = read_all(&mut reader);
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].from, gaps[0].to + 1, gaps[0].reason), (1, records[0].1, GapReason::Dropped));
    assert_eq!(records.last().unwrap().1, 5000);
    assert!(records.len() > 500, "what fits is there: {}", records.len());
    stepped.pass(61_000);
    stepped.pass(2000);
    assert_eq!(options.metrics.get(Metric::StoreDropped), gaps[0].to);
    assert_eq!(told(&stepped, "bulk"), gaps[0].to);
    stepped.close();
}

#[test]
fn drop_newest_keeps_the_oldest_and_its_sequences_are_spent() {
    let disk = SimDisk::new(2);
    let (mut stepped, options) = stepped(&disk, &[("extra", rule(WhenFull::DropNewest, 5))]);
    assert_eq!(fill(&mut stepped, "extra", 0, 5000), 5000, "sources never wait");
    assert!(bytes(&stepped) <= options.cap);
    stepped.pass(61_000);
    stepped.pass(2000);
    let (there, gaps) = look(&stepped, "extra");
    assert_eq!(there, (1..=there.len() as u64).collect::<Vec<_>>());
    let gone: u64 = gaps.iter().map(|gap| gap.to - gap.from + 1).sum();
    assert!(gaps.iter().all(|gap| gap.reason == GapReason::Dropped), "{gaps:?}");
    assert_eq!(there.len() as u64 + gone, 5000);
    assert_eq!((options.metrics.get(Metric::StoreDropped), told(&stepped, "extra")), (gone, gone));
    // With room again, new records follow on: the gap stays where it is.
    let stream = stepped.store.stream("extra");
    release(&stepped.store, stream, 5001);
    stepped.pass(10);
    fill(&mut stepped, "extra", 5000, 10);
    assert_eq!(look(&stepped, "extra").0, (5001..=5010).collect::<Vec<_>>());
    stepped.close();
}

#[test]
fn the_lowest_priority_loses_first_and_what_blocks_loses_nothing() {
    let disk = SimDisk::new(3);
    let streams = [("low", rule(WhenFull::DropOldest, 1)), ("high", rule(WhenFull::DropOldest, 8))];
    let (mut stepped, _) = stepped(&disk, &streams);
    fill(&mut stepped, "alarms", 0, 100);
    fill(&mut stepped, "high", 0, 300);
    fill(&mut stepped, "low", 0, 3000);
    assert_eq!(look(&stepped, "high").0.len(), 300, "the higher priority is whole");
    assert_eq!(look(&stepped, "alarms").0.len(), 100);
    assert_eq!(*look(&stepped, "low").0.last().unwrap(), 3000);
    // The higher one takes its place from the lower, then from itself; alarms are never touched.
    fill(&mut stepped, "high", 300, 3000);
    assert_eq!(look(&stepped, "low").0.len(), 0);
    assert_eq!(*look(&stepped, "high").0.last().unwrap(), 3300);
    assert_eq!(look(&stepped, "alarms").0, (1..=100).collect::<Vec<_>>());
    stepped.close();
}

#[test]
fn a_stream_at_its_own_cap_holds_up_its_own_source_only() {
    let disk = SimDisk::new(4);
    let cap = |when_full| StreamRule { cap: Some(100_000), ..rule(when_full, 5) };
    let streams = [("a", cap(WhenFull::Block)), ("b", cap(WhenFull::DropOldest)), ("c", cap(WhenFull::DropNewest))];
    let (mut stepped, _) = stepped(&disk, &streams);
    let taken = fill(&mut stepped, "a", 0, 1000);
    assert!((90..=160).contains(&taken), "{taken}");
    assert_eq!(fill(&mut stepped, "b", 0, 1000), 1000);
    assert_eq!(fill(&mut stepped, "c", 0, 1000), 1000);
    let (b, _) = look(&stepped, "b");
    assert!(b.len() <= 160 && *b.last().unwrap() == 1000, "{}", b.len());
    let (c, _) = look(&stepped, "c");
    assert!(c.len() <= 160 && c[0] == 1, "{}", c.len());
    // Room comes with the reader.
    let mut room = stepped.store.room();
    room.mark_unchanged();
    release(&stepped.store, stepped.store.stream("a"), taken + 1);
    stepped.pass(10);
    fill(&mut stepped, "b", 1000, 10);
    assert!(room.has_changed().unwrap(), "the source is told");
    assert_eq!(fill(&mut stepped, "a", taken, 10), 10);
    stepped.close();
}

#[test]
fn a_laggard_is_copied_out_of_the_way_with_its_identity() {
    let disk = SimDisk::new(5);
    let (mut stepped, options) = stepped(&disk, &[]);
    let (slow, stream) = (stepped.store.stream("slow"), stepped.store.stream("readings"));
    let mut before = Vec::new();
    for n in 0..60 {
        // A few records that nobody fetches between many that are delivered at once.
        stepped.store.offer(atom(slow, n..n + 1, 100)).unwrap();
        stepped.pass(10);
        assert_eq!(fill(&mut stepped, "readings", n * 100, 100), 100, "round {n}: the store is full for ever");
        let mut reader = stepped.store.reader("sink").open(stream);
        let (records, gaps) = read_all(&mut reader);
        assert!(records.len() >= 90 && gaps.is_empty());
        release(&stepped.store, stream, reader.next_sequence());
        stepped.pass(10);
        before = read_all(&mut stepped.store.reader("sink").open(slow)).0;
        assert_eq!(before.iter().map(|(_, _, value)| *value).collect::<Vec<_>>(), (0..=n).collect::<Vec<_>>());
    }
    assert!(options.metrics.get(Metric::StoreCarriedBytes) > 0);
    assert!(bytes(&stepped) <= options.cap);
    stepped.close();
    // Without index as with it, and after a clean stop as after none.
    for index in [true, false] {
        if !index {
            options.disk.remove(&root().join("index.redb")).unwrap();
        }
        let again = Stepped::open(&options, rules()).unwrap();
        assert_eq!(read_all(&mut again.store.reader("sink").open(slow)).0, before, "epoch, sequence and value");
        assert!(!again.findings.iter().any(Finding::is_loss), "{:?}", again.findings);
    }
}

#[test]
fn a_kill_during_a_drain_repeats_five_seconds_or_four_mebibytes_at_most() {
    let disk = SimDisk::new(6);
    let (mut stepped, options) = stepped(&disk, &[]);
    fill(&mut stepped, "readings", 0, 1000);
    let stream = stepped.store.stream("readings");
    // Time and bytes between two deliveries: by one or the other the cursor must be saved.
    for (ms, bytes, most) in [(100, 10_000, 50), (1, 100_000, 42), (700, 1000, 8)] {
        let start = stepped.store.reader("sink").open(stream).next_sequence();
        for n in 1..=100 {
            let next = start + n;
            let (position, proof) = (Position::whole(next, next - 1), Accepted::by_target());
            stepped.store.reader("sink").release(Release { stream, position, bytes, proof });
            stepped.pass(ms);
        }
        // Killed here.
        drop(stepped);
        stepped = Stepped::open(&options, rules()).unwrap();
        let repeated = start + 100 - stepped.store.reader("sink").open(stream).next_sequence();
        assert!(repeated <= most, "{ms} ms and {bytes} bytes a delivery: {repeated} repeated");
    }
}

#[test]
fn a_reader_that_goes_holds_nothing_back_and_one_that_comes_back_finds_what_is_kept() {
    let disk = SimDisk::new(7);
    let keep = StreamRule { keep: Some(Keep { bytes: 300_000 }), ..StreamRule::default() };
    let (mut both, options) = stepped(&disk, &[("readings", keep)]);
    let two = [
        rules(),
        vec![ReaderRule { name: "gone".into(), streams: Selection::All, begin: Begin::Oldest, role: Role::Sink }],
    ]
    .concat();
    fill(&mut both, "readings", 0, 100);
    both.close();
    let mut with = Stepped::open(&options, two.clone()).unwrap();
    let stream = with.store.stream("readings");
    let release_to = |stepped: &Stepped, reader: &str, next| {
        let proof = Accepted::by_target();
        stepped.store.reader(reader).release(Release {
            stream,
            position: Position::whole(next, next - 1),
            bytes: 1,
            proof,
        });
    };
    release_to(&with, "gone", 51);
    with.pass(6000);
    with.close();
    // Without it the log goes on for many times its cap.
    let mut without = Stepped::open(&options, rules()).unwrap();
    for n in 1..60 {
        assert_eq!(fill(&mut without, "readings", n * 100, 100), 100);
        release_to(&without, "sink", n * 100 + 101);
        without.pass(10);
    }
    without.close();
    with = Stepped::open(&options, two).unwrap();
    let mut back = with.store.reader("gone").open(stream);
    assert_eq!(back.next_sequence(), 51, "its cursor was kept");
    let (records, gaps) = read_all(&mut back);
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].reason), (1, 51, GapReason::Trimmed));
    assert!(records.len() >= 200 && records.last().unwrap().1 == 6000, "{}", records.len());
    with.close();
}
