//! Files that are renamed, copied, cut, packed and removed.

use super::Rig;
use crate::config::value::WhenDone;
use crate::flow::frame::Payload;
use std::time::Duration;

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_start() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), "1\n");
    rig.append("a.log", "2\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    let mut both: Vec<String> = rig.poll().lines().map(String::from).collect();
    both.sort();
    assert_eq!(both, ["2", "3"]);
}

#[test]
fn a_file_renamed_while_nobody_looked_is_read_to_its_end() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), "1\n");
    rig.append("a.log", "2\nlast");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    rig.restart();
    let mut both: Vec<String> = (0..3).flat_map(|_| rig.poll().lines().map(String::from).collect::<Vec<_>>()).collect();
    both.sort();
    assert_eq!(both, ["2", "3", "last"], "a gone file's last line needs no newline");
    assert_eq!(rig.positions.len(), 2, "the gone file is forgotten");
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
fn a_recycled_inode_is_not_taken_for_the_old_file() {
    let mut rig = Rig::new("*.log");
    rig.append("a.log", "1 some text\n");
    rig.poll();
    std::fs::write(rig.path("a.log"), "x other text, longer\n").unwrap();
    rig.restart();
    assert_eq!(rig.poll(), "x other text, longer\n");
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
fn a_file_that_was_read_and_not_put_away_before_a_kill_is_put_away_afterwards() {
    let mut rig = Rig::new("*.csv");
    rig.settings.when_done = WhenDone::Delete;
    rig.restart();
    rig.append("a.csv", "1\n");
    let frames = rig.tail.poll(0);
    for position in frames.into_iter().filter_map(|frame| frame.position) {
        rig.positions.insert(position.part, position.value);
    }
    rig.restart();
    assert_eq!(rig.poll(), "");
    assert!(!rig.path("a.csv").exists());
    // And one that vanished meanwhile is forgotten.
    rig.append("b.csv", "2\n");
    let frames = rig.tail.poll(0);
    for position in frames.into_iter().filter_map(|frame| frame.position) {
        rig.positions.insert(position.part, position.value);
    }
    std::fs::remove_file(rig.path("b.csv")).unwrap();
    rig.restart();
    assert_eq!(rig.poll(), "");
    assert_eq!(rig.positions.keys().collect::<Vec<_>>(), ["started"]);
}

#[test]
fn more_files_than_may_be_open_are_all_read_also_when_they_are_renamed() {
    let mut rig = Rig::new("*.log");
    rig.settings.max_open = 3;
    rig.settings.gone_after = Duration::from_millis(1);
    rig.restart();
    let open = || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
    };
    for round in 0..3 {
        for n in 10..30 {
            rig.append(&format!("{n}.log"), &format!("{n}-{round}\n"));
        }
        let expected: Vec<String> = (10..30).map(|n| format!("{n}-{round}")).collect();
        assert_eq!(rig.lines(), expected);
        let dir = rig.dir.path().to_path_buf();
        assert_eq!(open().filter(|path| path.starts_with(&dir)).count(), 3);
    }
    for n in 10..30 {
        rig.append(&format!("{n}.log"), &format!("{n}-last\n"));
        rig.rename(&format!("{n}.log"), &format!("{n}.old"));
        rig.append(&format!("{n}.log"), &format!("{n}-new\n"));
    }
    let expected: Vec<String> = (10..30).flat_map(|n| [format!("{n}-last"), format!("{n}-new")]).collect();
    assert_eq!(rig.lines(), expected);
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
fn a_folder_that_is_not_there_says_nothing_of_its_files() {
    let mut rig = Rig::new("in/*.log");
    rig.settings.max_open = 1;
    std::fs::create_dir(rig.path("in")).unwrap();
    rig.restart();
    for name in ["in/a.log", "in/b.log", "in/c.log"] {
        rig.append(name, "1\n");
    }
    assert_eq!(rig.lines(), ["1", "1", "1"]);
    rig.rename("in", "away");
    rig.poll();
    rig.rename("away", "in");
    assert_eq!(rig.lines(), Vec::<String>::new());
}
