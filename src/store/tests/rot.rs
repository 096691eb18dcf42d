//! Bad bits: never a wrong value, never a refused start, the loss is confined and reported.

use super::*;
use crate::platform::disk::Disk;

fn filled(disk: &SimDisk) -> u64 {
    let (store, _) = open(disk).unwrap();
    let stream = store.stream("readings");
    for n in 0..60 {
        assert!(put(&store, disk, atom(stream, n * 5..n * 5 + 5, 1500)));
    }
    store.close();
    300
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.list(&root().join("log")).unwrap()
}

/// Reads all: every value is right; returns how many are there and the missing sequences.
fn survey(disk: &SimDisk) -> (u64, Vec<u64>, Vec<Finding>) {
    let (store, findings) = open(disk).unwrap();
    let stream = store.stream("readings");
    let (records, gaps) = read_all(&mut store.reader("sink", stream));
    for (_, sequence, value) in &records {
        assert_eq!(*sequence, value + 1, "a wrong value");
    }
    let missing = gaps.iter().flat_map(|gap| gap.from..=gap.to).collect();
    store.close();
    (records.len() as u64, missing, findings)
}

#[test]
fn one_bad_sector_anywhere_costs_a_frame_at_most_and_is_reported_exactly() {
    for seed in 0..120_u64 {
        let disk = SimDisk::new(seed);
        let total = filled(&disk);
        let files = segments(&disk);
        let file = &files[usize::try_from(seed).unwrap() % files.len()];
        disk.tamper(file, |bytes| {
            let at = usize::try_from(seed * 7919 % (bytes.len() as u64 / 512)).unwrap() * 512;
            bytes[at..at + 512].fill(0xa5);
        });
        let (there, missing, findings) = survey(&disk);
        let cut: u64 = findings
            .iter()
            .filter_map(|finding| match finding {
                Finding::TailCut { ranges, .. } => Some(ranges.iter().map(|(_, a, b)| b - a + 1).sum::<u64>()),
                _ => None,
            })
            .sum();
        assert_eq!(there + missing.len() as u64 + cut, total, "seed {seed}: {findings:?}");
        assert!(missing.len() <= 10, "seed {seed}: {} missing", missing.len());
    }
}

#[test]
fn a_missing_segment_is_a_gap_of_known_range() {
    let disk = SimDisk::new(1);
    let total = filled(&disk);
    let victim = segments(&disk)[0].clone();
    disk.remove(&victim).unwrap();
    let (there, missing, _) = survey(&disk);
    assert!(there < total && there > 0);
    assert_eq!(there + missing.len() as u64, total);
}

#[test]
fn a_rotten_or_missing_index_never_matters() {
    for seed in 0..40_u64 {
        let disk = SimDisk::new(seed);
        let total = filled(&disk);
        let index = root().join("index.redb");
        disk.tamper(&index, |bytes| {
            if seed == 0 {
                bytes.truncate(1000);
            } else {
                let at = usize::try_from(seed * 104_729).unwrap() % bytes.len();
                let end = (at + 4096).min(bytes.len());
                bytes[at..end].fill(u8::try_from(seed).unwrap());
            }
        });
        assert_eq!(survey(&disk).0, total, "seed {seed}");
    }
    let disk = SimDisk::new(99);
    let total = filled(&disk);
    disk.remove(&root().join("index.redb")).unwrap();
    assert_eq!(survey(&disk).0, total);
}

#[test]
fn a_device_that_loses_settled_data_is_found_out() {
    let disk = SimDisk::new(3);
    filled(&disk);
    let last = segments(&disk).pop().unwrap();
    let keep = 1024;
    disk.tamper(&last, |bytes| bytes[keep..].fill(0));
    let (_, _, findings) = survey(&disk);
    assert!(findings.iter().any(|finding| matches!(finding, Finding::LostSettled { .. })), "{findings:?}");
}
