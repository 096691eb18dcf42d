//! The folder: which files are written in it, which are finished, and how much it may hold.

use super::Settings;
use super::file::{WRITING, Written, finish_left};
use crate::flow::batch::Event;
use crate::telemetry::{Metric, Metrics, event};
use flate2::read::GzDecoder;
use std::collections::{BTreeSet, HashMap};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A file is finished at this many bytes.
const FILE_BYTES: u64 = 16 << 20;
/// A batch is written at most this many times when its files are taken away while it is written.
const ATTEMPTS: usize = 3;
/// The ends of names of finished files.
const PLAIN: &str = ".ndjson";
const PACKED: &str = ".ndjson.gz";

/// The folder of a sink, with the files that are being written in it.
#[derive(Debug)]
pub struct Folder {
    settings: Settings,
    /// The file that is being written, for each stream.
    files: HashMap<String, Written>,
    /// True when the files that an earlier process left are finished.
    is_tidy: bool,
    metrics: Arc<Metrics>,
}

impl Folder {
    /// Makes the state of a folder; nothing on the disk is touched yet.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { settings, files: HashMap::new(), is_tidy: false, metrics }
    }

    /// Writes events and makes them durable, in files to which their paths still lead.
    pub fn write(&mut self, events: &[Event]) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            let streams = self.append_all(events)?;
            let synced = streams.iter().filter_map(|stream| self.files.get(stream)).try_for_each(Written::sync);
            // A file whose sync failed must not be synced again: the next file takes its place.
            if let Err(error) = synced.and_then(|()| File::open(&self.settings.path)?.sync_all()) {
                for stream in &streams {
                    self.files.remove(stream);
                }
                self.is_tidy = false;
                return Err(error);
            }
            if streams.iter().all(|stream| self.files.get(stream).is_some_and(Written::is_in_place)) {
                return Ok(());
            }
            let folder = self.settings.path.display().to_string();
            tracing::info!(event = event::SINK_NOTE, folder, "a file was taken while it was written: writing it again");
        }
        Err(io::Error::other("files are taken away while they are written; collect those without .writing"))
    }

    fn append_all(&mut self, events: &[Event]) -> io::Result<BTreeSet<String>> {
        let mut streams = BTreeSet::new();
        for event in events {
            let stream = event.envelope.stream.to_string();
            self.append(&stream, event)?;
            streams.insert(stream);
        }
        Ok(streams)
    }

    fn append(&mut self, stream: &str, event: &Event) -> io::Result<()> {
        let envelope = &event.envelope;
        if let Some(written) = self.files.get(stream) {
            if !written.is_in_place() {
                // Somebody else moved, removed or wrote to the file: it is theirs.
                self.files.remove(stream);
            } else if written.epoch != envelope.epoch || written.length >= FILE_BYTES {
                self.finish(stream);
            }
        }
        if !self.files.contains_key(stream) {
            self.make_folder()?;
            self.finish_what_was_left()?;
            let stem = format!("{}.{:016x}.{:020}", file_name(stream), envelope.epoch, envelope.first);
            let ending = if self.settings.packed { PACKED } else { PLAIN };
            let written = Written::create(&self.settings, &stem, ending, envelope.epoch)?;
            self.files.insert(stream.into(), written);
            self.keep_within_limit();
        }
        let Some(written) = self.files.get_mut(stream) else { return Ok(()) };
        let appended = match (envelope.content_encoding, self.settings.packed) {
            // A gzip file may have many members: each body is one.
            (Some(_), true) | (None, false) => written.append(&event.body),
            (Some(_), false) => {
                let mut body = Vec::new();
                GzDecoder::new(&event.body[..]).read_to_end(&mut body)?;
                written.append(&body)
            }
            (None, true) => Err(io::Error::other("a body that is not packed for a file that is")),
        };
        if appended.is_err() {
            // The batch is written again in a new file; this file keeps only whole lines.
            self.finish(stream);
        }
        appended
    }

    /// Finishes the files that have reached the age `roll`. Returns the time until the next one does.
    pub fn finish_old(&mut self) -> Option<Duration> {
        let is_old = |written: &Written| written.since.elapsed() >= self.settings.roll;
        let old: Vec<String> =
            self.files.iter().filter(|(_, written)| is_old(written)).map(|(stream, _)| stream.clone()).collect();
        for stream in &old {
            self.finish(stream);
        }
        self.files.values().map(|written| self.settings.roll.saturating_sub(written.since.elapsed())).min()
    }

    /// Finishes all files.
    pub fn finish_all(&mut self) {
        let all: Vec<String> = self.files.keys().cloned().collect();
        for stream in &all {
            self.finish(stream);
        }
    }

    fn finish(&mut self, stream: &str) {
        let Some(written) = self.files.remove(stream) else { return };
        let finished = written.finish().and_then(|()| File::open(&self.settings.path)?.sync_all());
        if let Err(error) = finished {
            let folder = self.settings.path.display().to_string();
            tracing::warn!(event = event::SINK_NOTE, folder, %error, "a file keeps its name `{WRITING}` for now");
            self.is_tidy = false;
        }
    }

    /// Makes the folder and the folders above it.
    fn make_folder(&self) -> io::Result<()> {
        let folder = &self.settings.path;
        if folder.is_dir() {
            return Ok(());
        }
        let first_there = folder.ancestors().find(|above| above.is_dir()).map(Path::to_path_buf);
        // Users who may read the files may also search the folder.
        let mode = self.settings.mode | (self.settings.mode & 0o444) >> 2;
        DirBuilder::new().recursive(true).mode(mode).create(folder)?;
        // The umask takes rights away that `mode` gives.
        for made in folder.ancestors().take_while(|above| Some(*above) != first_there.as_deref()) {
            let _ = std::fs::set_permissions(made, Permissions::from_mode(mode));
        }
        // Each new folder is an entry in the folder above it, which is synced too.
        let mut above = folder.parent();
        while let Some(path) = above {
            let at = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            File::open(at)?.sync_all()?;
            if Some(path) == first_there.as_deref() || path.as_os_str().is_empty() {
                break;
            }
            above = path.parent();
        }
        Ok(())
    }

    /// Finishes the files that an earlier process, or an error, left with `.writing`.
    fn finish_what_was_left(&mut self) -> io::Result<()> {
        if self.is_tidy {
            return Ok(());
        }
        let is_ours = |name: &str| name.strip_suffix(WRITING).is_some_and(is_file_name);
        for path in files_in(&self.settings.path, is_ours)? {
            if !self.files.values().any(|written| written.is_at(&path)) {
                finish_left(&path)?;
            }
        }
        self.is_tidy = true;
        Ok(())
    }

    /// Removes the oldest finished files while all files have more bytes than `keep`.
    fn keep_within_limit(&self) {
        let Some(keep) = self.settings.keep else { return };
        let Ok(paths) = files_in(&self.settings.path, is_file_name) else { return };
        // Files are sorted by epoch before their times: the clock may have been set between two starts.
        let mut files: Vec<(String, SystemTime, PathBuf, u64)> = paths
            .into_iter()
            .filter_map(|path| {
                let meta = std::fs::metadata(&path).ok()?;
                let epoch = epoch_of(path.file_name()?.to_str()?)?.to_string();
                Some((epoch, meta.modified().ok()?, path, meta.len()))
            })
            .collect();
        files.sort();
        let written = self.files.values().map(|written| written.length).sum::<u64>();
        let mut total = written + files.iter().map(|(.., bytes)| bytes).sum::<u64>();
        // The file that was just made may grow to `FILE_BYTES`.
        let limit = keep.saturating_sub(FILE_BYTES);
        let (mut removed, mut freed) = (0, 0);
        for (.., path, bytes) in files {
            if total <= limit {
                break;
            }
            if std::fs::remove_file(&path).is_ok() {
                removed += 1;
                freed += bytes;
            }
            total -= bytes;
        }
        if removed > 0 {
            let folder = self.settings.path.display().to_string();
            self.metrics.add(Metric::DirectoryRemoved, removed);
            tracing::warn!(
                event = event::SINK_NOTE,
                folder,
                removed,
                freed,
                keep,
                "the oldest files were removed: `keep`"
            );
        }
    }
}

