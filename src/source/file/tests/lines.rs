//! Lines of files that are only appended to.

use super::Rig;
use crate::flow::frame::Frame;
use crate::flow::frame::Payload;
use crate::source::file::WhenDone;
use crate::source::file::saved::FileId;
use crate::source::file::saved::Fingerprint;
use crate::source::file::saved::Saved;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn whole_lines_come_once_and_half_a_line_waits() {
    let mut rig = Rig::new("a.log");
    assert_eq!(rig.poll(), "");
    rig.append("a.log", "one\ntwo\nthr");
    assert_eq!(rig.poll(), "one\ntwo\n");
    assert_eq!(rig.poll(), "");
    rig.append("a.log", "ee\n");
    assert_eq!(rig.poll(), "three\n");
    rig.restart();
    assert_eq!(rig.poll(), "");
}

#[test]
fn positions_of_older_versions_are_read() {
    #[derive(serde::Serialize)]
    struct Before {
        id: FileId,
        path: PathBuf,
        offset: u64,
        fingerprint: Fingerprint,
    }
    let id = FileId { device: 1, inode: 2 };
    let before = Before { id, path: "/a".into(), offset: 300, fingerprint: Fingerprint::default() };
    let saved = Saved::decode(&postcard::to_allocvec(&before).unwrap()).unwrap();
    assert_eq!((saved.offset, saved.header_at), (300, None));
}

#[test]
fn many_short_lines_are_several_frames_none_too_large_for_an_atom() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", &"\n".repeat(30_000));
    let frames: Vec<Frame> = (0..20).flat_map(|_| rig.tail.poll(u64::MAX)).collect();
    let lines = |frame: &Frame| match &frame.payload {
        Payload::Lines(block) => block.len(),
        _ => 0,
    };
    assert!(frames.iter().all(|frame| lines(frame) * (256 + frame.key.len()) <= 1 << 20));
    assert_eq!(frames.iter().map(lines).sum::<usize>(), 30_000);
}

#[test]
fn a_file_cut_within_a_line_that_is_too_long_is_begun_again() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", &"x".repeat(300_000));
    rig.poll();
    std::fs::write(rig.path("a.log"), "y".repeat(150_000)).unwrap();
    rig.poll();
    rig.append("a.log", "\n2\n");
    assert_eq!(rig.poll(), "#150000\n2\n");
}

#[test]
fn a_line_that_is_too_long_is_skipped_whole_and_counted() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n");
    rig.append("a.log", &"x".repeat(300_000));
    assert_eq!(rig.poll(), "1\n");
    rig.append("a.log", "yy\n2\n");
    assert_eq!(rig.poll(), "#300002\n2\n");
}

#[test]
fn an_unterminated_last_line_is_taken_when_its_time_is_up() {
    let mut rig = Rig::new("a.log");
    rig.settings.unterminated_after = Some(Duration::ZERO);
    rig.restart();
    rig.append("a.log", "1\n2");
    assert_eq!(rig.poll() + &rig.poll(), "1\n2");
}

#[test]
fn half_a_line_waits_for_its_end_until_the_file_was_rotated_or_removed_or_is_complete() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n2");
    assert_eq!(rig.poll() + &rig.poll(), "1\n", "a line that pauses is not one that ended");
    rig.append("a.log", "2\n3");
    assert_eq!(rig.poll() + &rig.poll(), "22\n");
    rig.rename("a.log", "a.log.1");
    assert_eq!((rig.poll() + &rig.poll()).trim_end(), "3");
    rig.append("a.log", "4");
    assert_eq!(rig.poll() + &rig.poll(), "");
    std::fs::remove_file(rig.path("a.log")).unwrap();
    assert_eq!((rig.poll() + &rig.poll()).trim_end(), "4");
    rig.settings.when_done = WhenDone::Move;
    rig.restart();
    rig.append("a.log", "5");
    assert_eq!((rig.poll() + &rig.poll()).trim_end(), "5");
}

#[test]
fn a_file_begun_at_its_end_goes_on_from_there_after_a_restart() {
    let mut rig = Rig::new("a.log");
    rig.settings.from_end = true;
    rig.append("a.log", "old\n");
    rig.restart();
    assert_eq!(rig.poll(), "");
    rig.append("a.log", "new\n");
    rig.restart();
    assert_eq!(rig.poll(), "new\n");
}

#[test]
fn many_files_are_read_through_a_pattern() {
    let mut rig = Rig::new("*.csv");
    for n in 0..20 {
        rig.append(&format!("{n:02}.csv"), &format!("{n}\n"));
    }
    rig.append("other.txt", "no\n");
    let mut lines: Vec<u32> = rig.poll().lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..20).collect::<Vec<_>>());
}

#[test]
fn one_poll_is_bounded_and_every_file_has_its_turn() {
    let mut rig = Rig::new("*.log");
    let text = "some line of a file\n".repeat(2000);
    for n in 0..60 {
        rig.append(&format!("{n:02}.log"), &text);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut bytes = 0;
    while seen.len() < 60 || bytes < 60 * text.len() {
        let frames = rig.tail.poll(u64::MAX);
        let weight: usize = frames.iter().map(Frame::weight).sum();
        assert!(weight > 0 && weight < 2 << 20, "{weight}");
        bytes += frames.iter().map(|frame| usize::try_from(frame.bytes()).unwrap()).sum::<usize>();
        seen.extend(frames.iter().map(|frame| frame.key.clone()).filter(|key| !key.is_empty()));
    }
    assert_eq!(bytes, 60 * text.len());
}
