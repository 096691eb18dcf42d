//! Packed files, UTF-16, headers, messages of several lines, files that are messages.

use super::Rig;
use crate::flow::frame::Frame;
use crate::flow::frame::Payload;
use crate::flow::header::Header;
use crate::source::file::WhenDone;
use crate::source::file::rules::Rules;
use crate::source::file::saved::Turn;
use crate::source::file::track::{End, Track};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn header(before: usize, after: usize) -> Header {
    Header { delimiter: b',', before, rows: 1, after, comment: Some("#".into()), breaks: None }
}

#[test]
fn the_header_of_a_file_goes_with_its_lines_also_when_it_changes_and_over_restarts() {
    let mut rig = Rig::new("a.csv");
    rig.settings.header = Some(header(0, 0));
    rig.restart();
    let frames = |rig: &mut Rig| -> Vec<(String, String)> {
        let mut out = Vec::new();
        for frame in rig.tail.poll(u64::MAX) {
            if let Payload::Lines(block) = &frame.payload {
                let header = String::from_utf8_lossy(frame.header.as_deref().unwrap_or_default()).into_owned();
                out.push((header, String::from_utf8(block.to_vec()).unwrap()));
            }
            let position = frame.position.unwrap();
            rig.positions.insert(position.part, position.value);
        }
        out
    };
    let pair = |header: &str, lines: &str| (header.to_string(), lines.to_string());
    rig.append("a.csv", "\r\n\ntime,t\r\n12:00,1\n12:01,2\n");
    assert_eq!(frames(&mut rig), [pair("time,t", "12:00,1\n12:01,2\n")]);
    rig.restart();
    rig.append("a.csv", "12:02,3\ntime,t\n12:03,4\ntime,t,h\n12:04,5,6\n");
    let expected = [pair("time,t", "12:02,3\n"), pair("time,t", "12:03,4\n"), pair("time,t,h", "12:04,5,6\n")];
    assert_eq!(frames(&mut rig), expected);
    rig.restart();
    rig.append("a.csv", "12:05,7,8\n");
    assert_eq!(frames(&mut rig), [pair("time,t,h", "12:05,7,8\n")]);
}

#[test]
fn rows_around_a_header_are_read_with_it_in_one_step_also_when_they_come_one_by_one() {
    let mut rig = Rig::new("a.dat");
    rig.settings.header = Some(header(1, 2));
    rig.restart();
    let mut out = Vec::new();
    for rows in
        ["TOA5,logger\n", "# made by\n\ntime,t\n", "TS,", "Deg C\n", ",Avg\n", "12:00,1\n12:01,2\n", "12:02,3\n"]
    {
        rig.append("a.dat", rows);
        rig.restart();
        for frame in rig.tail.poll(u64::MAX) {
            if let Payload::Lines(block) = &frame.payload {
                out.extend_from_slice(frame.header.as_deref().unwrap());
                out.push(b'|');
                out.extend_from_slice(block);
            }
            let position = frame.position.unwrap();
            rig.positions.insert(position.part, position.value);
        }
    }
    assert_eq!(String::from_utf8(out).unwrap(), "time,t|12:00,1\n12:01,2\ntime,t|12:02,3\n");
    // From the end, the header is found behind the rows at the start.
    rig.positions.clear();
    rig.settings.from_end = true;
    rig.restart();
    rig.append("a.dat", "12:03,4\n");
    let frame = rig.tail.poll(u64::MAX).remove(0);
    assert_eq!(frame.header.as_deref(), Some(&b"time,t"[..]));
}

#[test]
fn lines_belong_together_up_to_the_next_one_that_begins_a_message() {
    let mut rig = Rig::new("a.log");
    rig.settings.message_start = Some(r"^\d{4} ".into());
    rig.restart();
    let messages = |rig: &mut Rig| -> Vec<String> {
        let mut out = Vec::new();
        for frame in rig.tail.poll(u64::MAX) {
            if let Payload::Messages(list) = &frame.payload {
                out.extend(list.iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()));
            }
            let position = frame.position.unwrap();
            rig.positions.insert(position.part, position.value);
        }
        out
    };
    rig.append("a.log", "2026 one\n  at a\n  at b\n2026 two\n");
    assert_eq!(messages(&mut rig), ["2026 one\n  at a\n  at b"], "the last may go on");
    rig.restart();
    rig.append("a.log", "  at c\n2026 three\n");
    assert_eq!(messages(&mut rig), ["2026 two\n  at c"]);
    rig.settings.unterminated_after = Some(Duration::ZERO);
    rig.restart();
    assert_eq!(messages(&mut rig), ["2026 three"], "after a silence it is over");
    assert_eq!(messages(&mut rig), Vec::<String>::new());
}

