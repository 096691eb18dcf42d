//! Files that came and were rotated between two looks.

use super::Rig;
use crate::telemetry::Metric;
use std::fs::File;
use std::time::{Duration, SystemTime};

/// Kernels count times of files in ticks of up to 10 ms.
fn tick() {
    std::thread::sleep(Duration::from_millis(11));
}

#[test]
fn what_was_rotated_more_than_once_while_nobody_looked_is_read_and_nothing_older() {
    let mut rig = Rig::new("app.log");
    rig.append("app.log.9", "before the first start\n");
    tick();
    rig.append("app.log", "1\n");
    assert_eq!(rig.lines(), ["1"]);
    let rotate = |rig: &Rig| {
        for n in (1..9).rev().filter(|n| rig.path(&format!("app.log.{n}")).exists()) {
            rig.rename(&format!("app.log.{n}"), &format!("app.log.{}", n + 1));
        }
        rig.rename("app.log", "app.log.1");
        tick();
    };
    rig.append("app.log", "2\n");
    for line in ["3\n", "4\n", "5\n"] {
        rotate(&rig);
        rig.append("app.log", line);
    }
    // Not what logrotate makes: somebody's notes.
    rig.append("app.log.notes", "no line of the log\n");
    rig.gzip("app.log.1", "app.log-20261126.gz");
    rig.restart();
    assert_eq!(rig.lines(), ["2", "3", "4", "5"]);
    assert_eq!(rig.metrics.get(Metric::FileOverlooked), 2);
    // The next rotation finds nothing again, and nor does the next start.
    rotate(&rig);
    rig.append("app.log", "6\n");
    assert_eq!(rig.lines(), ["6"]);
    rig.restart();
    assert_eq!(rig.lines(), Vec::<String>::new());
    assert_eq!(rig.positions.len(), 2, "`started`, and the file that is there: {:?}", rig.positions.keys());
}

#[test]
fn what_was_copied_and_cut_more_than_once_while_nobody_looked_is_read() {
    let mut rig = Rig::new("app.log");
    rig.append("app.log", "1\n");
    assert_eq!(rig.lines(), ["1"]);
    for (line, copy) in [("2\n", "app.log.2"), ("3\n", "app.log.1")] {
        tick();
        rig.append("app.log", line);
        std::fs::copy(rig.path("app.log"), rig.path(copy)).unwrap();
        File::create(rig.path("app.log")).unwrap();
    }
    rig.append("app.log", "4\n");
    rig.restart();
    assert_eq!(rig.lines(), ["2", "3", "4"]);
}

#[test]
fn of_a_file_that_is_gone_for_good_the_time_is_known() {
    let mut rig = Rig::new("app.log");
    rig.append("app.log", "1\n");
    assert_eq!(rig.lines(), ["1"]);
    tick();
    std::fs::remove_file(rig.path("app.log")).unwrap();
    rig.append("app.log.1", "2\n");
    rig.append("app.log", "3\n");
    rig.restart();
    assert_eq!(rig.lines(), ["2", "3"]);
}

#[test]
fn what_is_being_packed_is_not_read_beside_what_it_is_packed_from() {
    let mut rig = Rig::new("app.log");
    rig.append("app.log", "1\n");
    assert_eq!(rig.lines(), ["1"]);
    tick();
    rig.append("app.log", "2\n");
    rig.rename("app.log", "app.log.1");
    // logrotate's program has begun, and has written nothing yet.
    rig.append("app.log.1.gz", "");
    assert_eq!(rig.lines(), ["2"]);
    rig.restart();
    assert_eq!(rig.lines(), Vec::<String>::new());
    rig.gzip("app.log.1", "app.log.1.gz");
    rig.append("app.log", "3\n");
    assert_eq!(rig.lines(), ["3"]);
    rig.restart();
    assert_eq!(rig.lines(), Vec::<String>::new());
}

#[test]
fn a_file_that_was_empty_hides_nothing_of_what_was_copied_or_packed_after_it() {
    for packed in [false, true] {
        let mut rig = Rig::new("app.log");
        rig.append("app.log", "1\n");
        rig.lines();
        tick();
        File::create(rig.path("app.log")).unwrap();
        rig.lines();
        tick();
        rig.append("app.log", "2\n");
        if packed {
            rig.gzip("app.log", "app.log.1.gz");
        } else {
            std::fs::copy(rig.path("app.log"), rig.path("app.log.1")).unwrap();
            File::create(rig.path("app.log")).unwrap();
        }
        rig.append("app.log", "3\n");
        rig.restart();
        assert_eq!(rig.lines(), ["2", "3"], "packed: {packed}");
    }
}

