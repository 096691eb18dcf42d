//! Full, failing, read-only and slow disks, simulated at every operation; `tests/it/disk.rs` has
//! the real ones.

use super::*;
use crate::platform::disk::Disk;
use crate::telemetry::{Metric, Metrics};

/// Works while a disk misbehaves from some operation on, then recovers; what was settled is there.
fn survives(seed: u64, begin: impl Fn(&SimDisk), end: impl Fn(&SimDisk), restart: bool) {
    let disk = SimDisk::new(seed);
    let options = options(&disk);
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    let stream = stepped.store.stream("readings");
    let mut offered = 0;
    let mut work = |stepped: &mut Stepped, rounds: u64| {
        for _ in 0..rounds {
            if stepped.store.offer(atom(stream, offered..offered + 5, 1000)).is_ok() {
                offered += 5;
            }
            stepped.pass(50);
        }
    };
    work(&mut stepped, seed % 40);
    begin(&disk);
    work(&mut stepped, 30);
    if restart {
        // Whatever state it is in, a kill and a start with the trouble still there lose nothing; a
        // device that fails may refuse the start, and the next one finds everything.
        let told = stepped.store.positions("source").first().map(|(_, value)| value.clone());
        drop(stepped);
        disk.new_process();
        let stepped = Stepped::open(&options, rules()).or_else(|_| {
            end(&disk);
            disk.new_process();
            Stepped::open(&options, rules())
        });
        let stepped = stepped.unwrap();
        let position = stepped.store.positions("source").first().map(|(_, value)| value.clone());
        let number = |value: &Option<Vec<u8>>| {
            value.as_ref().map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()))
        };
        assert!(number(&position) >= number(&told), "seed {seed}: {told:?}, {position:?}");
        let (records, gaps) = read_all(&mut stepped.store.reader("sink").open(stream));
        assert!(gaps.is_empty(), "seed {seed}: {gaps:?}");
        assert_eq!(records.len() as u64, number(&position), "seed {seed}: positions and records agree");
        return;
    }
    end(&disk);
    // It recovers by itself within the longest wait between two tries.
    stepped.pass(31_000);
    work(&mut stepped, 5);
    stepped.pass(31_000);
    let durable = *stepped.store.durable().borrow();
    let (records, gaps) = read_all(&mut stepped.store.reader("sink").open(stream));
    assert!(gaps.is_empty(), "seed {seed}: {gaps:?}");
    let values: Vec<u64> = records.iter().map(|(_, _, value)| *value).collect();
    assert_eq!(values, (0..offered).collect::<Vec<_>>(), "seed {seed}: all that was taken in is durable, {durable:?}");
    stepped.close();
    assert_eq!(open(&disk).unwrap().1.iter().filter(|finding| finding.is_loss()).count(), 0, "seed {seed}");
}

#[test]
fn a_disk_that_another_program_fills_is_no_trouble_inside_the_reserve_and_blocks_beyond() {
    for seed in 0..60 {
        survives(seed, |disk| disk.limit(Some(disk.used())), |disk| disk.limit(None), seed % 3 == 0);
    }
}

#[test]
fn a_full_disk_is_worked_on_inside_the_reserve() {
    let disk = SimDisk::new(3);
    let options = Options { reserve: SEGMENT * 6, ..options(&disk) };
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    disk.limit(Some(disk.used()));
    let stream = stepped.store.stream("readings");
    for n in 0..40 {
        stepped.store.offer(atom(stream, n * 10..n * 10 + 10, 1000)).unwrap();
        stepped.pass(10);
    }
    assert_eq!(read_all(&mut stepped.store.reader("sink").open(stream)).0.len(), 400);
    stepped.close();
}

#[test]
fn a_full_disk_drains_by_itself() {
    let disk = SimDisk::new(4);
    let options = options(&disk);
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    disk.limit(Some(disk.used()));
    let stream = stepped.store.stream("readings");
    let offered = stepped.press(stream, 10);
    let mut reader = stepped.store.reader("sink").open(stream);
    for _ in 0..400 {
        read_all(&mut reader);
        release(&stepped.store, stream, reader.next_sequence());
        stepped.pass(1000);
    }
    assert_eq!(reader.next_sequence(), offered + 1, "the disk is still full, and the store is empty");
    stepped.close();
}

#[test]
fn a_read_only_mount_blocks_and_its_end_unblocks() {
    for seed in 0..20 {
        survives(seed, |disk| disk.read_only(true), |disk| disk.read_only(false), false);
    }
}

