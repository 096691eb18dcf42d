//! Files that are renamed, and removed.

use super::Rig;
use crate::source::file::WhenDone;
use std::fmt::Write as _;
use std::time::Duration;

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_start() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), "1\n");
    rig.append("a.log", "2\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    assert_eq!(rig.poll(), "2\n3\n");
}

#[test]
fn a_file_is_read_after_the_one_that_was_under_its_name_before() {
    for (pattern, restart, packed) in (0..8).map(|n| (["a.log", "a.log*"][n % 2], n & 2 > 0, n & 4 > 0)) {
        let mut rig = Rig::new(pattern);
        let mut lines = Vec::new();
        let mut write = |rig: &Rig, count: usize| {
            let new: Vec<String> = (0..count).map(|n| format!("{} {}", lines.len() + n, "x".repeat(60))).collect();
            rig.append("a.log", &(new.join("\n") + "\n"));
            lines.extend(new);
        };
        write(&rig, 10);
        let mut seen = rig.poll();
        // More than goes into one poll, and other files that have their share.
        write(&rig, 20_000);
        rig.rename("a.log", "a.log.1");
        write(&rig, 20_000);
        if packed {
            rig.gzip("a.log.1", "a.log.1.gz");
        }
        for _ in 0..40 {
            if restart {
                rig.restart();
            }
            seen += &rig.poll();
        }
        let seen: Vec<&str> = seen.lines().collect();
        assert!(seen == lines, "{pattern}, restart {restart}, packed {packed}: {} of {}", seen.len(), lines.len());
    }
}

#[test]
fn rotated_files_that_nobody_knows_yet_are_read_from_the_oldest_to_the_newest() {
    let mut rig = Rig::new("*");
    for (name, text, age) in
        [("a.log", "5\n", 0), ("a.log.1", "4\n", 60), ("a.log-20260101", "1\n", 400), ("a.log.2", "2\n3\n", 90)]
    {
        rig.append(name, text);
        let then = std::time::SystemTime::now() - Duration::from_secs(age);
        std::fs::File::options().write(true).open(rig.path(name)).unwrap().set_modified(then).unwrap();
    }
    rig.gzip("a.log.2", "a.log.2.gz");
    let then = std::time::SystemTime::now() - Duration::from_secs(90);
    std::fs::File::options().write(true).open(rig.path("a.log.2.gz")).unwrap().set_modified(then).unwrap();
    let seen: String = (0..4).map(|_| rig.poll()).collect();
    assert_eq!(seen, "1\n2\n3\n4\n5\n");
}

#[test]
fn a_rotated_file_that_nobody_can_read_holds_nothing_up() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n");
    rig.poll();
    rig.append("a.log", "2\n");
    rig.rename("a.log", "a.log.1");
    // A folder cannot be read as a file: not even root may.
    rig.append("a.log", "3\n");
    std::fs::remove_file(rig.path("a.log.1")).unwrap();
    std::fs::create_dir(rig.path("a.log.1")).unwrap();
    rig.restart();
    assert_eq!(rig.lines(), ["3"]);
}

#[test]
fn nuls_in_front_of_a_line_are_skipped_also_a_hole_of_300_mb() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1 some text\n");
    let written = std::fs::OpenOptions::new().write(true).open(rig.path("a.log")).unwrap();
    let mut at = 12;
    assert_eq!(rig.poll(), "1 some text\n");
    for (n, hole) in [(2_u64, 0), (3, 5000), (4, 300 << 20)] {
        // logrotate cuts; the program goes on where it was.
        written.set_len(0).unwrap();
        at += hole;
        std::os::unix::fs::FileExt::write_all_at(&written, format!("{n} some text\n").as_bytes(), at).unwrap();
        at += 12;
        assert_eq!(rig.poll(), format!("{n} some text\n"));
        rig.restart();
        assert_eq!(rig.poll(), "");
    }
    // Space that was reserved is no hole: it may be written over.
    written.set_len(at + 100_000).unwrap();
    assert_eq!(rig.poll(), "");
    std::os::unix::fs::FileExt::write_all_at(&written, b"5 some text\n", at).unwrap();
    assert_eq!(rig.poll(), "5 some text\n");
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
    let both: Vec<String> = (0..3).flat_map(|_| rig.poll().lines().map(String::from).collect::<Vec<_>>()).collect();
    assert_eq!(both, ["2", "last", "3"], "a gone file's last line needs no newline");
    assert_eq!(rig.positions.len(), 2, "the gone file is forgotten");
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

#[test]
fn a_file_whose_last_line_does_not_end_holds_its_successor_up_only_for_a_while() {
    let mut rig = Rig::new("a.log");
    rig.settings.gone_after = Duration::from_secs(1);
    rig.restart();
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), "1\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "new\n");
    // A worker goes on in the old file, always in the middle of a line.
    rig.append("a.log.1", "2\n3 par");
    assert_eq!(rig.poll(), "2\n");
    let mut seen = String::new();
    for n in 0..200 {
        rig.append("a.log.1", &n.to_string());
        seen += &rig.poll();
        if seen.contains("new") {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(seen, "new\n");
    rig.append("a.log.1", "t\n");
    assert!(rig.poll().ends_with("t\n"), "and it is read on");
}

#[test]
fn a_packed_file_that_waits_gives_the_memory_to_the_one_that_it_waits_for() {
    let mut rig = Rig::new("a.log*");
    let mut many = String::new();
    (0..200_000).for_each(|n| writeln!(many, "{n} some text that takes a while").unwrap());
    rig.append("a.log.1", "0 old\n");
    assert_eq!(rig.poll(), "0 old\n");
    rig.append("a.log.2", &many);
    rig.gzip("a.log.2", "a.log.2.gz");
    assert!(rig.poll().len() < many.len(), "it takes more than one look");
    // The one before it is packed, with more than was read.
    rig.append("a.log.1", "1 late\n");
    rig.gzip("a.log.1", "a.log.1.gz");
    let mut seen = Vec::new();
    for _ in 0..100 {
        seen.extend(rig.lines());
    }
    assert!(seen.iter().any(|line| line == "1 late"));
    assert!(seen.iter().any(|line| line.starts_with("199999 ")));
}

#[test]
fn a_folder_that_is_called_otherwise_does_not_make_its_files_rotated_ones() {
    let mut rig = Rig::new("a.log");
    rig.append("a.log", "1\n");
    assert_eq!(rig.poll(), "1\n");
    let folder = rig.dir.path().to_path_buf();
    let link = folder.with_extension("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    rig.settings.path = link.join("a.log").to_str().unwrap().into();
    rig.restart();
    rig.append("a.log", "2 par");
    assert_eq!((rig.poll(), rig.poll()), (String::new(), String::new()), "half a line is not taken");
    rig.append("a.log", "t\n");
    assert_eq!(rig.poll(), "2 part\n");
    std::fs::remove_file(link).unwrap();
}
