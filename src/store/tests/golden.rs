//! A store of format 1, kept in the repository: it always opens and reads the same.

use super::*;
use crate::platform::disk::{Disk, RealDisk};
use crate::store::inspect;

fn fixture() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/store-format-1"))
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
    let to = fixture().join("log");
    std::fs::create_dir_all(&to).unwrap();
    let from = RealDisk.list(&dir.path().join("log")).unwrap().remove(0);
    let mut bytes = std::fs::read(from).unwrap();
    // Zeros at the end of the file are left out; reading supplies them.
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(used.div_ceil(512) * 512);
    std::fs::write(to.join("000000000001.seg"), bytes).unwrap();
}

#[test]
fn the_golden_store_opens_and_reads_the_same() {
    if std::env::var_os("FOREBAY_WRITE_GOLDEN").is_some() {
        write_golden();
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("log")).unwrap();
    let name = "log/000000000001.seg";
    std::fs::copy(fixture().join(name), dir.path().join(name)).unwrap();
    let view = inspect::view(dir.path()).unwrap().unwrap();
    assert!(view.clean && view.findings.is_empty(), "{view:?}");
    assert_eq!((view.streams[0].name.as_str(), view.streams[0].last), ("readings", 12));
    let verified = inspect::verify(dir.path()).unwrap().unwrap();
    assert_eq!((verified.records, verified.problems.len()), (12, 0), "{verified:?}");
    let (store, _) = real(dir.path());
    let stream = store.stream("readings");
    let (records, gaps) = read_all(&mut store.reader("sink", stream));
    assert_eq!(gaps.len(), 0);
    let expected: Vec<(u64, u64)> = (3..12).map(|value| (value + 1, value)).collect();
    assert_eq!(records.iter().map(|(_, sequence, value)| (*sequence, *value)).collect::<Vec<_>>(), expected);
    assert_eq!(store.positions("source"), [("part".to_string(), 12_u64.to_le_bytes().to_vec())]);
    store.close();
}
