//! What readings of the code found to be wrong once: each stays found.

use super::*;
use crate::platform::disk::{Disk, Mode, RealDisk};
use crate::store::log::segment::Folders;
use crate::telemetry::Metric;

fn rule(when_full: WhenFull) -> StreamRule {
    StreamRule { when_full, ..StreamRule::default() }
}

/// A release that is not worth a frame of its own.
fn nudge(store: &Store, stream: StreamId, next: u64) {
    let proof = Accepted::by_target();
    store.reader("sink").release(Release { stream, position: Position::whole(next, next - 1), bytes: 1, proof });
}

#[test]
fn a_copy_that_gains_nothing_is_not_made_again_and_again() {
    let disk = SimDisk::new(1);
    let options = options(&disk);
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    let stream = stepped.store.stream("readings");
    let mut offered = 0;
    while stepped.store.offer(atom(stream, offered..offered + 40, 1000)).is_ok() {
        offered += 40;
        stepped.pass(10);
    }
    // The cursor stands behind the middle of a section, where couriers leave it.
    for next in (3..offered).step_by(13) {
        nudge(&stepped.store, stream, next + 1);
        stepped.pass(6000);
        let carried = options.metrics.get(Metric::StoreCarriedBytes);
        assert!(carried <= options.cap, "{carried} bytes copied at {next}");
    }
    assert_eq!(read_all(&mut stepped.store.reader("sink").open(stream)).1, []);
    stepped.close();
}

#[test]
fn a_segment_that_was_freed_never_takes_a_frame_again() {
    let mut sealed = 0;
    for pass in 0..12 {
        let disk = SimDisk::new(pass.into());
        let options = Options { cap: SEGMENT * 4, ..options(&disk) };
        let mut stepped = Stepped::open(&options, rules()).unwrap();
        let (slow, quick) = (stepped.store.stream("slow"), stepped.store.stream("quick"));
        // Three segments are held by a stream that nobody fetches; the newest has only what is delivered.
        for n in 0..24 {
            stepped.store.offer(atom(slow, n * 10..n * 10 + 10, 1500)).unwrap();
            stepped.pass(10);
        }
        let mut offered = 0;
        let mut put = |stepped: &mut Stepped| {
            let mut next = atom(quick, offered..offered + 10, 1500);
            next.positions[0].0 = "quick".into();
            if stepped.store.offer(next).is_ok() {
                offered += 10;
            }
            stepped.pass(10);
            let durable = stepped.store.inner.lock().state.streams.get(&quick).map_or(1, |stream| stream.next);
            nudge(&stepped.store, quick, durable);
            offered
        };
        (0..8).for_each(|_| _ = put(&mut stepped));
        let before = {
            let shared = stepped.store.inner.lock();
            let newest = shared.segments.values().next_back().unwrap();
            assert_eq!((shared.segments.len(), newest.summary.of(slow)), (4, None));
            newest.summary.number
        };
        disk.fail_syncs_after(pass, 2);
        for _ in 0..8 {
            put(&mut stepped);
        }
        stepped.pass(40_000);
        sealed += u32::from(!stepped.store.inner.lock().segments.contains_key(&before));
        let end = put(&mut stepped);
        stepped.pass(40_000);
        let durable = stepped.store.positions("quick")[0].1.clone();
        assert_eq!((durable, disk.synced_again()), (end.to_le_bytes().to_vec(), Vec::new()), "pass {pass}");
        drop(stepped);
        disk.reboot();
        disk.new_process();
        let stepped = Stepped::open(&options, rules()).unwrap();
        let position = stepped.store.positions("quick");
        assert_eq!(position.first().map(|(_, value)| value.clone()), Some(end.to_le_bytes().to_vec()), "pass {pass}");
        stepped.close();
    }
    assert!(sealed > 6, "{sealed}");
}

#[test]
fn a_lost_checkpoint_takes_no_copied_records_along() {
    let disk = SimDisk::new(3);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store-format-1-cold/log");
    let folders = Folders::of(&root());
    for entry in std::fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        let file = disk.open(&folders.log.join(path.file_name().unwrap()), Mode::Create).unwrap();
        file.write_at(&std::fs::read(&path).unwrap(), 0).unwrap();
        file.sync().unwrap();
    }
    disk.sync_dir(&folders.log).unwrap();
    let records = |disk: &SimDisk| {
        let (store, findings) = open(disk).unwrap();
        let streams: Vec<StreamId> = store.inner.lock().state.streams.keys().copied().collect();
        let all: Vec<_> = streams.into_iter().map(|id| (id, count(&mut store.reader("anybody").open(id)))).collect();
        store.abandon();
        (all, findings)
    };
    let (before, _) = records(&disk);
    assert_eq!(before[0], (1, 9));
    // All segments but the copied one lose their checkpoints.
    let cold = folders.segment(3);
    for path in disk.list(&folders.log).unwrap().iter().filter(|path| **path != cold) {
        disk.tamper(path, |bytes| bytes[512..1024].fill(0));
    }
    let (after, findings) = records(&disk);
    // A copy of an older version has no names in it: the stream is there under a made one.
    assert_eq!(after[0], before[0], "{after:?} {findings:?}");
}