#[test]
fn an_inode_that_an_empty_file_had_says_nothing_of_other_names() {
    let mut rig = Rig::new("app.log");
    rig.append("app.log", "1\n");
    rig.lines();
    rig.rename("app.log", "app.log.1");
    rig.append("app.log", "");
    rig.lines();
    tick();
    // As if its inode had gone to a file of somebody else.
    rig.rename("app.log", "rotate.state");
    rig.append("rotate.state", "no line\n");
    rig.append("app.log", "2\n");
    rig.restart();
    assert_eq!(rig.lines(), ["2"]);
}

#[test]
fn an_empty_file_that_is_written_copied_and_cut_between_two_looks_is_read_from_its_copy() {
    let mut rig = Rig::new("app.log");
    rig.append("app.log", "1\n");
    rig.lines();
    File::create(rig.path("app.log")).unwrap();
    rig.lines();
    tick();
    rig.append("app.log", "2\n");
    std::fs::copy(rig.path("app.log"), rig.path("app.log.1")).unwrap();
    File::create(rig.path("app.log")).unwrap();
    assert_eq!(rig.lines(), ["2"]);
    rig.append("app.log", "3\n");
    assert_eq!(rig.lines(), ["3"]);
}

#[test]
fn what_is_written_to_a_file_after_its_successor_came_is_read_once() {
    let mut rig = Rig::new("app.log");
    rig.settings.gone_after = Duration::from_secs(3600);
    rig.restart();
    rig.append("app.log", "1\n");
    assert_eq!(rig.lines(), ["1"]);
    rig.rename("app.log", "app.log.1");
    rig.append("app.log", "");
    assert_eq!(rig.lines(), Vec::<String>::new());
    tick();
    // The program has not heard of the rotation yet.
    rig.append("app.log.1", "2\n");
    assert_eq!(rig.lines(), ["2"]);
    // Then the old one is let go. The new one stays empty, and is rotated with the agent there or not.
    rig.settings.gone_after = Duration::ZERO;
    rig.restart();
    assert_eq!(rig.lines(), Vec::<String>::new());
    for restart in [false, true] {
        rig.rename("app.log.1", "app.log.2");
        rig.rename("app.log", "app.log.1");
        rig.append("app.log", "");
        if restart {
            rig.restart();
        }
        assert_eq!(rig.lines(), Vec::<String>::new());
        rig.rename("app.log.2", "app.log.1");
    }
}

#[test]
fn of_many_only_some_are_open_at_a_time() {
    let mut rig = Rig::new("app.log");
    rig.settings.max_open = 3;
    rig.append("app.log", "0\n");
    rig.lines();
    for n in 10..40 {
        rig.rename("app.log", &format!("app.log.{n}"));
        tick();
        rig.append("app.log", &format!("{n}\n"));
    }
    rig.settings.gone_after = Duration::from_secs(3600);
    rig.restart();
    let expected: Vec<String> = (10..40).map(|n| n.to_string()).collect();
    assert_eq!(rig.lines(), expected);
    assert_eq!(rig.open_files(), 3);
}

#[test]
fn a_time_before_1970_costs_no_position() {
    let mut rig = Rig::new("app.log");
    rig.append("app.log", "1\n");
    let old = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    File::options().append(true).open(rig.path("app.log")).unwrap().set_modified(old).unwrap();
    assert_eq!(rig.lines(), ["1"]);
    rig.restart();
    assert_eq!(rig.lines(), Vec::<String>::new());
}

#[test]
fn one_that_is_shorter_and_begins_alike_is_read_anew() {
    let mut rig = Rig::new("app.log");
    let head = format!("{}\n", "h".repeat(1100));
    rig.append("app.log", &format!("{head}{}", "a\n".repeat(1000)));
    rig.lines();
    std::fs::write(rig.path("app.log"), format!("{head}b\n")).unwrap();
    rig.restart();
    assert!(rig.lines().contains(&"b".to_string()));
}

#[test]
fn what_was_renamed_meanwhile_is_found_in_every_folder_of_a_pattern() {
    let mut rig = Rig::new("*/app.log");
    for name in ["x", "y"] {
        std::fs::create_dir(rig.path(name)).unwrap();
        rig.append(&format!("{name}/app.log"), "1\n");
    }
    assert_eq!(rig.lines(), ["1", "1"]);
    rig.append("x/app.log", "2\n");
    rig.rename("x/app.log", "x/app.log.1");
    tick();
    rig.append("x/app.log.2", "no number 3 was there\n");
    rig.append("x/app.log", "3\n");
    rig.restart();
    assert_eq!(rig.lines(), ["2", "3", "no number 3 was there"]);
}