/// The name of a stream as part of a file's name; characters that a file's name may not have become `_`.
fn file_name(stream: &str) -> String {
    stream.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

/// Whether a finished file of ours may have this name: `<stream>.<epoch>.<first sequence>[.<number>].ndjson[.gz]`.
fn is_file_name(name: &str) -> bool {
    epoch_of(name).is_some()
}

/// The epoch in the name of a finished file.
fn epoch_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(PACKED).or(name.strip_suffix(PLAIN))?;
    let is_of = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = stem.rsplit('.').collect();
    let at = |at: usize| {
        let part = |n: usize| parts.get(at + n).copied().unwrap_or_default();
        (is_of(part(0), 20) && is_of(part(1), 16) && parts.len() > at + 2).then(|| part(1))
    };
    at(0).or_else(|| at(1))
}

fn files_in(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&is_wanted) && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::batch::Envelope;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn settings(path: PathBuf) -> Settings {
        Settings { path, roll: Duration::from_secs(300), keep: None, mode: 0o600, packed: false }
    }

    fn folder(settings: &Settings) -> Folder {
        Folder::new(settings.clone(), Metrics::new())
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    }

    fn event(first: u64, text: &str, is_packed: bool) -> Event {
        let body = if is_packed { packed(text) } else { text.into() };
        let envelope = Envelope {
            device: "d".into(),
            store: "s".into(),
            stream: "readings".into(),
            epoch: 7,
            lane: crate::flow::lane::LaneId::WHOLE,
            first,
            last: first,
            count: 1,
            after: 0,
            generation: 1,
            in_flight: false,
            unset: None,
            content_type: "application/x-ndjson",
            content_encoding: is_packed.then_some("gzip"),
        };
        Event { envelope, body: body.into(), arrival_ms: None }
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_was_taken_away_or_written_to_gets_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er");
        let mut out = folder(&settings(path.clone()));
        out.write(&[event(1, "one\n", false)]).unwrap();
        let name = "readings.0000000000000007.00000000000000000001.ndjson";
        let writing = path.join(format!("{name}.writing"));
        assert_eq!(std::fs::read_to_string(&writing).unwrap(), "one\n");
        // Moved: what comes is in a file of its own.
        std::fs::rename(&writing, dir.path().join("taken")).unwrap();
        out.write(&[event(2, "two\n", false)]).unwrap();
        // Removed, with the folder.
        std::fs::remove_dir_all(dir.path().join("deep")).unwrap();
        out.write(&[event(3, "three\n", false)]).unwrap();
        // Another file took its place.
        let third = path.join(name.replace("1.ndjson", "3.ndjson.writing"));
        assert_eq!(std::fs::read_to_string(&third).unwrap(), "three\n");
        std::fs::remove_file(&third).unwrap();
        std::fs::write(&third, "three\n").unwrap();
        out.write(&[event(4, "four\n", false)]).unwrap();
        // Cut by somebody.
        let fourth = path.join(name.replace("1.ndjson", "4.ndjson.writing"));
        std::fs::write(&fourth, "").unwrap();
        out.write(&[event(5, "five\n", false)]).unwrap();
        out.finish_all();
        assert_eq!(std::fs::read_to_string(dir.path().join("taken")).unwrap(), "one\n");
        let fifth = path.join(name.replace("1.ndjson", "5.ndjson"));
        assert_eq!(std::fs::read_to_string(fifth).unwrap(), "five\n");
    }

    #[test]
    fn files_are_finished_by_age_by_epoch_and_at_the_end_and_keep_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut settings = settings(path.clone());
        (settings.mode, settings.roll) = (0o640, Duration::ZERO);
        let mut out = folder(&settings);
        out.write(&[event(1, "one\n", false)]).unwrap();
        assert!(names(&path)[0].ends_with("1.ndjson.writing"));
        assert_eq!(out.finish_old(), None);
        assert!(names(&path)[0].ends_with("1.ndjson"));
        out.write(&[event(2, "two\n", false)]).unwrap();
        let mut other = event(3, "three\n", false);
        other.envelope.epoch = 8;
        out.write(&[other]).unwrap();
        assert_eq!(names(&path).iter().filter(|name| name.ends_with(WRITING)).count(), 1);
        out.finish_all();
        assert_eq!(names(&path).iter().filter(|name| is_file_name(name)).count(), 3);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join(&names(&path)[0]))), (0o750, 0o640));
    }

    #[test]
    fn what_a_kill_left_is_cut_to_what_is_whole_and_finished() {
        for is_packed in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let settings = Settings { packed: is_packed, ..settings(dir.path().into()) };
            let mut killed = folder(&settings);
            killed.write(&[event(1, "one\ntwo\n", is_packed), event(3, "three\n", is_packed)]).unwrap();
            let name = names(dir.path())[0].clone();
            let mut torn = std::fs::OpenOptions::new().append(true).open(dir.path().join(&name)).unwrap();
            let rest = if is_packed { packed("four\n") } else { "four\n".into() };
            torn.write_all(&rest[..3]).unwrap();
            drop(killed);
            // One with nothing whole in it.
            std::fs::write(dir.path().join(format!("x{name}")), "on").unwrap();
            let mut out = folder(&settings);
            out.write(&[event(1, "one\ntwo\n", is_packed)]).unwrap();
            out.finish_all();
            let first = name.strip_suffix(WRITING).unwrap();
            let again = first.replace(".ndjson", ".1.ndjson");
            assert_eq!(names(dir.path()), [again, first.to_string()], "what is finished is not written over");
            let bytes = std::fs::read(dir.path().join(first)).unwrap();
            let mut text = String::new();
            if is_packed {
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            } else {
                text = String::from_utf8(bytes).unwrap();
            }
            assert_eq!(text, "one\ntwo\nthree\n");
        }
    }

    #[test]
    fn the_oldest_finished_files_give_way_to_keep_and_nothing_that_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("of-a-person.ndjson"), vec![b' '; 1 << 20]).unwrap();
        let settings = Settings { keep: Some(FILE_BYTES + 10), ..settings(dir.path().into()) };
        let mut out = folder(&settings);
        for n in 1..=5 {
            out.write(&[event(n, "12345\n", false)]).unwrap();
            out.finish_all();
            // Times of files may have a tick of 10 ms.
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = names(dir.path());
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left[0].starts_with("of-a-person") && left[1].ends_with("4.ndjson") && left[2].ends_with("5.ndjson"));
        assert_eq!(out.metrics.get(Metric::DirectoryRemoved), 3);
    }
}
