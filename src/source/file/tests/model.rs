//! Random writes, rotations of every sort, looks and kills, against what a perfect reader would deliver.
//!
//! Every line says which file it is of and has a number; what is delivered is judged by that, not by
//! what the tail says. A commit holds one frame; a kill loses the frames that were not committed.

use super::Rig;
use crate::flow::frame::{Frame, Payload};
use crate::source::file::saved::{FileId, Saved};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// What may happen to one of two files.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many whole lines of so many bytes.
    Write(usize, usize, usize),
    /// A line whose newline comes later.
    Half(usize),
    /// Look, and commit so many of the frames that wait.
    Look(usize),
    /// Commit so many frames, and start anew.
    Kill(usize),
    /// Another name, and a new file.
    Rename(usize),
    /// A copy, and cut to nothing.
    CopyTruncate(usize),
    /// As `Rename`, and packed at once.
    Compress(usize),
    /// The oldest that was renamed is packed (`delaycompress`).
    CompressLater(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let file = 0..2_usize;
    let step = prop_oneof![
        4 => (file.clone(), 1..30_usize, 1..3000_usize).prop_map(|(file, lines, size)| Step::Write(file, lines, size)),
        1 => file.clone().prop_map(Step::Half),
        4 => (0..20_usize).prop_map(Step::Look),
        2 => (0..20_usize).prop_map(Step::Kill),
        1 => file.clone().prop_map(Step::Rename),
        1 => file.clone().prop_map(Step::CopyTruncate),
        1 => file.clone().prop_map(Step::Compress),
        1 => file.prop_map(Step::CompressLater),
    ];
    prop::collection::vec(step, 1..60)
}

const NAMES: [&str; 2] = ["a.log", "b.log"];

struct World {
    rig: Rig,
    waiting: VecDeque<Frame>,
    committed: u64,
    delivered: Vec<String>,
    written: Vec<String>,
    /// The line that has no newline yet.
    half: [bool; 2],
    /// The present file has a position that was committed.
    known: [bool; 2],
    renamed: [VecDeque<String>; 2],
    rotations: u32,
}

impl World {
    fn new(pattern: &str, max_open: usize) -> Self {
        let mut rig = Rig::new(pattern);
        rig.settings.max_open = max_open;
        rig.restart();
        Self {
            rig,
            waiting: VecDeque::new(),
            committed: 0,
            delivered: Vec::new(),
            written: Vec::new(),
            half: [false; 2],
            known: [false; 2],
            renamed: Default::default(),
            rotations: 0,
        }
    }

    fn write(&mut self, file: usize, size: usize) {
        let line = format!("{}:{}:{}", NAMES[file], self.written.len(), "x".repeat(size));
        self.rig.append(NAMES[file], &line);
        self.written.push(line);
    }

    fn end_line(&mut self, file: usize) {
        if std::mem::take(&mut self.half[file]) {
            self.rig.append(NAMES[file], "\n");
        }
    }

    fn look(&mut self) {
        self.waiting.extend(self.rig.tail.poll(self.committed));
    }

    fn commit(&mut self, most: usize) {
        for _ in 0..most {
            let Some(frame) = self.waiting.pop_front() else { break };
            self.committed += 1;
            match frame.payload {
                Payload::Lines(block) => {
                    let text = String::from_utf8(block.to_vec()).unwrap();
                    self.delivered.extend(text.lines().map(String::from));
                }
                Payload::Nothing => {}
                other => panic!("{other:?}"),
            }
            let position = frame.position.unwrap();
            if position.value.is_empty() {
                self.rig.positions.remove(&position.part);
            } else {
                self.rig.positions.insert(position.part, position.value);
            }
        }
    }

    /// Whether the reader can know that what is rotated now was there: docs/sources/file.md states that
    /// a file must have been seen, and its place be saved, once between two rotations.
    fn may_rotate(&mut self, file: usize) -> bool {
        self.end_line(file);
        let is_there = self.rig.path(NAMES[file]).metadata().is_ok_and(|meta| meta.len() > 0);
        is_there && self.known[file]
    }

