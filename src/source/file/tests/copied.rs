//! Files that are copied, cut and packed.

use super::Rig;
use crate::flow::frame::Payload;
use crate::source::file::WhenDone;
use std::fmt::Write as _;
use std::time::Duration;

#[test]
fn what_was_written_before_and_after_a_copytruncate_between_two_looks_is_in_order() {
    for restart in [false, true] {
        let mut rig = Rig::new("a.log*");
        rig.append("a.log", "1 some text\n");
        assert_eq!(rig.poll(), "1 some text\n");
        rig.append("a.log", "2 some text\n3\n");
        std::fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        std::fs::write(rig.path("a.log"), "4\n5\n").unwrap();
        let mut seen = String::new();
        for _ in 0..4 {
            if restart {
                rig.restart();
            }
            seen += &rig.poll();
        }
        assert_eq!(seen, "2 some text\n3\n4\n5\n", "restart {restart}");
    }
}

#[test]
fn a_longer_copy_that_takes_the_place_of_a_file_is_the_same_file() {
    for restart in [false, true] {
        let mut rig = Rig::new("a.csv");
        let mut text = String::from("time,value\n");
        let mut seen = String::new();
        for n in 0..60 {
            writeln!(text, "{n},{}", n * n).unwrap();
            // As rsync, FTP servers and editors do it.
            std::fs::write(rig.path(".a.csv.tmp"), &text).unwrap();
            rig.rename(".a.csv.tmp", "a.csv");
            if restart {
                rig.restart();
            }
            seen += &rig.poll();
            assert!(rig.positions.len() <= 2, "{:?}", rig.positions.keys());
        }
        assert_eq!(seen, text, "restart {restart}");
        // One that does not begin like it, or is shorter than what was read, is another file.
        for other in ["time,value\n1,9\n", "TIME,VALUE\n1,9\n2,9\n"] {
            std::fs::write(rig.path(".a.csv.tmp"), other).unwrap();
            rig.rename(".a.csv.tmp", "a.csv");
            if restart {
                rig.restart();
            }
            let seen: String = (0..3).map(|_| rig.poll()).collect();
            assert_eq!(seen, other, "restart {restart}");
        }
    }
}

#[test]
fn what_was_not_read_of_a_truncated_file_is_read_from_its_copy() {
    for (pattern, restart) in [("a.log", false), ("a.log", true), ("a.log*", false), ("a.log*", true)] {
        let mut rig = Rig::new(pattern);
        rig.append("a.log", "1 some text\n");
        assert_eq!(rig.poll(), "1 some text\n");
        rig.append("a.log", "2 some text\n");
        std::fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        if !restart {
            assert_eq!(rig.poll(), "2 some text\n", "the copy is not taken for a new file");
        }
        rig.append("a.log", "");
        std::fs::write(rig.path("a.log"), "3\n").unwrap();
        if restart {
            rig.restart();
        }
        let mut seen: Vec<String> =
            (0..3).flat_map(|_| rig.poll().lines().map(String::from).collect::<Vec<_>>()).collect();
        seen.sort();
        let expected: &[&str] = if restart { &["2 some text", "3"] } else { &["3"] };
        assert_eq!(seen, expected, "{pattern}, restart {restart}");
    }
}

#[test]
fn a_file_that_was_cut_to_nothing_while_nobody_looked_goes_on() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1 some text\n");
    assert_eq!(rig.poll(), "1 some text\n");
    rig.append("a.log", "2 some text\n");
    std::fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    std::fs::write(rig.path("a.log"), "").unwrap();
    rig.restart();
    assert_eq!(rig.poll(), "2 some text\n");
    assert_eq!(rig.poll(), "");
    rig.append("a.log", "3 some text\n");
    assert_eq!(rig.poll(), "3 some text\n");
    rig.restart();
    rig.append("a.log", "4 some text\n");
    assert_eq!(rig.poll(), "4 some text\n");
}

#[test]
fn the_rest_of_a_copy_or_a_renamed_file_is_read_also_after_a_second_restart() {
    for copied in [true, false] {
        let mut rig = Rig::new("a.log");
        rig.append("a.log", "1 some text\n");
        assert_eq!(rig.poll(), "1 some text\n");
        rig.append("a.log", "2 some text\n");
        if copied {
            std::fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
            std::fs::write(rig.path("a.log"), "").unwrap();
        } else {
            rig.rename("a.log", "a.log.1");
        }
        rig.append("a.log", "3 some text\n");
        rig.restart();
        // Killed after the first frame that says where the old file is, before its rest is stored.
        let frames = rig.tail.poll(u64::MAX);
        let first = frames.iter().find_map(|frame| frame.position.clone()).unwrap();
        if copied {
            assert_eq!(frames[0].payload, Payload::Nothing, "the place in the copy is saved first");
        }
        rig.positions.insert(first.part, first.value);
        rig.restart();
        let mut seen: Vec<String> =
            (0..3).flat_map(|_| rig.poll().lines().map(String::from).collect::<Vec<_>>()).collect();
        seen.sort();
        let rest = seen.iter().filter(|line| line.starts_with('2')).count();
        assert_eq!(rest, usize::from(copied || frames[0].payload == Payload::Nothing), "{seen:?}");
    }
}