/// logrotate sets the time of the file that gzip has made for it, once it is written; a file may be looked at twice
/// before it is read again.
#[test]
fn a_packed_file_that_is_looked_at_twice_before_it_is_read_again_is_no_other_one() {
    let rig = Rig::new("*");
    rig.append("new", &(0..500).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n"));
    rig.gzip("new", "new.gz");
    let (max_line, done_after) = (1000, Duration::ZERO);
    let rules = Rules { max_line, header: None, breaks: None, message_start: None, whole: false, done_after };
    let turn = Turn { name: rig.path("new.gz"), number: 1 };
    let mut track = Track::open(&rig.path("new.gz"), None, Err(turn), false, Arc::new(rules)).unwrap();
    let read = |track: &mut Track| {
        let mut bytes = 0;
        while let Some(frame) = track.next(End::Line).unwrap() {
            bytes += frame.bytes();
        }
        bytes
    };
    assert!(read(&mut track) > 4000);
    let file = std::fs::File::options().append(true).open(rig.path("new.gz")).unwrap();
    for _ in 0..3 {
        file.set_modified(SystemTime::now()).unwrap();
        assert!(track.refresh().unwrap().is_none() && track.refresh().unwrap().is_none());
    }
    assert_eq!(read(&mut track), 0);
    // One that goes on is read on.
    let mut packer = GzEncoder::new(file, Compression::default());
    packer.write_all(b"more\n").unwrap();
    packer.finish().unwrap();
    assert!(track.refresh().unwrap().is_none() && track.refresh().unwrap().is_none());
    assert_eq!(read(&mut track), 5);
}

#[test]
fn packed_files_that_nobody_knows_are_read_whole_and_a_damaged_one_as_far_as_it_goes() {
    let mut rig = Rig::new("*");
    rig.append("new", "1\n2\nlast");
    rig.gzip("new", "new.gz");
    std::fs::write(rig.path("other.zst"), zstd::encode_all(&b"3\n"[..], 3).unwrap()).unwrap();
    assert_eq!(rig.lines(), ["1", "2", "3", "last"]);
    rig.append("cut", "4\n5\n");
    rig.gzip("cut", "cut.gz");
    let bytes = std::fs::read(rig.path("cut.gz")).unwrap();
    std::fs::write(rig.path("cut.gz"), &bytes[..bytes.len() - 6]).unwrap();
    assert_eq!(rig.lines(), ["4", "5"]);
    rig.restart();
    assert_eq!(rig.lines(), Vec::<String>::new());
}

#[test]
fn utf_16_and_byte_order_marks_are_understood_also_after_a_restart() {
    let mut rig = Rig::new("*.csv");
    rig.settings.header = Some(header(0, 0));
    rig.restart();
    let append = |rig: &Rig, text: &str| {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let path = rig.path("a.csv");
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(&bytes).unwrap();
    };
    append(&rig, "\u{feff}Zähler,t\r\nx,1\r\n");
    let frames = |rig: &mut Rig| -> Vec<String> {
        let mut out = Vec::new();
        for frame in (0..3).flat_map(|_| rig.tail.poll(u64::MAX)).collect::<Vec<_>>() {
            if let Payload::Lines(block) = &frame.payload {
                let line = String::from_utf8(block.to_vec()).unwrap();
                out.push(format!("{}|{line}", String::from_utf8_lossy(frame.header.as_deref().unwrap_or_default())));
            }
            let position = frame.position.unwrap();
            rig.positions.insert(position.part, position.value);
        }
        out
    };
    assert_eq!(frames(&mut rig), ["Zähler,t|x,1\r\n"]);
    rig.restart();
    append(&rig, "😀,2\r\ny,");
    assert_eq!(frames(&mut rig), ["Zähler,t|😀,2\r\n"]);
    append(&rig, "3\r\n");
    assert_eq!(frames(&mut rig), ["Zähler,t|y,3\r\n"]);
    rig.append("b.csv", "\u{feff}n,t\nz,4\n");
    assert_eq!(frames(&mut rig), ["n,t|z,4\n"], "a mark before UTF-8 is no part of the first name");
    // A lone byte at the end, as a shell adds it: taken as it is, and not read again.
    rig.settings.unterminated_after = Some(Duration::ZERO);
    std::fs::write(rig.path("c.csv"), b"\xff\xfea\0\n\0b\0\n\0x").unwrap();
    rig.restart();
    assert_eq!(frames(&mut rig), ["a|b\n", "a|\u{fffd}"]);
    rig.restart();
    assert_eq!(frames(&mut rig), Vec::<String>::new());
}

#[test]
fn whole_files_are_one_message_each_and_again_when_they_change() {
    let mut rig = Rig::new("in/*");
    std::fs::create_dir(rig.path("in")).unwrap();
    rig.settings.whole = true;
    rig.settings.max_line = 20;
    rig.restart();
    let take = |rig: &mut Rig| -> Vec<String> {
        let mut out = Vec::new();
        for frame in (0..3).flat_map(|_| rig.tail.poll(0)).collect::<Vec<_>>() {
            match frame.payload {
                Payload::One(bytes) => out.push(String::from_utf8(bytes.to_vec()).unwrap()),
                Payload::TooLarge { length, crc, head } => out.push(format!("#{length} {crc:x} {}", head.len())),
                _ => {}
            }
            let position = frame.position.unwrap();
            rig.positions.insert(position.part, position.value);
        }
        out
    };
    rig.append("in/a.json", "{\n\"a\": 1\n}\n");
    rig.append("in/empty", "");
    assert_eq!(take(&mut rig), ["{\n\"a\": 1\n}\n"]);
    rig.restart();
    assert_eq!(take(&mut rig), Vec::<String>::new());
    std::fs::write(rig.path("in/a.json"), "{\"a\":\n22}").unwrap();
    assert_eq!(take(&mut rig), ["{\"a\":\n22}"]);
    let large = "x".repeat(100_000);
    rig.append("in/large", &large);
    assert_eq!(take(&mut rig), [format!("#100000 {:x} {}", crc32c::crc32c(large.as_bytes()), 64 << 10)]);
    // What has changed while nobody looked is taken whole, and what has not is not taken again.
    std::fs::write(rig.path("in/a.json"), "{\"a\":\n22}xx").unwrap();
    std::fs::write(rig.path("in/packed"), zstd::encode_all(&b"packed"[..], 3).unwrap()).unwrap();
    rig.restart();
    let mut both = take(&mut rig);
    both.sort();
    assert_eq!(both, ["packed", "{\"a\":\n22}xx"]);
    rig.restart();
    assert_eq!(take(&mut rig), Vec::<String>::new());
    rig.settings.done_after = Duration::from_secs(3600);
    rig.restart();
    rig.append("in/b.json", "half");
    assert_eq!(take(&mut rig), Vec::<String>::new(), "it may grow yet");
}

#[test]
fn files_that_have_been_read_are_moved_or_removed_when_they_are_safe() {
    for when_done in [WhenDone::Move, WhenDone::Delete] {
        let mut rig = Rig::new("**/*.csv");
        rig.settings.when_done = when_done;
        rig.restart();
        for text in ["1\n", "2\n"] {
            rig.append("a.csv", text);
            let frames = rig.tail.poll(0);
            let own = frames.iter().find(|frame| frame.payload != Payload::Nothing).unwrap();
            assert_eq!(own.payload, Payload::Lines(text.as_bytes().into()));
            assert_eq!(rig.tail.poll(0), [], "not safe yet");
            assert!(rig.path("a.csv").exists());
            let farewell = rig.tail.poll(100);
            assert_eq!(farewell, [Frame::position(own.position.clone().unwrap().part, Vec::new())]);
            assert!(!rig.path("a.csv").exists());
            assert_eq!(rig.poll(), "", "what is done is not read again");
            rig.restart();
        }
        let names = ["done/a.csv", "done/a.csv.1"].map(|name| std::fs::read_to_string(rig.path(name)).ok());
        let expected = (when_done == WhenDone::Move).then(|| ["1\n".into(), "2\n".into()]);
        assert_eq!(names, expected.map_or([None, None], |texts: [String; 2]| texts.map(Some)));
        assert!(rig.positions.len() <= 1, "{:?}", rig.positions);
    }
}
