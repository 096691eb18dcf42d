//! Stores of format 1, kept in the repository: they always open and read the same. The second one
//! has a cold segment, a missing range, and records that were given up.

use super::*;
use crate::platform::disk::{Disk, RealDisk};
use crate::store::inspect;
use crate::store::log::layout::{FORMAT, SEGMENT_HEADER, checksum};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name)
}

/// Copies a store's segments; zeros at the end of a file are left out, reading supplies them.
fn keep(store: &Path, name: &str) {
    let to = fixture(name).join("log");
    std::fs::create_dir_all(&to).unwrap();
    for from in RealDisk.list(&store.join("log")).unwrap() {
        let mut bytes = std::fs::read(&from).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes.truncate(used.div_ceil(512) * 512);
        std::fs::write(to.join(from.file_name().unwrap()), bytes).unwrap();
    }
}

/// A copy of a fixture in a folder of its own.
fn restored(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("log")).unwrap();
    for from in RealDisk.list(&fixture(name).join("log")).unwrap() {
        std::fs::copy(&from, dir.path().join("log").join(from.file_name().unwrap())).unwrap();
    }
    dir
}

fn real(dir: &Path) -> (Store, Vec<Finding>) {
    let options = Options {
        disk: Arc::new(RealDisk),
        segment: SEGMENT,
        reserve: SEGMENT,
        cap: SEGMENT * 8,
        linger_ms: 0,
        ..Options::default()
    };
    Store::open(dir, &options, rules()).unwrap()
}

/// Writes the fixture of a new format: `FOREBAY_WRITE_GOLDEN=1 cargo test --lib golden`.
fn write_golden() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::new(0);
    let (store, _) = real(dir.path());
    let stream = store.stream("readings");
    for n in 0..4 {
        assert!(put(&store, &disk, atom(stream, n * 3..n * 3 + 3, 200)));
    }
    release(&store, stream, 4);
    store.close();
    keep(dir.path(), "store-format-1");
}

#[test]
fn the_golden_store_opens_and_reads_the_same() {
    if std::env::var_os("FOREBAY_WRITE_GOLDEN").is_some() {
        write_golden();
    }
    let dir = restored("store-format-1");
    let view = inspect::view(dir.path()).unwrap().unwrap();
    assert!(view.clean && view.findings.is_empty(), "{view:?}");
    assert_eq!((view.streams[0].name.as_str(), view.streams[0].last), ("readings", 12));
    let verified = inspect::verify(dir.path()).unwrap().unwrap();
    assert_eq!((verified.records, verified.problems.len()), (12, 0), "{verified:?}");
    let (store, _) = real(dir.path());
    let stream = store.stream("readings");
    let (records, gaps) = read_all(&mut store.reader("sink").open(stream));
    assert_eq!(gaps.len(), 0);
    let expected: Vec<(u64, u64)> = (3..12).map(|value| (value + 1, value)).collect();
    assert_eq!(records.iter().map(|(_, sequence, value)| (*sequence, *value)).collect::<Vec<_>>(), expected);
    assert_eq!(store.positions("source"), [("part".to_string(), 12_u64.to_le_bytes().to_vec())]);
    store.close();
}

/// The second fixture: as above, with `FOREBAY_WRITE_GOLDEN=1`.
fn write_cold() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::new(0);
    let full = StreamRule { cap: Some(10), when_full: WhenFull::DropNewest, ..StreamRule::default() };
    let options = Options { segment: SEGMENT, reserve: SEGMENT, linger_ms: 0, ..Options::default() };
    let options = Options { streams: vec![("extra".into(), full)], ..options };
    let (store, _) = Store::open(dir.path(), &options, rules()).unwrap();
    let (stream, extra) = (store.stream("readings"), store.stream("extra"));
    for n in 0..4 {
        let mut both = atom(stream, n * 3..n * 3 + 3, 200);
        both.parts.push(atom(extra, n..n + 1, 50).parts.remove(0));
        assert!(put(&store, &disk, both));
    }
    store.close();
    // The payload of value 4 rots; the repair copies what is good into a cold segment.
    let path = RealDisk.list(&dir.path().join("log")).unwrap().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let wanted = record(4, 200).payload[..20].to_vec();
    let at = bytes.windows(20).position(|window| window == wanted).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(Store::repair(dir.path()).unwrap().0.rewritten, 1);
    keep(dir.path(), "store-format-1-cold");
}