#[test]
fn a_file_that_only_begins_like_another_is_read() {
    let mut rig = Rig::new("a.log*");
    rig.append("a.log", "time,value\n1,1\n");
    assert_eq!(rig.poll(), "time,value\n1,1\n");
    rig.append("a.log2", "time,value\n");
    assert_eq!(rig.poll(), "", "so far it is the same");
    rig.append("a.log2", "2,2\n");
    assert_eq!(rig.poll(), "time,value\n2,2\n");
}

#[test]
fn a_truncated_file_is_read_again_from_its_start() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1 some text\n2 some text\n");
    rig.poll();
    std::fs::write(rig.path("a.log"), "3\n").unwrap();
    assert_eq!(rig.poll(), "3\n");
    std::fs::write(rig.path("a.log"), "4 is longer than before\n").unwrap();
    assert_eq!(rig.poll(), "4 is longer than before\n", "also when it has grown past the old place");
}

#[test]
fn a_file_that_was_packed_is_read_on_in_its_packed_copy() {
    for pattern in ["a.log", "a.log*"] {
        let mut rig = Rig::new(pattern);
        rig.append("a.log", "1\n");
        assert_eq!(rig.poll(), "1\n");
        rig.append("a.log", "2\n");
        rig.rename("a.log", "a.log.1");
        rig.gzip("a.log.1", "a.log.1.gz");
        rig.append("a.log", "3\n");
        rig.restart();
        assert_eq!(rig.lines(), ["2", "3"], "{pattern}");
        rig.restart();
        assert_eq!(rig.lines(), Vec::<String>::new(), "{pattern}");
        rig.append("a.log", "4\n");
        assert_eq!(rig.lines(), ["4"]);
        // While it is looked at.
        rig.rename("a.log", "a.log.2");
        rig.append("a.log.2", "5\n");
        rig.append("a.log", "6\n");
        assert_eq!(rig.lines(), ["5", "6"]);
        rig.gzip("a.log.2", "a.log.2.gz");
        assert_eq!(rig.lines(), Vec::<String>::new(), "{pattern}");
        rig.restart();
        assert_eq!(rig.lines(), Vec::<String>::new(), "{pattern}");
    }
}

#[test]
fn a_packed_file_that_only_begins_like_another_is_read() {
    let mut rig = Rig::new("*");
    rig.append("a.csv", "time,value\n1,1\n");
    assert_eq!(rig.poll(), "time,value\n1,1\n");
    rig.append("b.csv", "time,value\n1,1\n2,2\n");
    rig.gzip("b.csv", "b.csv.gz");
    assert_eq!(rig.lines(), ["1,1", "2,2", "time,value"], "it is no copy of a.csv, whose name it does not have");
    rig.append("c.csv", "time,value\n3,3\n");
    assert_eq!(rig.lines(), ["3,3", "time,value"]);
    // What is gone is not looked for in files of others.
    rig.append("d.csv", "time,value\n3,3\n4,4\n");
    std::fs::remove_file(rig.path("c.csv")).unwrap();
    rig.gzip("d.csv", "d.csv.gz");
    rig.restart();
    assert_eq!(rig.lines(), ["3,3", "4,4", "time,value"]);
}

#[test]
fn a_damaged_file_is_never_removed() {
    let mut rig = Rig::new("*.gz");
    rig.settings.when_done = WhenDone::Delete;
    rig.restart();
    rig.append("cut", &"1 some text\n".repeat(1000));
    rig.gzip("cut", "cut.gz");
    let bytes = std::fs::read(rig.path("cut.gz")).unwrap();
    std::fs::write(rig.path("cut.gz"), &bytes[..bytes.len() - 6]).unwrap();
    rig.lines();
    rig.restart();
    rig.lines();
    assert!(rig.path("cut.gz").exists(), "somebody may have the rest of it");
    std::fs::write(rig.path("cut.gz"), &bytes).unwrap();
    rig.lines();
    assert!(!rig.path("cut.gz").exists());
}

