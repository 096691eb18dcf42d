//! Bad bits in every file and region: never a wrong value, never a refused start, never a panic;
//! the loss is confined and reported exactly, the bad bytes are kept.

use super::*;
use crate::flow::record::EVENTS;
use crate::platform::disk::{Disk, Mode};
use crate::store::log::layout::{FRAME_HEADER, FrameHeader, Kind, SEGMENT_HEADER};

/// Records of one commit.
const COMMIT: u64 = 5;
const TOTAL: u64 = 300;

/// A store with two streams, the second one small, and everything of both unread.
fn filled(disk: &SimDisk) {
    let (store, _) = open(disk).unwrap();
    let (stream, small) = (store.stream("readings"), store.stream("small"));
    for n in 0..TOTAL / COMMIT {
        let mut both = atom(stream, n * COMMIT..(n + 1) * COMMIT, 1500);
        both.parts.push(atom(small, n..n + 1, 40).parts.remove(0));
        assert!(put(&store, disk, both));
    }
    store.close();
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.list(&root().join("log")).unwrap()
}

/// The result of reading everything.
struct Survey {
    /// The number of records of `readings` and `small` that are there.
    there: (u64, u64),
    /// The missing sequences of both streams.
    missing: (Vec<u64>, Vec<u64>),
    findings: Vec<Finding>,
    /// Forebay's own events, as the hub would get them.
    events: Vec<serde_json::Value>,
}

impl Survey {
    fn of(disk: &SimDisk) -> Self {
        let (store, findings) = open(disk).expect("a start is never refused");
        let read = |name: &str| {
            let (records, gaps) = read_all(&mut store.reader("sink").open(store.stream(name)));
            for (_, sequence, value) in &records {
                assert_eq!(*sequence, value + 1, "a wrong value");
            }
            (records.len() as u64, gaps.iter().flat_map(|gap| gap.from..=gap.to).collect::<Vec<u64>>())
        };
        let (readings, small) = (read("readings"), read("small"));
        store.close();
        let (store, _) = open(disk).unwrap();
        let mut events = Vec::new();
        let mut reader = store.reader("events").open(store.stream(EVENTS));
        while let Some(Item::Span(span)) = reader.read().unwrap() {
            events.extend(span.records().map(|(_, record)| serde_json::from_slice(record.payload).unwrap()));
        }
        store.close();
        Self { there: (readings.0, small.0), missing: (readings.1, small.1), findings, events }
    }

    /// The number of a stream's records that were lost with a cut tail.
    fn cut(&self, stream: &str) -> u64 {
        let ranges = self.findings.iter().filter_map(|finding| match finding {
            Finding::TailCut { ranges, .. } => Some(ranges),
            _ => None,
        });
        ranges.flatten().filter(|(name, ..)| name == stream).map(|(_, first, last)| last - first + 1).sum()
    }

    /// Checks that every missing sequence is in an event to the hub, and no present one.
    fn is_reported(&self) {
        for (stream, missing) in [("readings", &self.missing.0), ("small", &self.missing.1)] {
            let told = self.events.iter().filter(|event| event["event"] == "store_gap" && event["stream"] == stream);
            let mut told: Vec<u64> =
                told.flat_map(|event| event["from"].as_u64().unwrap()..=event["to"].as_u64().unwrap()).collect();
            told.sort_unstable();
            assert_eq!(&told, missing, "{stream}: {:?}", self.events);
        }
    }
}

/// Kills: the process is gone, the bytes that it wrote are there.
fn killed(disk: &SimDisk) {
    let (store, _) = open(disk).unwrap();
    let (stream, small) = (store.stream("readings"), store.stream("small"));
    for n in 0..TOTAL / COMMIT {
        let mut both = atom(stream, n * COMMIT..(n + 1) * COMMIT, 1500);
        both.parts.push(atom(small, n..n + 1, 40).parts.remove(0));
        assert!(put(&store, disk, both));
    }
    store.abandon();
}

