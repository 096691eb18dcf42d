//! All files of a source: which there are, which are new, which are gone.

use super::Settings;
use super::track::{FileId, Saved, Track};
use crate::flow::frame::Frame;
use crate::telemetry::{Metric, Metrics, event};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// At least so many bytes of each file.
const SHARE_BYTES: usize = 16 << 10;
/// About so many bytes are read in one poll.
const POLL_BYTES: usize = 512 << 10;

/// Reads files from where they were left.
#[derive(Debug)]
pub struct Tail {
    settings: Settings,
    saved: BTreeMap<String, Saved>,
    tracks: BTreeMap<FileId, Track>,
    metrics: Arc<Metrics>,
    /// Files of the very first start may be read from their end.
    first: bool,
    /// Until the first look: later, a path says nothing of where a file was left.
    starting: bool,
    complained: Option<String>,
}

impl Tail {
    /// With the positions of the last commit.
    #[must_use]
    pub fn new(settings: Settings, positions: &[(String, Vec<u8>)], metrics: Arc<Metrics>) -> Self {
        let saved: BTreeMap<_, _> =
            positions.iter().filter_map(|(part, value)| Some((part.clone(), Saved::decode(value)?))).collect();
        let first = positions.is_empty();
        let mut tail =
            Self { settings, saved, tracks: BTreeMap::new(), metrics, first, starting: true, complained: None };
        tail.find_renamed();
        tail
    }

    /// What is new, in order for each file.
    pub fn poll(&mut self) -> Vec<Frame> {
        let mut frames = self.discover();
        if self.first {
            frames.push(started());
        }
        self.first = false;
        self.starting = false;
        // Every file gets its share, whichever is busy.
        let share = (POLL_BYTES / self.tracks.len().max(1)).max(SHARE_BYTES);
        let mut finished = Vec::new();
        for (id, track) in &mut self.tracks {
            match track.refresh() {
                Ok(true) => {
                    self.metrics.add(Metric::FileTruncated, 1);
                    let path = track.path.display();
                    tracing::warn!(event = event::SOURCE_NOTE, %path, "truncated or replaced: reading from its start");
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(event = event::SOURCE_NOTE, path = %track.path.display(), %error, "cannot be read");
                    continue;
                }
            }
            let rest = track.quiet_for() >= self.settings.unterminated_after
                || track.gone && track.quiet_for() >= self.settings.gone_after;
            let mut weight = 0;
            while weight < share {
                match track.next(self.settings.max_line, rest) {
                    Ok(Some(frame)) => {
                        weight += frame.weight();
                        frames.push(frame);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let path = track.path.display();
                        tracing::warn!(event = event::SOURCE_NOTE, %path, %error, "cannot be read");
                        break;
                    }
                }
            }
            if track.gone && track.is_finished() && track.quiet_for() >= self.settings.gone_after {
                finished.push(*id);
            }
        }
        for id in finished {
            if let Some(track) = self.tracks.remove(&id) {
                self.saved.remove(&Saved::part(id));
                frames.push(track.farewell());
            }
        }
        frames
    }

    /// Finds the files that the pattern leads to now; returns where those begin that are read from
    /// their end, so that a restart does not skip what was written meanwhile.
    fn discover(&mut self) -> Vec<Frame> {
        let mut begun = Vec::new();
        let paths = match glob::glob(&self.settings.path) {
            Ok(paths) => paths.filter_map(Result::ok).filter(|path| path.is_file()).collect::<Vec<_>>(),
            Err(error) => {
                self.complain(error.to_string());
                return begun;
            }
        };
        for track in self.tracks.values_mut() {
            track.gone = true;
        }
        for path in paths {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let id = FileId { device: meta.dev(), inode: meta.ino() };
            if let Some(track) = self.tracks.get_mut(&id) {
                track.gone = false;
                track.path = path;
                continue;
            }
            let saved = self.saved_for(id, &path);
            match Track::open(&path, saved.as_ref(), self.settings.from_end && self.first) {
                Ok(track) => {
                    if self.settings.from_end && self.first {
                        begun.push(track.bookmark());
                    }
                    self.tracks.insert(track.id, track);
                }
                Err(error) => self.complain(format!("{}: {error}", path.display())),
            }
        }
        begun
    }

    /// By device and inode; where devices got new numbers, by path.
    fn saved_for(&self, id: FileId, path: &Path) -> Option<Saved> {
        let by_id = self.saved.get(&Saved::part(id));
        let by_path = || self.saved.values().find(|saved| self.starting && saved.path == path);
        by_id.or_else(by_path).cloned()
    }

    /// Files that were renamed while nobody looked are read to their end.
    fn find_renamed(&mut self) {
        let entries = std::fs::read_dir(folder(&self.settings.path)).into_iter().flatten().filter_map(Result::ok);
        let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        for path in paths {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let id = FileId { device: meta.dev(), inode: meta.ino() };
            let Some(saved) = self.saved.get(&Saved::part(id)).filter(|saved| saved.path != path) else { continue };
            // Another file may have got the inode: only the one that we know is read on.
            let known = std::fs::File::open(&path).is_ok_and(|file| saved.fingerprint.matches(&file));
            if let Some(track) = known.then(|| Track::open(&path, Some(saved), true).ok()).flatten() {
                self.tracks.insert(id, track);
            }
        }
    }

    /// Once for each kind of trouble.
    fn complain(&mut self, what: String) {
        if self.complained.as_ref() != Some(&what) {
            tracing::warn!(event = event::SOURCE_NOTE, "{what}");
            self.complained = Some(what);
        }
    }
}

/// Notes that there was a first start: later, new files are read from their start.
fn started() -> Frame {
    Frame::position("started", vec![1])
}

/// The folder of a path or pattern.
fn folder(path: &str) -> PathBuf {
    let parent = Path::new(path).parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::frame::Payload;
    use std::fmt::Write as _;
    use std::io::Write as _;
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
            settings.unterminated_after = Duration::from_secs(3600);
            settings.gone_after = Duration::ZERO;
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
            for frame in self.tail.poll() {
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

        fn restart(&mut self) {
            let positions: Vec<_> = self.positions.clone().into_iter().collect();
            self.tail = Tail::new(self.settings.clone(), &positions, Metrics::new());
        }
    }

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
        let mut both: Vec<String> =
            (0..3).flat_map(|_| rig.poll().lines().map(String::from).collect::<Vec<_>>()).collect();
        both.sort();
        assert_eq!(both, ["2", "3", "last"], "a gone file's last line needs no newline");
        assert_eq!(rig.positions.len(), 2, "the gone file is forgotten");
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
    fn many_short_lines_are_several_frames_none_too_large_for_an_atom() {
        let mut rig = Rig::new("a.log");
        rig.append("a.log", &"\n".repeat(30_000));
        let frames: Vec<Frame> = (0..20).flat_map(|_| rig.tail.poll()).collect();
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
        rig.settings.unterminated_after = Duration::ZERO;
        rig.restart();
        rig.append("a.log", "1\n2");
        assert_eq!(rig.poll() + &rig.poll(), "1\n2");
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
}