#[test]
fn failing_writes_and_syncs_at_any_moment_lose_nothing() {
    for seed in 0..80 {
        let count = 1 + u32::try_from(seed).unwrap() % 7;
        survives(seed, |disk| disk.fail_writes(count), |disk| disk.fail_writes(0), seed % 4 == 0);
        survives(seed, |disk| disk.fail_syncs(count), |disk| disk.fail_syncs(0), seed % 4 == 0);
    }
}

#[test]
fn a_file_whose_sync_failed_is_never_written_again() {
    let disk = SimDisk::new(9);
    let mut stepped = Stepped::open(&options(&disk), rules()).unwrap();
    let stream = stepped.store.stream("readings");
    stepped.store.offer(atom(stream, 0..5, 100)).unwrap();
    stepped.pass(10);
    let first = disk.list(&root().join("log")).unwrap()[0].clone();
    disk.fail_syncs(1);
    stepped.store.offer(atom(stream, 5..10, 100)).unwrap();
    stepped.pass(10);
    let mut before = Vec::new();
    disk.tamper(&first, |bytes| before.clone_from(bytes));
    for n in 2..20 {
        stepped.store.offer(atom(stream, n * 5..n * 5 + 5, 100)).unwrap();
        stepped.pass(10);
    }
    disk.tamper(&first, |bytes| assert!(*bytes == before, "it was written to"));
    assert_eq!(read_all(&mut stepped.store.reader("sink").open(stream)).0.len(), 100);
    stepped.close();
}

/// Start-up after an unclean stop reads little, however much there is: at 100 MB here, and at what
/// `FOREBAY_STARTUP_MIB` says (`tests/run --long`: 1 and 10 GB).
#[test]
fn a_start_reads_sixteen_mebibytes_at_most_before_the_first_append() {
    let mib = std::env::var("FOREBAY_STARTUP_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let dir = tempfile::tempdir_in("target").unwrap();
    let metrics = Metrics::new();
    let settings = || Options { cap: u64::MAX, linger_ms: 0, metrics: metrics.clone(), ..Options::default() };
    let (store, _) = Store::open(dir.path(), &settings(), rules()).unwrap();
    let stream = store.stream("readings");
    let disk = SimDisk::new(0);
    for n in 0..mib {
        assert!(put(&store, &disk, atom(stream, n * 128..n * 128 + 128, 8192)));
    }
    store.abandon();
    drop(store);
    for index in [true, false] {
        if !index {
            std::fs::remove_file(dir.path().join("index.redb")).unwrap();
        }
        let (store, findings) = Store::open(dir.path(), &settings(), rules()).unwrap();
        let read = metrics.get(Metric::StoreReadBytes);
        eprintln!("{mib} MiB, index {index}: {read} bytes read to open; {findings:?}");
        assert!(read <= 16 << 20, "{read} bytes");
        assert_eq!(store.reader("sink").backlog().records, mib * 128);
        store.abandon();
    }
}

/// A backlog drains back to the reserve: 100 MB here, what `FOREBAY_BACKLOG_MIB` says elsewhere
/// (`tests/run --long`: 2 GB).
#[test]
fn a_backlog_drains_back_to_the_reserve() {
    let mib = std::env::var("FOREBAY_BACKLOG_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let dir = tempfile::tempdir_in("target").unwrap();
    let reserve = 32 << 20;
    let options = Options { cap: u64::MAX, linger_ms: 0, reserve, ..Options::default() };
    let (store, _) = Store::open(dir.path(), &options, rules()).unwrap();
    let (stream, disk) = (store.stream("readings"), SimDisk::new(0));
    for n in 0..mib {
        assert!(put(&store, &disk, atom(stream, n * 128..n * 128 + 128, 8192)));
    }
    let held = || -> u64 {
        let files = ["log", "spare"].iter().flat_map(|folder| std::fs::read_dir(dir.path().join(folder)).unwrap());
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    assert!(held() >= mib << 20);
    let mut reader = store.reader("sink").open(stream);
    while let Some(item) = reader.read().unwrap() {
        assert!(matches!(item, Item::Span(_)), "{item:?}");
        release(&store, stream, reader.next_sequence());
    }
    assert_eq!(reader.next_sequence(), mib * 128 + 1);
    store.close();
    // The reserve, the segment that is appended to, and one that the last release has left.
    assert!(held() <= reserve + (16 << 20), "{} bytes stay of {mib} MiB", held());
}