#[test]
fn the_lost_end_of_a_log_is_told_in_full() {
    for (clean, removed) in [(true, true), (true, false), (false, true), (false, false)] {
        let disk = SimDisk::new(11);
        if clean {
            filled(&disk);
        } else {
            killed(&disk);
        }
        let newest = segments(&disk).pop().unwrap();
        if removed {
            disk.remove(&newest).unwrap();
        } else {
            let file = disk.open(&newest, Mode::Write).unwrap();
            file.set_size(40_000).unwrap();
        }
        let survey = Survey::of(&disk);
        let (readings, small) = survey.there;
        assert!(readings < TOTAL && small < TOTAL / COMMIT, "{clean} {removed}");
        // All missing records are reported, by stream, range and count, and no other record is.
        let told = |name: &str| -> Vec<u64> {
            let ranges = survey.findings.iter().filter_map(|finding| match finding {
                Finding::Missing { stream, from, to } if stream == name => Some(*from..=*to),
                _ => None,
            });
            ranges.flatten().collect()
        };
        assert_eq!(told("readings"), (readings + 1..=TOTAL).collect::<Vec<_>>(), "{clean} {removed}");
        assert_eq!(told("small"), (small + 1..=TOTAL / COMMIT).collect::<Vec<_>>(), "{clean} {removed}");
        assert_eq!((survey.missing.0, survey.missing.1), (told("readings"), told("small")));
        let is_short = survey.findings.iter().any(|finding| matches!(finding, Finding::Shortened { .. }));
        assert_eq!(is_short, !removed);
        assert!(survey.events.iter().any(|event| event["to"] == TOTAL), "{:?}", survey.events);
        // The loss is reported once, and its sequences are not used again.
        let (store, findings) = open(&disk).unwrap();
        assert!(!findings.iter().any(Finding::is_loss), "{findings:?}");
        assert!(put(&store, &disk, atom(store.stream("readings"), TOTAL..TOTAL + 1, 50)));
        let (records, _) = read_all(&mut store.reader("sink").open(store.stream("readings")));
        assert_eq!(records.last().map(|(_, sequence, value)| (*sequence, *value)), Some((TOTAL + 1, TOTAL)));
        store.close();
    }
}

#[test]
fn one_bad_sector_anywhere_costs_a_frame_at_most_and_is_reported_exactly() {
    for seed in 0..120_u64 {
        let disk = SimDisk::new(seed);
        filled(&disk);
        let files = segments(&disk);
        let file = &files[usize::try_from(seed).unwrap() % files.len()];
        disk.tamper(file, |bytes| {
            let at = usize::try_from(seed * 7919 % (bytes.len() as u64 / 512)).unwrap() * 512;
            bytes[at..at + 512].fill(0xa5);
        });
        let survey = Survey::of(&disk);
        let (missing, small) = (survey.missing.0.len() as u64, survey.missing.1.len() as u64);
        assert_eq!(survey.there.0 + missing + survey.cut("readings"), TOTAL, "seed {seed}: {:?}", survey.findings);
        assert!(missing <= COMMIT && small <= 1, "seed {seed}: {missing} and {small} missing");
        survey.is_reported();
    }
}

