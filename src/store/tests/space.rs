//! Full stores, freed segments, failing disks.

use super::*;
use crate::platform::disk::Disk;
use crate::telemetry::Metric;

#[test]
fn a_full_store_blocks_and_drains_to_empty_by_itself() {
    let disk = SimDisk::new(7);
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    let mut offered = 0;
    // The committer takes what it can; then offers are refused for good.
    let mut refusals = 0;
    while refusals < 200 {
        match store.offer(atom(stream, offered..offered + 10, 3000)) {
            Ok(_) => offered += 10,
            Err(OfferError::Full(_)) => {
                refusals += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let bytes: u64 = store.inner.lock().segments.values().map(|segment| segment.summary.size).sum();
    assert!(bytes <= SEGMENT * 8, "{bytes} bytes of segments are more than the cap");
    // A silent source: only the reader moves.
    let mut reader = store.reader("sink").open(stream);
    let mut seen = 0;
    for _ in 0..100_000 {
        match reader.read().unwrap() {
            Some(Item::Span(span)) => {
                seen += span.records().count() as u64;
                release(&store, stream, span.last() + 1);
            }
            Some(Item::Gap(gap)) => panic!("{gap:?}"),
            None if seen == offered => break,
            None => std::thread::sleep(Duration::from_micros(100)),
        }
    }
    assert_eq!(seen, offered);
    store.close();
    let left = disk.list(&root().join("log")).unwrap().len();
    assert!(left <= 2, "{left} segments stay after the drain");
    assert!(disk.list(&root().join("spare")).unwrap().len() <= 3, "what is above the reserve goes back");
}

#[test]
fn a_failed_sync_moves_on_to_a_new_segment_and_loses_nothing() {
    let disk = SimDisk::new(8);
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    assert!(put(&store, &disk, atom(stream, 0..5, 100)));
    disk.fail_syncs(1);
    assert!(put(&store, &disk, atom(stream, 5..10, 100)));
    assert!(put(&store, &disk, atom(stream, 10..15, 100)));
    let (records, gaps) = read_all(&mut store.reader("sink").open(stream));
    assert_eq!((records.len(), gaps.len()), (15, 0));
    store.abandon();
    disk.reboot();
    let (store, findings) = open(&disk).unwrap();
    assert_eq!(read_all(&mut store.reader("sink").open(stream)).0.len(), 15, "{findings:?}");
    store.close();
}

#[test]
fn one_commit_is_one_flush() {
    let disk = SimDisk::new(9);
    let options = options(&disk);
    let metrics = options.metrics.clone();
    let (store, _) = Store::open(&root(), &options, rules()).unwrap();
    let (a, b) = (store.stream("a"), store.stream("b"));
    let before = metrics.get(Metric::StoreSyncs);
    for n in 0..10 {
        let mut both = atom(a, n..n + 1, 50);
        both.parts.push(atom(b, n..n + 1, 50).parts.remove(0));
        assert!(put(&store, &disk, both));
    }
    assert_eq!(metrics.get(Metric::StoreSyncs) - before, 10);
    store.close();
}

#[test]
fn kept_data_of_a_stream_without_reader_is_bounded() {
    let disk = SimDisk::new(10);
    let mut options = options(&disk);
    options.streams = vec![("forebay.dead-letters".into(), kept(1000))];
    let (store, _) = Store::open(&root(), &options, rules()).unwrap();
    let dead = store.stream("forebay.dead-letters");
    for n in 0..300 {
        assert!(put(&store, &disk, atom(dead, n * 4..n * 4 + 4, 3000)), "{n}");
    }
    store.close();
    assert!(disk.list(&root().join("log")).unwrap().len() <= 3);
}

#[test]
fn a_few_dead_letters_never_fill_the_store() {
    let disk = SimDisk::new(11);
    let mut options = options(&disk);
    options.streams = vec![("forebay.dead-letters".into(), kept(SEGMENT * 4))];
    let (store, _) = Store::open(&root(), &options, rules()).unwrap();
    let (stream, dead) = (store.stream("readings"), store.stream("forebay.dead-letters"));
    let mut reader = store.reader("sink").open(stream);
    // One tiny dead letter for each segment's worth of readings, which are all delivered.
    for n in 0..40 {
        assert!(put(&store, &disk, atom(dead, n..n + 1, 20)), "round {n}: the store is full for ever");
        for part in 0..2 {
            let first = n * 20 + part * 10;
            assert!(put(&store, &disk, atom(stream, first..first + 10, 6000)), "round {n}");
        }
        let (records, gaps) = read_all(&mut reader);
        assert!(gaps.is_empty() && !records.is_empty());
        release(&store, stream, reader.next_sequence());
    }
    store.close();
}

#[test]
fn a_disk_that_keeps_failing_adds_no_segments() {
    let disk = SimDisk::new(12);
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    assert!(put(&store, &disk, atom(stream, 0..5, 100)));
    // Every append fails, every roll passes: syncs alternate between the two.
    disk.fail_every_other_sync(9);
    assert!(put_within(&store, &disk, atom(stream, 5..10, 100), 400_000));
    assert!(disk.list(&root().join("log")).unwrap().len() <= 3);
    let (records, gaps) = read_all(&mut store.reader("sink").open(stream));
    assert_eq!((records.len(), gaps.len()), (10, 0));
    store.close();
    let (store, _) = open(&disk).unwrap();
    assert_eq!(read_all(&mut store.reader("sink").open(stream)).0.len(), 10);
    store.close();
}

#[test]
fn a_reader_that_began_at_the_newest_skips_nothing_over_a_restart() {
    let disk = SimDisk::new(13);
    let newest = || {
        let late = ReaderRule { name: "late".into(), streams: Selection::All, begin: Begin::Newest, role: Role::Sink };
        [rules(), vec![late]].concat()
    };
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    assert!(put(&store, &disk, atom(stream, 0..5, 50)));
    store.close();
    let (store, _) = Store::open(&root(), &options(&disk), newest()).unwrap();
    assert!(put(&store, &disk, atom(stream, 5..8, 50)));
    store.abandon();
    disk.reboot();
    let (store, _) = Store::open(&root(), &options(&disk), newest()).unwrap();
    let (records, _) = read_all(&mut store.reader("late").open(stream));
    assert_eq!(records.iter().map(|(_, _, value)| *value).collect::<Vec<_>>(), [5, 6, 7]);
    store.close();
}