    fn rotated(&mut self, file: usize, more: &str) -> String {
        self.known[file] = false;
        self.rotations += 1;
        format!("{}.{}{more}", NAMES[file], self.rotations)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(file, lines, size) => {
                self.end_line(file);
                for _ in 0..lines {
                    self.write(file, size);
                    self.rig.append(NAMES[file], "\n");
                }
            }
            Step::Half(file) => {
                self.end_line(file);
                self.write(file, 5);
                self.half[file] = true;
            }
            Step::Look(most) => {
                self.look();
                self.commit(most);
                if self.waiting.is_empty() {
                    let rig = &self.rig;
                    let is_known = |name: &str| {
                        let Ok(meta) = rig.path(name).metadata() else { return false };
                        let id = FileId::of(&meta);
                        let saved = rig.positions.values().filter_map(|saved| Saved::decode(saved));
                        saved
                            .into_iter()
                            .any(|saved| saved.id == id && saved.offset > 0 && saved.is_of(&rig.path(name)))
                    };
                    let now = NAMES.map(is_known);
                    self.known.iter_mut().zip(now).for_each(|(known, now)| *known |= now);
                }
            }
            Step::Kill(most) => {
                self.commit(most);
                self.waiting.clear();
                self.committed = 0;
                self.rig.restart();
            }
            Step::Rename(file) if self.may_rotate(file) => {
                let to = self.rotated(file, "");
                self.rig.rename(NAMES[file], &to);
                self.renamed[file].push_back(to);
            }
            Step::CopyTruncate(file) if self.may_rotate(file) => {
                let to = self.rotated(file, "");
                std::fs::copy(self.rig.path(NAMES[file]), self.rig.path(&to)).unwrap();
                std::fs::File::create(self.rig.path(NAMES[file])).unwrap();
            }
            Step::Compress(file) if self.may_rotate(file) => {
                let to = self.rotated(file, ".gz");
                self.rig.gzip(NAMES[file], &to);
            }
            Step::CompressLater(file) => {
                if let Some(name) = self.renamed[file].pop_front() {
                    self.rig.gzip(&name, &format!("{name}.gz"));
                }
            }
            Step::Rename(_) | Step::CopyTruncate(_) | Step::Compress(_) => {}
        }
    }

    fn judge(mut self) {
        (0..2).for_each(|file| self.end_line(file));
        for _ in 0..200 {
            self.look();
            self.commit(usize::MAX);
        }
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        self.delivered.iter().for_each(|line| *seen.entry(line).or_default() += 1);
        let short = |line: &str| line.chars().take(12).collect::<String>();
        let written = self.written.iter().map(String::as_str);
        let lost: Vec<_> = written.filter(|line| !seen.contains_key(line)).map(short).take(5).collect();
        let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).map(|(line, _)| short(line)).take(5).collect();
        assert!(lost.is_empty() && twice.is_empty(), "lost {lost:?}, more than once {twice:?}");
        assert_eq!(self.delivered.len(), self.written.len(), "and nothing else");
        for name in NAMES {
            let of = |lines: &[String]| -> Vec<String> {
                lines.iter().filter(|line| line.starts_with(name)).map(|line| short(line)).collect()
            };
            assert_eq!(of(&self.delivered), of(&self.written), "in the order in which they were written");
        }
    }
}

fn run(pattern: &str, max_open: usize, steps: &[Step]) {
    let mut world = World::new(pattern, max_open);
    for step in steps {
        world.step(*step);
    }
    world.judge();
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("FOREBAY_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_line_is_delivered_once_where_only_live_files_match(steps in steps()) {
        run("*.log", 256, &steps);
    }

    #[test]
    fn every_line_is_delivered_once_where_rotated_files_match_too(steps in steps()) {
        run("*", 256, &steps);
    }

    #[test]
    fn every_line_is_delivered_once_with_one_file_open_at_a_time(steps in steps()) {
        run("*", 1, &steps);
    }
}