#[test]
fn the_golden_store_with_a_cold_segment_reads_the_same() {
    if std::env::var_os("FOREBAY_WRITE_GOLDEN").is_some() {
        write_cold();
    }
    let dir = restored("store-format-1-cold");
    let verified = inspect::verify(dir.path()).unwrap().unwrap();
    assert_eq!((verified.problems, verified.given_up), (Vec::new(), 3));
    assert_eq!(verified.missing, [("readings".to_string(), 4, 6)]);
    let (store, _) = real(dir.path());
    let there = |name: &str| {
        let (records, gaps) = read_all(&mut store.reader("sink").open(store.stream(name)));
        let gaps: Vec<_> = gaps.iter().map(|gap| (gap.from, gap.to, gap.reason)).collect();
        (records.iter().map(|(_, sequence, _)| *sequence).collect::<Vec<_>>(), gaps)
    };
    assert_eq!(there("readings"), (vec![1, 2, 3, 7, 8, 9, 10, 11, 12], vec![(4, 6, GapReason::Damaged)]));
    let (first, given_up) = there("extra");
    assert_eq!(first, [1]);
    assert!(given_up.iter().all(|(.., reason)| *reason == GapReason::Dropped));
    assert_eq!(given_up.iter().map(|(from, to, _)| to - from + 1).sum::<u64>(), 3);
    store.close();
}

#[test]
fn a_bad_last_frame_of_a_sealed_segment_costs_only_what_does_not_read() {
    use crate::platform::disk::{Disk, Mode, RealDisk};
    use crate::store::log::layout::Kind;
    use crate::store::log::place::placed;
    use crate::store::log::walk::{Step, Walk};
    let dir = tempfile::tempdir().unwrap();
    let options = Options { cap: SEGMENT * 8, reserve: 0, linger_ms: 0, segment: SEGMENT, ..Options::default() };
    let (store, _) = Store::open(dir.path(), &options, rules()).unwrap();
    let (stream, small) = (store.stream("readings"), store.stream("small"));
    let durable = store.durable();
    for n in 0..80 {
        let mut both = atom(stream, n * 5..(n + 1) * 5, 1500);
        both.parts.push(atom(small, n * 60..(n + 1) * 60, 40).parts.remove(0));
        let ticket = store.offer(both).unwrap();
        while !durable.borrow().covers(ticket) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    store.close();
    let before = inspect::verify(dir.path()).unwrap().unwrap();
    assert!(before.problems.is_empty() && before.missing.is_empty(), "{before:?}");
    let path = RealDisk.list(&dir.path().join("log")).unwrap().remove(0);
    let file = RealDisk.open(&path, Mode::Write).unwrap();
    let id = inspect::view(dir.path()).unwrap().unwrap().id;
    let mut walk = Walk::new(id, file.clone(), 1, 0, file.size().unwrap(), true);
    let mut last = None;
    while let Step::Frame(found) = walk.step().unwrap() {
        last = Some(found).filter(|found| found.header.kind == Kind::Commit).or(last);
    }
    let (_, sections) = placed(&id, &last.unwrap()).unwrap();
    let bad = sections.iter().find(|section| section.head.stream == stream).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, bad.end() - 1).unwrap();
    file.write_at(&[byte[0] ^ 1], bad.end() - 1).unwrap();
    let gone = vec![("readings".to_string(), bad.head.first, bad.head.last())];
    let verified = inspect::verify(dir.path()).unwrap().unwrap();
    assert_eq!((verified.missing, before.records - verified.records), (gone.clone(), u64::from(bad.head.count)));
    // What can be exported, and what is left after a repair, is the same.
    let exported = |name: &str| {
        let mut count = 0;
        let take = |_: &str, section: inspect::Section| {
            count += section.records().count();
            Ok(true)
        };
        inspect::sections(dir.path(), |known| known == name, 0, take).unwrap();
        count
    };
    assert_eq!((exported("small"), exported("readings")), (80 * 60, 80 * 5 - 5));
    Store::repair(dir.path()).unwrap();
    assert_eq!((exported("small"), exported("readings")), (80 * 60, 80 * 5 - 5));
    let repaired = inspect::verify(dir.path()).unwrap().unwrap();
    assert_eq!((repaired.missing, repaired.problems), (gone, Vec::new()));
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let dir = restored("store-format-1");
    let path = RealDisk.list(&dir.path().join("log")).unwrap().remove(0);
    let rewrite = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes[..SEGMENT_HEADER]);
        std::fs::write(&path, &bytes).unwrap();
        bytes
    };
    let newer = rewrite(&|header| {
        header[8] = FORMAT + 1;
        let store: [u8; 16] = header[16..32].try_into().unwrap();
        let crc = checksum(&store, &header[..SEGMENT_HEADER - 4]);
        header[SEGMENT_HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    });
    let options = Options { disk: Arc::new(RealDisk), segment: SEGMENT, ..Options::default() };
    let said = Store::open(dir.path(), &options, rules()).err().unwrap().to_string();
    assert!(said.contains("has format 2, of a newer Forebay; this version knows format 1"), "{said}");
    assert!(inspect::view(dir.path()).err().unwrap().to_string().contains("of a newer Forebay"));
    assert!(!dir.path().join("damaged").read_dir().is_ok_and(|mut files| files.next().is_some()));
    assert_eq!(std::fs::read(&path).unwrap(), newer);
    // A version that rot has written is damage.
    rewrite(&|header| header[8] = FORMAT + 2);
    assert!(Store::open(dir.path(), &options, rules()).is_ok());
}