/// What happens to a place, and where it is.
fn frames(disk: &SimDisk, path: &Path) -> Vec<(u64, FrameHeader)> {
    let file = disk.open(path, Mode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    let store: [u8; 16] = bytes[16..32].try_into().unwrap();
    let mut found = Vec::new();
    for at in (SEGMENT_HEADER..bytes.len()).step_by(512) {
        found.extend(FrameHeader::decode(&store, &bytes[at..]).map(|header| (at as u64, header)));
    }
    found
}

#[test]
fn a_flipped_bit_in_every_region_of_a_frame_costs_its_section_or_its_frame() {
    let disk = SimDisk::new(1);
    filled(&disk);
    let path = segments(&disk)[0].clone();
    let commits: Vec<_> = frames(&disk, &path).into_iter().filter(|(_, h)| h.kind == Kind::Commit).collect();
    let (at, header) = commits[commits.len() / 2];
    let length = u64::from(header.length);
    // Header, directory length, directory, first section, last section (of `small`), padding.
    let places = [10, FRAME_HEADER as u64, FRAME_HEADER as u64 + 20, 700, FRAME_HEADER as u64 + length - 3];
    for (region, place) in places.iter().enumerate() {
        for bit in 0..8 {
            let disk = SimDisk::new(1);
            filled(&disk);
            disk.tamper(&path, |bytes| bytes[usize::try_from(at + place).unwrap()] ^= 1 << bit);
            let survey = Survey::of(&disk);
            let lost = (survey.missing.0.len() as u64, survey.missing.1.len() as u64);
            let expected = match region {
                // The frame, whatever streams are in it.
                0..=2 => (COMMIT, 1),
                3 => (COMMIT, 0),
                _ => (0, 1),
            };
            assert_eq!(lost, expected, "region {region}, bit {bit}");
            assert_eq!(survey.there, (TOTAL - lost.0, TOTAL / COMMIT - lost.1));
            survey.is_reported();
            let kept = disk.list(&root().join("damaged")).unwrap();
            assert!(!kept.is_empty(), "region {region}: the bad bytes are kept");
        }
    }
}

#[test]
fn bad_segment_headers_checkpoints_pages_and_short_files_are_survived() {
    type Rot = fn(&mut Vec<u8>);
    let cases: [(&str, Rot, u64); 6] = [
        ("segment header", |bytes| bytes[..512].fill(0xff), 0),
        ("checkpoint", |bytes| bytes[512..1024].fill(0), 0),
        ("header and checkpoint", |bytes| bytes[..1024].fill(0x77), 0),
        ("a zeroed page", |bytes| bytes[8192..12_288].fill(0), 2 * COMMIT),
        ("cut to half", |bytes| bytes.truncate(bytes.len() / 2 + 100), TOTAL / 2),
        ("cut to nothing", Vec::clear, TOTAL / 2),
    ];
    for (name, rot, most) in cases {
        for which in 0..3 {
            let disk = SimDisk::new(5);
            filled(&disk);
            let files = segments(&disk);
            assert!(files.len() >= 4);
            disk.tamper(&files[which], rot);
            let survey = Survey::of(&disk);
            let missing = survey.missing.0.len() as u64;
            assert_eq!(survey.there.0 + missing, TOTAL, "{name} of segment {which}");
            assert!(missing <= most, "{name} of segment {which}: {missing} missing");
            survey.is_reported();
        }
    }
}

#[test]
fn the_last_segment_may_be_damaged_in_any_way() {
    for keep in [0, 100, 512, 1024, 2048, 9000] {
        let disk = SimDisk::new(6);
        filled(&disk);
        let last = segments(&disk).pop().unwrap();
        disk.tamper(&last, |bytes| bytes.truncate(keep));
        let survey = Survey::of(&disk);
        assert!(survey.there.0 + survey.missing.0.len() as u64 <= TOTAL);
        assert!(survey.there.0 > TOTAL / 2, "{keep}: what is in the other segments is there");
        let told = survey.findings.iter().any(Finding::is_loss);
        assert!(told, "{keep}: settled data is gone, and nothing is said: {:?}", survey.findings);
    }
}

#[test]
fn a_bad_last_frame_after_an_unclean_stop_is_told_as_a_cut_tail_with_its_range() {
    let disk = SimDisk::new(7);
    let (store, _) = open(&disk).unwrap();
    let stream = store.stream("readings");
    for n in 0..4 {
        assert!(put(&store, &disk, atom(stream, n * COMMIT..(n + 1) * COMMIT, 1500)));
    }
    store.abandon();
    let path = segments(&disk).pop().unwrap();
    let (at, header) = *frames(&disk, &path).iter().rfind(|(_, header)| header.kind == Kind::Commit).unwrap();
    disk.tamper(&path, |bytes| bytes[usize::try_from(at + u64::from(header.length)).unwrap()] ^= 1);
    let survey = Survey::of(&disk);
    assert_eq!((survey.there.0, survey.cut("readings")), (15, COMMIT), "{:?}", survey.findings);
    let told = survey.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(told.contains("tail cut") && told.contains("readings 16 to 20"), "{told}");
    assert!(survey.events.iter().any(|event| event["message"].as_str().unwrap().contains("readings 16 to 20")));
}

#[test]
fn a_missing_segment_is_a_gap_of_known_range() {
    let disk = SimDisk::new(1);
    filled(&disk);
    let victim = segments(&disk)[0].clone();
    disk.remove(&victim).unwrap();
    let survey = Survey::of(&disk);
    assert!(survey.there.0 < TOTAL && survey.there.0 > 0);
    assert_eq!(survey.there.0 + survey.missing.0.len() as u64, TOTAL);
    survey.is_reported();
}

#[test]
fn sectors_that_cannot_be_read_cost_what_is_on_them() {
    for sector in [0, 1, 2, 9, 40, 100] {
        let disk = SimDisk::new(8);
        filled(&disk);
        disk.spoil(&segments(&disk)[1], sector);
        let survey = Survey::of(&disk);
        let missing = survey.missing.0.len() as u64;
        // Without its first sector a segment's device is taken for gone, not its data for bad.
        if sector > 0 {
            assert_eq!(survey.there.0 + missing, TOTAL, "sector {sector}");
            assert!(missing <= COMMIT, "sector {sector}: {missing} missing");
            survey.is_reported();
        }
    }
}

#[test]
fn a_rotten_or_missing_index_never_matters() {
    for seed in 0..40_u64 {
        let disk = SimDisk::new(seed);
        filled(&disk);
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
        assert_eq!(Survey::of(&disk).there.0, TOTAL, "seed {seed}");
    }
    let disk = SimDisk::new(99);
    filled(&disk);
    disk.remove(&root().join("index.redb")).unwrap();
    assert_eq!(Survey::of(&disk).there.0, TOTAL);
}

#[test]
fn a_device_that_loses_settled_data_is_found_out() {
    let disk = SimDisk::new(3);
    filled(&disk);
    let last = segments(&disk).pop().unwrap();
    let keep = 1024;
    disk.tamper(&last, |bytes| bytes[keep..].fill(0));
    let findings = Survey::of(&disk).findings;
    assert!(findings.iter().any(|finding| matches!(finding, Finding::LostSettled { .. })), "{findings:?}");
}

#[test]
fn foreign_and_unknown_files_are_set_aside_or_left_alone() {
    let disk = SimDisk::new(4);
    filled(&disk);
    let other = SimDisk::new(5);
    filled(&other);
    let file = other.open(&segments(&other)[0], Mode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(SEGMENT).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    for name in ["000000000099.seg", "readme.txt"] {
        disk.open(&root().join("log").join(name), Mode::Create).unwrap().write_at(&bytes, 0).unwrap();
    }
    let survey = Survey::of(&disk);
    assert_eq!(survey.there.0, TOTAL);
    assert!(survey.findings.iter().any(|finding| matches!(finding, Finding::SetAside { .. })));
}