fn count(reader: &mut Reader) -> u64 {
    let mut records = 0;
    while let Some(item) = reader.read().unwrap() {
        if let Item::Span(span) = item {
            records += span.records().count() as u64;
        }
    }
    records
}

#[test]
fn a_reader_that_is_overtaken_by_copies_and_reuse_sees_no_damage() {
    let mut overtaken = 0;
    for reads in 1..30 {
        let disk = SimDisk::new(reads.into());
        let streams = vec![("slow".into(), rule(WhenFull::Block)), ("bulk".into(), rule(WhenFull::DropOldest))];
        let options = Options { streams, cap: SEGMENT * 5, ..options(&disk) };
        let mut stepped = Stepped::open(&options, rules()).unwrap();
        let (slow, bulk) = (stepped.store.stream("slow"), stepped.store.stream("bulk"));
        let mut next = 0;
        let mut more = move |stepped: &mut Stepped, rounds: u64| {
            for _ in 0..rounds {
                stepped.store.offer(atom(bulk, next..next + 10, 1000)).unwrap();
                next += 10;
                stepped.pass(10);
            }
        };
        for n in 0..4 {
            more(&mut stepped, 2);
            stepped.store.offer(atom(slow, n..n + 1, 200)).unwrap();
            stepped.pass(10);
        }
        let mut reader = stepped.store.reader("sink").open(slow);
        let metrics = options.metrics.clone();
        // While it looks for its first records their segment is copied away, and its file used again.
        disk.before_read(reads, move || {
            more(&mut stepped, 120);
            drop(stepped);
        });
        let (records, gaps) = read_all(&mut reader);
        let values: Vec<u64> = records.into_iter().map(|(_, _, value)| value).collect();
        assert_eq!((values, gaps), ((0..4).collect(), Vec::new()), "before read {reads}");
        overtaken += u32::from(!disk.take_hook() && metrics.get(Metric::StoreCarriedBytes) > 0);
    }
    assert!(overtaken > 5, "{overtaken}: the test shows nothing");
}

#[test]
fn on_a_full_disk_cursors_are_saved_every_five_seconds() {
    let disk = SimDisk::new(5);
    let options = options(&disk);
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    disk.limit(Some(disk.used()));
    let stream = stepped.store.stream("readings");
    let offered = stepped.press(stream, 1000);
    // The group that waits is tried every 30 s by now.
    for next in (2..60).step_by(3) {
        nudge(&stepped.store, stream, next);
        stepped.pass(5000);
        let durable = stepped.store.inner.lock().state.cursors[&("sink".to_string(), stream)].next;
        assert_eq!(durable, next, "offered {offered}");
    }
    drop(stepped);
    disk.new_process();
    let stepped = Stepped::open(&options, rules()).unwrap();
    assert!(stepped.store.reader("sink").open(stream).next_sequence() >= 59);
    stepped.close();
}

#[test]
fn a_stream_at_its_cap_has_room_with_the_release_not_with_its_saving() {
    let disk = SimDisk::new(6);
    for when_full in [WhenFull::Block, WhenFull::DropNewest] {
        let streams = vec![("capped".into(), StreamRule { cap: Some(50_000), ..rule(when_full) })];
        let options = Options { streams, ..options(&disk) };
        let mut stepped = Stepped::open(&options, rules()).unwrap();
        let stream = stepped.store.stream("capped");
        let mut offered = 0;
        for _ in 0..20 {
            if stepped.store.offer(atom(stream, offered..offered + 10, 1000)).is_ok() {
                offered += 10;
            }
            stepped.pass(10);
        }
        let durable = stepped.store.inner.lock().state.streams[&stream].next;
        nudge(&stepped.store, stream, durable);
        let before = options.metrics.get(Metric::StoreDropped);
        assert!(stepped.store.offer(atom(stream, offered..offered + 1, 1000)).is_ok());
        stepped.pass(10);
        assert_eq!(options.metrics.get(Metric::StoreDropped), before);
        stepped.close();
        disk.remove(&root().join("index.redb")).unwrap();
        for path in disk.list(&root().join("log")).unwrap() {
            disk.remove(&path).unwrap();
        }
    }
}

