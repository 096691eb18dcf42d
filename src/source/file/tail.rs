//! All files of a source: which there are, which are new, which are gone.

use super::Settings;
use super::rules::Rules;
use super::saved::{FileId, Saved};
use super::track::Track;
use crate::flow::frame::Frame;
use crate::telemetry::{Metric, Metrics, event};
use regex_lite::Regex;
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
    rules: Arc<Rules>,
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
        let message_start = settings.message_start.as_deref().and_then(|pattern| Regex::new(pattern).ok());
        let rules = Arc::new(Rules { max_line: settings.max_line, header: settings.header, message_start });
        let tracks = BTreeMap::new();
        let mut tail = Self { settings, saved, tracks, rules, metrics, first, starting: true, complained: None };
        tail.find_renamed();
        tail
    }

    /// What is new, in order for each file.
    pub fn poll(&mut self) -> Vec<Frame> {
        // Where copies of files that were cut are begun is saved before anything new of those files.
        let mut frames = self.refresh();
        frames.extend(self.discover());
        if self.first {
            frames.push(started());
        }
        self.first = false;
        self.starting = false;
        // Every file gets its share, whichever is busy.
        let share = (POLL_BYTES / self.tracks.len().max(1)).max(SHARE_BYTES);
        let mut finished = Vec::new();
        for (id, track) in &mut self.tracks {
            let rest = track.quiet_for() >= self.settings.unterminated_after
                || track.gone && track.quiet_for() >= self.settings.gone_after;
            let mut weight = 0;
            while weight < share {
                match track.next(rest) {
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

    /// Looks at the files that are read: before new ones are looked for, so that the copy of a file
    /// that was cut is known as such.
    fn refresh(&mut self) -> Vec<Frame> {
        let mut copies = Vec::new();
        for track in self.tracks.values_mut() {
            let before = track.saved();
            match track.refresh() {
                Ok(true) => {
                    copies.push(before);
                    self.metrics.add(Metric::FileTruncated, 1);
                    let path = track.path.display();
                    tracing::warn!(event = event::SOURCE_NOTE, %path, "truncated or replaced: reading from its start");
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(event = event::SOURCE_NOTE, path = %track.path.display(), %error, "cannot be read");
                }
            }
        }
        copies.iter().filter_map(|truncated| self.find_copy(truncated)).collect()
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
        let mut unknown = Vec::new();
        let mut copies = Vec::new();
        for path in paths {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let id = FileId { device: meta.dev(), inode: meta.ino() };
            if let Some(track) = self.tracks.get_mut(&id) {
                track.gone = false;
                track.path = path;
                continue;
            }
            match self.saved_for(id, &path) {
                None => unknown.push((path, meta)),
                Some(saved) => match Track::open(&path, Some(&saved), false, self.rules.clone()) {
                    Ok(track) => {
                        // It was cut, or is another one, since we looked last.
                        copies.extend((track.saved().offset < saved.offset).then_some(saved));
                        self.tracks.insert(track.id, track);
                    }
                    Err(error) => self.complain(format!("{}: {error}", path.display())),
                },
            }
        }
        begun.extend(copies.iter().filter_map(|truncated| self.find_copy(truncated)));
        for (path, meta) in unknown {
            let id = FileId { device: meta.dev(), inode: meta.ino() };
            let age = meta.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
            let is_old = self.settings.ignore_older.is_some_and(|limit| age > limit);
            if let Some(copy) = self.tracks.get_mut(&id) {
                // The pattern leads to it: it is kept in mind when it has been read.
                copy.gone = false;
                continue;
            }
            if is_old || self.is_copy(&path) {
                continue;
            }
            match Track::open(&path, None, self.settings.from_end && self.first, self.rules.clone()) {
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

    /// Files that we know are read to their end, whatever they are called now.
    fn find_renamed(&mut self) {
        let entries = std::fs::read_dir(folder(&self.settings.path)).into_iter().flatten().filter_map(Result::ok);
        let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        for path in paths {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let id = FileId { device: meta.dev(), inode: meta.ino() };
            let Some(saved) = self.saved.get(&Saved::part(id)) else { continue };
            // Another file may have got the inode: only the one that we know is read on.
            let known = std::fs::File::open(&path).is_ok_and(|file| saved.fingerprint.matches(&file));
            if let Some(track) = known.then(|| Track::open(&path, Some(saved), true, self.rules.clone()).ok()).flatten()
            {
                self.tracks.insert(id, track);
            }
        }
    }

    /// Whether a file that the pattern matches is a copy of one that is read, made before that one is
    /// cut (`copytruncate` of `app.log` under the pattern `app.log*`): what is in it was read, or is
    /// being read there. A copy is named after its original, begins and ends like it, and is not longer.
    fn is_copy(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        let named_after = |track: &&Track| {
            let original = track.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            track.path.parent() == path.parent() && name.len() > original.len() && name.starts_with(original)
        };
        let file = std::fs::File::open(path);
        file.is_ok_and(|file| self.tracks.values().filter(named_after).any(|track| track.holds(&file)))
    }

    /// A file was copied and then cut to nothing (logrotate's `copytruncate`): what we had not read
    /// of it is in the copy, a file beside it that begins alike and is long enough.
    fn find_copy(&mut self, truncated: &Saved) -> Option<Frame> {
        let beside = truncated.path.parent().map(std::fs::read_dir).into_iter().flatten().flatten();
        for path in beside.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| *path != truncated.path) {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let id = FileId { device: meta.dev(), inode: meta.ino() };
            if !meta.is_file() || meta.len() < truncated.offset || truncated.fingerprint.length == 0 {
                continue;
            }
            let alike = std::fs::File::open(&path).is_ok_and(|file| truncated.fingerprint.matches(&file));
            let known = self.tracks.contains_key(&id) || self.saved.contains_key(&Saved::part(id));
            if alike
                && !known
                && let Ok(mut track) = Track::open(&path, Some(truncated), true, self.rules.clone())
            {
                let path = path.display();
                tracing::info!(event = event::SOURCE_NOTE, %path, "the copy of a truncated file: reading its rest");
                // Nobody writes to it: it is let go when it has been read.
                track.gone = true;
                let bookmark = track.bookmark();
                self.tracks.insert(id, track);
                return Some(bookmark);
            }
        }
        None
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
    use crate::source::file::saved::Fingerprint;
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
            let frames = rig.tail.poll();
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
    fn the_header_of_a_file_goes_with_its_lines_also_when_it_changes_and_over_restarts() {
        let mut rig = Rig::new("a.csv");
        rig.settings.header = Some(b',');
        rig.restart();
        let frames = |rig: &mut Rig| -> Vec<(String, String)> {
            let mut out = Vec::new();
            for frame in rig.tail.poll() {
                if let Payload::Lines(block) = &frame.payload {
                    let header = frame.header.as_deref().unwrap_or_default().to_string();
                    out.push((header, String::from_utf8(block.to_vec()).unwrap()));
                }
                let position = frame.position.unwrap();
                rig.positions.insert(position.part, position.value);
            }
            out
        };
        let pair = |header: &str, lines: &str| (header.to_string(), lines.to_string());
        rig.append("a.csv", "time,t\r\n12:00,1\n12:01,2\n");
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
    fn lines_belong_together_up_to_the_next_one_that_begins_a_message() {
        let mut rig = Rig::new("a.log");
        rig.settings.message_start = Some(r"^\d{4} ".into());
        rig.restart();
        let messages = |rig: &mut Rig| -> Vec<String> {
            let mut out = Vec::new();
            for frame in rig.tail.poll() {
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
        rig.settings.unterminated_after = Duration::ZERO;
        rig.restart();
        assert_eq!(messages(&mut rig), ["2026 three"], "after a silence it is over");
        assert_eq!(messages(&mut rig), Vec::<String>::new());
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