#[test]
fn another_file_with_the_same_long_beginning_is_not_the_same_file() {
    for restart in [false, true] {
        let mut rig = Rig::new("a.csv");
        let preamble = format!("{}\n", "instrument 7 ".repeat(200));
        for n in 0..5 {
            // Each longer than the one before.
            let text = format!("{preamble}{}", format!("{n}{n},{n}\n").repeat(10 + n));
            std::fs::write(rig.path(".a.csv.tmp"), &text).unwrap();
            rig.rename(".a.csv.tmp", "a.csv");
            if restart {
                rig.restart();
            }
            assert_eq!(rig.poll(), text, "{n}, restart {restart}");
        }
    }
}

#[test]
fn what_a_program_writes_into_space_that_it_has_reserved_is_read() {
    use std::os::unix::fs::FileExt;
    let mut rig = Rig::new("a.log");
    let file = std::fs::File::create(rig.path("a.log")).unwrap();
    file.set_len(16 << 20).unwrap();
    let mut at = 0;
    let mut write = |text: &str| {
        file.write_all_at(text.as_bytes(), at).unwrap();
        at += text.len() as u64;
    };
    assert_eq!(rig.poll(), "");
    write("1\n2 par");
    assert_eq!(rig.poll(), "1\n");
    assert_eq!(rig.poll(), "");
    write("t\n3");
    assert_eq!(rig.poll(), "2 part\n");
    rig.restart();
    write("\n4 par");
    assert_eq!(rig.poll(), "3\n");
    // Taken for complete and written on all the same, or cut to what is in it: nothing is lost or doubled.
    rig.settings.unterminated_after = Some(Duration::ZERO);
    rig.restart();
    assert_eq!(rig.poll(), "4 par");
    write("t\n5\n");
    assert_eq!(rig.poll(), "t\n5\n");
    file.set_len(u64::try_from("1\n2 part\n3\n4 part\n5\n".len()).unwrap()).unwrap();
    assert_eq!((rig.poll(), rig.poll()), (String::new(), String::new()));
    file.set_len(16 << 20).unwrap();
    // A line that is too long, in parts.
    rig.settings.unterminated_after = None;
    rig.restart();
    write(&"x".repeat(150_000));
    assert_eq!((rig.poll(), rig.poll()), (String::new(), String::new()));
    write(&format!("{}\n6\n", "x".repeat(50_000)));
    assert_eq!(rig.lines(), ["#200000", "6"]);
    write("4 par");
    // Rotated, it is complete.
    rig.rename("a.log", "a.log.1");
    assert_eq!((rig.poll().trim_end(), rig.poll().as_str()), ("4 par", ""));
}

#[test]
fn a_file_that_is_replaced_before_anything_of_it_was_read_or_in_utf_16_is_read_once() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "half");
    assert_eq!(rig.poll(), "");
    std::fs::write(rig.path(".tmp"), "half a line\n2\n").unwrap();
    rig.rename(".tmp", "a.log");
    assert_eq!((0..3).map(|_| rig.poll()).collect::<String>(), "half a line\n2\n");
    let mut rig = Rig::new("b.log");
    let wide = |text: &str| {
        let units = std::iter::once(0xfeff_u16).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    for restart in [false, true] {
        let mut text = String::new();
        let mut seen = String::new();
        for n in 0..20 {
            writeln!(text, "{n} some text {restart}").unwrap();
            std::fs::write(rig.path(".tmp"), wide(&text)).unwrap();
            rig.rename(".tmp", "b.log");
            if restart {
                rig.restart();
            }
            seen += &rig.poll();
        }
        assert_eq!(seen, text, "restart {restart}");
        std::fs::remove_file(rig.path("b.log")).unwrap();
        rig.poll();
        rig.poll();
    }
}

#[test]
fn a_packed_copy_that_is_seen_while_it_is_written_is_no_new_file() {
    for stage in 0..3 {
        let mut rig = Rig::new("a.log*");
        rig.settings.done_after = Duration::from_millis(200);
        rig.restart();
        let mut text = String::new();
        (0..200).for_each(|n| writeln!(text, "line {n}").unwrap());
        rig.append("a.log", &text);
        assert_eq!(rig.poll(), text);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", "new\n");
        rig.gzip_copy("a.log.1", "a.log.1.gz");
        let whole = std::fs::read(rig.path("a.log.1.gz")).unwrap();
        let part = [0, 10, whole.len() / 2][stage];
        std::fs::write(rig.path("a.log.1.gz"), &whole[..part]).unwrap();
        // The new file may wait until it is known what the packed one is.
        let mut seen = rig.poll();
        std::fs::write(rig.path("a.log.1.gz"), &whole).unwrap();
        seen += &rig.poll();
        if stage > 0 {
            std::fs::remove_file(rig.path("a.log.1")).unwrap();
            seen += &rig.poll();
        }
        std::thread::sleep(rig.settings.done_after * 2);
        (0..3).for_each(|_| seen += &rig.poll());
        assert_eq!(seen, "new\n", "stage {stage}");
    }
}
