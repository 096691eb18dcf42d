//! Tails of real files in a folder of their own.

mod copied;
mod kinds;
mod lines;
mod model;
mod rotation;

use super::{Settings, Tail};
use crate::flow::frame::Payload;
use crate::telemetry::Metrics;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

struct Rig {
    dir: tempfile::TempDir,
    settings: Settings,
    tail: Tail,
    positions: BTreeMap<String, Vec<u8>>,
}

impl Rig {
    fn new(pattern: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dir.path().join(pattern).to_str().unwrap());
        settings.gone_after = Duration::ZERO;
        settings.done_after = Duration::ZERO;
        settings.max_line = 100_000;
        let tail = Tail::new(settings.clone(), &[], Metrics::new());
        Self { dir, settings, tail, positions: BTreeMap::new() }
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Everything that is new, as one text; `#n` is a line of n bytes that was too long.
    fn poll(&mut self) -> String {
        let mut text = String::new();
        for frame in self.tail.poll(u64::MAX) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            match frame.payload {
                Payload::Lines(block) => text.push_str(std::str::from_utf8(&block).unwrap()),
                Payload::TooLarge { length, .. } => writeln!(text, "#{length}").unwrap(),
                Payload::Nothing => {}
                Payload::One(_) | Payload::Messages(_) => panic!("files have lines"),
            }
            let position = frame.position.unwrap();
            if position.value.is_empty() {
                self.positions.remove(&position.part);
            } else {
                self.positions.insert(position.part, position.value);
            }
        }
        text
    }

    /// As logrotate's `compress` does it.
    fn gzip(&self, from: &str, to: &str) {
        let mut packer = GzEncoder::new(std::fs::File::create(self.path(to)).unwrap(), Compression::default());
        packer.write_all(&std::fs::read(self.path(from)).unwrap()).unwrap();
        packer.finish().unwrap();
        std::fs::remove_file(self.path(from)).unwrap();
    }

    /// Packed, with the original still there.
    fn gzip_copy(&self, from: &str, to: &str) {
        std::fs::copy(self.path(from), self.path(".copy")).unwrap();
        self.gzip(".copy", to);
    }

    /// The lines of several polls, sorted.
    fn lines(&mut self) -> Vec<String> {
        let mut lines: Vec<String> =
            (0..4).flat_map(|_| self.poll().lines().map(String::from).collect::<Vec<_>>()).collect();
        lines.sort();
        lines
    }

    fn restart(&mut self) {
        let positions: Vec<_> = self.positions.clone().into_iter().collect();
        self.tail = Tail::new(self.settings.clone(), &positions, Metrics::new());
    }
}