#[test]
fn a_frame_whose_sync_failed_is_not_trusted_by_the_next_process() {
    for failing in 1..5 {
        let disk = SimDisk::new(7);
        let options = options(&disk);
        let mut stepped = Stepped::open(&options, rules()).unwrap();
        let stream = stepped.store.stream("readings");
        stepped.store.offer(atom(stream, 0..5, 100)).unwrap();
        stepped.pass(10);
        disk.fail_syncs(failing);
        stepped.store.offer(atom(stream, 5..10, 100)).unwrap();
        stepped.pass(10);
        // Killed before it could write it elsewhere; the page cache still shows the frame.
        drop(stepped);
        disk.fail_syncs(0);
        disk.new_process();
        let stepped = Stepped::open(&options, rules()).unwrap();
        let told = stepped.store.positions("source")[0].1.clone();
        drop(stepped);
        disk.reboot();
        let stepped = Stepped::open(&options, rules()).unwrap();
        let (records, _) = read_all(&mut stepped.store.reader("sink").open(stream));
        assert_eq!((records.len() as u64).to_le_bytes(), told[..], "failing {failing}: the source went on from there");
        stepped.close();
    }
}

#[test]
fn a_drop_that_a_kill_left_untold_is_told_at_the_next_start() {
    let disk = SimDisk::new(8);
    let streams = vec![("bulk".into(), rule(WhenFull::DropOldest))];
    let options = Options { streams, ..options(&disk) };
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    let stream = stepped.store.stream("bulk");
    for n in 0..300 {
        stepped.store.offer(atom(stream, n * 10..n * 10 + 10, 1000)).unwrap();
        stepped.pass(10);
    }
    let floor = stepped.store.inner.lock().state.streams[&stream].floor;
    assert!(floor > 1);
    drop(stepped);
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    stepped.pass(61_000);
    stepped.pass(2000);
    let events = stepped.store.stream(crate::flow::record::EVENTS);
    let mut reader = stepped.store.reader("anybody").open(events);
    let mut told = Vec::new();
    while let Some(Item::Span(span)) = reader.read().unwrap() {
        told.extend(span.records().map(|(_, record)| String::from_utf8(record.payload.to_vec()).unwrap()));
    }
    let range = format!("\"from\":1,\"to\":{}", floor - 1);
    assert!(told.iter().any(|event| event.contains("store_dropped") && event.contains(&range)), "{told:?}");
    stepped.close();
}

#[test]
fn rot_in_a_sealed_segment_is_found_without_a_reader() {
    let disk = SimDisk::new(9);
    let options = options(&disk);
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    let stream = stepped.store.stream("readings");
    for n in 0..60 {
        stepped.store.offer(atom(stream, n * 5..n * 5 + 5, 1500)).unwrap();
        stepped.pass(10);
    }
    let sealed = disk.list(&root().join("log")).unwrap()[0].clone();
    disk.tamper(&sealed, |bytes| bytes[20_000] ^= 1);
    stepped.pass(600_000);
    for _ in 0..200 {
        stepped.pass(10_000);
    }
    assert_eq!(options.metrics.get(Metric::StoreDamage), 1);
    assert!(options.metrics.get(Metric::StoreScrubbedBytes) > SEGMENT);
    assert!(!disk.list(&root().join("damaged")).unwrap().is_empty());
    let (_, gaps) = read_all(&mut stepped.store.reader("sink").open(stream));
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(options.metrics.get(Metric::StoreDamage), 1, "told once, whoever finds it");
    stepped.close();
}

/// On 32 bits `usize` ends at 4 GB; offsets may not.
#[test]
fn offsets_beyond_four_gigabytes_are_what_they_say() {
    let dir = tempfile::tempdir_in("target").unwrap();
    let path = dir.path().join("large");
    let file = RealDisk.open(&path, Mode::Create).unwrap();
    let far = (5 << 30) + 7;
    file.write_at(b"here", far).unwrap();
    file.write_at(b"near", far & 0xffff_ffff).unwrap();
    file.sync().unwrap();
    let mut bytes = [0; 4];
    assert_eq!(file.read_at(&mut bytes, far).unwrap(), 4);
    assert_eq!((&bytes, file.size().unwrap()), (b"here", far + 4));
}
