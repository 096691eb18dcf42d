//! What users of other collectors complain of, each with the name of its report. `docs/design/complaints.md`
//! has the list, and where the others of it are tested.

use super::*;
use crate::platform::disk::Disk;
use crate::telemetry::Metric;

fn stepped(disk: &SimDisk) -> Stepped {
    Stepped::open(&options(disk), rules()).unwrap()
}

/// Commits so many atoms of five records, the first with number `first`.
fn fill(stepped: &mut Stepped, first: u64, atoms: u64, size: usize) {
    let stream = stepped.store.stream("readings");
    for n in 0..atoms {
        let at = first + n * 5;
        stepped.store.offer(atom(stream, at..at + 5, size)).unwrap();
        stepped.pass(10);
    }
}

fn values(stepped: &Stepped) -> Vec<u64> {
    let stream = stepped.store.stream("readings");
    read_all(&mut stepped.store.reader("sink").open(stream)).0.into_iter().map(|(_, _, value)| value).collect()
}

fn position(stepped: &Stepped) -> u64 {
    let saved = stepped.store.positions("source");
    saved.first().map_or(0, |(_, value)| u64::from_le_bytes(value[..].try_into().unwrap()))
}

#[test]
fn vector_17644_a_hard_reset_never_asks_for_the_buffer_to_be_erased() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        fill(&mut stepped(&disk), 0, 10, 1000);
        disk.cut_after(seed % 13 + 1);
        let _ = Stepped::open(&options(&disk), rules()).map(|mut again| again.pass(10));
        disk.reboot();
        // And garbage where the next frame would go.
        let last = disk.list(&root().join("log")).unwrap().pop().unwrap();
        disk.tamper(&last, |bytes| bytes[150_000..].fill(0x5a));
        let mut again = stepped(&disk);
        let next = position(&again);
        assert_eq!(next, 50, "seed {seed}");
        fill(&mut again, next, 1, 1000);
        assert_eq!(values(&again), (0..55).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn vector_25639_write_crash_flush_loses_nothing_that_was_acknowledged() {
    let disk = SimDisk::new(1);
    let mut first = stepped(&disk);
    fill(&mut first, 0, 4, 500);
    // Written, not committed; then the crash; then the next life commits.
    let stream = first.store.stream("readings");
    first.store.offer(atom(stream, 20..25, 500)).unwrap();
    drop(first);
    disk.reboot();
    let mut again = stepped(&disk);
    assert_eq!((values(&again).len(), position(&again)), (20, 20), "the source sends the rest again");
    fill(&mut again, 20, 1, 500);
    assert_eq!(values(&again), (0..25).collect::<Vec<_>>());
}

#[test]
fn vector_22489_nothing_is_acknowledged_before_its_fsync() {
    let disk = SimDisk::new(2);
    let mut stepped = stepped(&disk);
    let stream = stepped.store.stream("readings");
    let ticket = stepped.store.offer(atom(stream, 0..5, 500)).unwrap();
    disk.fail_syncs(u32::MAX);
    for _ in 0..20 {
        stepped.pass(5000);
        assert!(!stepped.store.durable().borrow().covers(ticket), "the sync fails, and it is told safe");
    }
    disk.fail_syncs(0);
    stepped.pass(31_000);
    assert!(stepped.store.durable().borrow().covers(ticket));
}

#[test]
fn vector_26035_a_start_does_not_load_the_backlog() {
    let disk = SimDisk::new(3);
    let options = Options { cap: SEGMENT * 200, ..options(&disk) };
    let mut first = Stepped::open(&options, rules()).unwrap();
    fill(&mut first, 0, 400, 8000);
    drop(first);
    let before = options.metrics.get(Metric::StoreReadBytes);
    let again = Stepped::open(&options, rules()).unwrap();
    assert_eq!(again.store.reader("sink").backlog().records, 2000);
    let read = options.metrics.get(Metric::StoreReadBytes);
    assert!(read < 3 * SEGMENT && before != read, "{read} bytes of 16 MB were read");
}

#[test]
fn telegraf_18528_a_corrupt_log_never_stops_the_start_and_otel_49735_35899_nor_does_a_corrupt_index() {
    for seed in 0..30_u64 {
        let disk = SimDisk::new(seed);
        fill(&mut stepped(&disk), 0, 60, 1500);
        for path in disk.list(&root().join("log")).unwrap().into_iter().chain([root().join("index.redb")]) {
            disk.tamper(&path, |bytes| {
                for at in (0..bytes.len()).step_by(1013 + usize::try_from(seed).unwrap() * 400) {
                    bytes[at] ^= 0xff;
                }
            });
        }
        let mut again = stepped(&disk);
        let next = position(&again).max(values(&again).last().map_or(0, |last| last + 1));
        let stream = again.store.stream("readings");
        let ticket = again.store.offer(atom(stream, next..next + 5, 500)).unwrap();
        again.pass(10);
        assert!(again.store.durable().borrow().covers(ticket), "seed {seed}: it takes data");
    }
}

#[test]
fn telegraf_16981_and_otel_15324_all_of_an_outage_is_delivered_from_its_first_record_on() {
    let disk = SimDisk::new(5);
    for life in 0..12 {
        // Stops in order and kills take turns while nothing can be delivered.
        let mut stepped = stepped(&disk);
        fill(&mut stepped, life * 50, 10, 1500);
        if life % 2 == 0 {
            stepped.close();
        }
    }
    let mut last = stepped(&disk);
    assert_eq!(values(&last), (0..600).collect::<Vec<_>>());
    last.pass(1);
}

#[test]
fn telegraf_14566_and_fluent_bit_6995_a_position_is_never_ahead_of_its_data_nor_lost() {
    for cut in 1..120 {
        let disk = SimDisk::new(cut);
        let mut first = stepped(&disk);
        disk.cut_after(cut);
        let stream = first.store.stream("readings");
        let mut settled = 0;
        for n in 0..20 {
            let ticket = first.store.offer(atom(stream, n * 5..n * 5 + 5, 900)).ok();
            first.pass(10);
            if ticket.is_some_and(|ticket| first.store.durable().borrow().covers(ticket)) {
                settled = n * 5 + 5;
            }
        }
        drop(first);
        disk.reboot();
        let again = stepped(&disk);
        let there = values(&again);
        assert!(position(&again) >= settled);
        assert_eq!(there, (0..position(&again)).collect::<Vec<_>>(), "cut {cut}");
    }
}

#[test]
fn fluent_bit_11847_with_every_old_chunk_corrupt_new_data_is_collected_and_delivered() {
    let disk = SimDisk::new(7);
    fill(&mut stepped(&disk), 0, 60, 1500);
    for path in disk.list(&root().join("log")).unwrap() {
        disk.tamper(&path, |bytes| bytes[2048..].fill(0xee));
    }
    let mut again = stepped(&disk);
    assert!(!again.findings.is_empty(), "it is said");
    let next = again.store.reader("sink").open(1).next_sequence().max(position(&again));
    let stream = again.store.stream("readings");
    again.store.offer(atom(stream, next + 1000..next + 1005, 500)).unwrap();
    again.pass(10);
    assert!(values(&again).ends_with(&[next + 1000, next + 1001, next + 1002, next + 1003, next + 1004]));
}

#[test]
fn contrib_31074_a_checkpoint_never_advances_before_the_export() {
    let disk = SimDisk::new(8);
    let mut first = stepped(&disk);
    fill(&mut first, 0, 10, 500);
    assert_eq!(values(&first).len(), 50, "read, and not delivered");
    first.pass(60_000);
    first.close();
    assert_eq!(values(&stepped(&disk)).len(), 50);
}

#[test]
fn iotedge_1274_the_flash_gets_little_more_than_the_data() {
    let disk = SimDisk::new(9);
    let options = Options { segment: 8 << 20, cap: 64 << 20, reserve: 16 << 20, ..options(&disk) };
    let mut stepped = Stepped::open(&options, rules()).unwrap();
    let before = (options.metrics.get(Metric::StoreWrittenBytes), options.metrics.get(Metric::StoreSyncs));
    let stream = stepped.store.stream("readings");
    for n in 0..100 {
        stepped.store.offer(atom(stream, n * 60..n * 60 + 60, 4000)).unwrap();
        stepped.pass(10);
    }
    let written = options.metrics.get(Metric::StoreWrittenBytes) - before.0;
    let flushes = options.metrics.get(Metric::StoreSyncs) - before.1;
    let payload = options.metrics.get(Metric::StorePayloadBytes);
    assert!(written * 100 < payload * 103, "{written} bytes for {payload}, which do not compress");
    // One flush a commit, and a few at each of the three new segments.
    assert!(flushes <= 100 + 3 * 8, "{flushes} flushes for 100 commits");
}

#[test]
fn iotedge_961_behind_a_bad_block_everything_is_still_sent() {
    let disk = SimDisk::new(10);
    fill(&mut stepped(&disk), 0, 60, 1500);
    let first = disk.list(&root().join("log")).unwrap()[0].clone();
    disk.tamper(&first, |bytes| bytes[20_480..20_992].fill(0));
    let there = values(&stepped(&disk));
    assert_eq!((there.len(), there.last()), (295, Some(&299)));
}

#[test]
fn greengrass_21_a_full_stream_takes_data_again_as_soon_as_there_is_room() {
    let disk = SimDisk::new(11);
    let mut stepped = stepped(&disk);
    let stream = stepped.store.stream("readings");
    let mut offered = 0;
    for _ in 0..300 {
        if stepped.store.offer(atom(stream, offered..offered + 5, 2000)).is_ok() {
            offered += 5;
        }
        stepped.pass(10);
    }
    let room = stepped.store.room();
    let all = read_all(&mut stepped.store.reader("sink").open(stream)).0.len() as u64;
    release(&stepped.store, stream, all + 1);
    stepped.pass(10);
    assert!(room.has_changed().unwrap());
    assert!(stepped.store.offer(atom(stream, offered..offered + 5, 2000)).is_ok());
}
