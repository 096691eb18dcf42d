//! Finds the files of a pattern: new ones, and known files that were renamed, cut, copied or packed.

use super::{DONE, Tail};
use crate::flow::frame::Frame;
use crate::source::file::WhenDone;
use crate::source::file::content::unpacks_to;
use crate::source::file::saved::{FileId, Part, Saved, folder, has_folder};
use crate::source::file::track::Track;
use crate::telemetry::event;
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

impl Tail {
    /// Finds the files that the pattern matches now. Returns frames that save the start offset of each file
    /// that is not read from its beginning. So a restart does not skip lines that were written meanwhile.
    pub(super) fn discover(&mut self) -> Vec<Frame> {
        let mut begun = Vec::new();
        let paths = match glob::glob(&self.settings.path) {
            Ok(paths) => paths.filter_map(Result::ok).filter(|path| self.is_ours(path)).collect::<Vec<_>>(),
            Err(error) => {
                self.complaints.say(error.to_string());
                return begun;
            }
        };
        for track in self.tracks.values_mut() {
            track.gone = true;
        }
        let mut open = self.tracks.values().filter(|track| track.is_open()).count();
        let mut unknown = Vec::new();
        let mut copies = Vec::new();
        for path in paths {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let id = FileId::of(&meta);
            if let Some((_, track)) = self.tracks.range_mut(Part::all(id)).find(|(_, track)| track.is_it(&path)) {
                track.gone = false;
                track.path = path;
                continue;
            }
            let Some((part, saved)) = self.saved_for(id, &path) else {
                let name = path.clone();
                unknown.push((path, meta, name));
                continue;
            };
            let kept = (part.id == id).then_some(part);
            match Track::open(&path, kept, Ok(&saved), false, self.rules.clone()) {
                Ok(track) => {
                    self.saved.remove(&part);
                    // The file was cut, or replaced by another one, since the last look.
                    if track.saved().offset < saved.offset {
                        copies.push((saved, track.part));
                    }
                    if kept.is_none() {
                        begun.extend([track.bookmark(), part.farewell()]);
                    }
                    self.follow(track, &mut open);
                }
                Err(error) => self.complaints.say(format!("{}: {error}", path.display())),
            }
        }
        for (cut, part) in copies {
            begun.extend(self.find_copy(&cut, part));
        }
        if self.starting {
            begun.extend(self.find_missing());
        }
        self.by_age(&mut unknown);
        for (path, meta, name) in unknown {
            let id = FileId::of(&meta);
            let age = meta.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
            let is_old = self.settings.ignore_older.is_some_and(|limit| age > limit);
            if let Some((_, copy)) = self.tracks.range_mut(Part::all(id)).find(|(_, track)| track.is_it(&path)) {
                // The pattern matches this copy: it stays known after it was read.
                copy.gone = false;
                continue;
            }
            if let Some(frames) = self.replaced(&path) {
                begun.extend(frames);
                continue;
            }
            if is_old || self.is_copy(&path) {
                continue;
            }
            let from_end = self.settings.from_end && self.first;
            let turn = self.turn(&name);
            match Track::open(&path, None, Err(turn), from_end, self.rules.clone()) {
                Ok(track) => {
                    if from_end {
                        begun.push(track.bookmark());
                    }
                    self.follow(track, &mut open);
                }
                Err(error) => self.complaints.say(format!("{}: {error}", path.display())),
            }
        }
        self.find_closed();
        begun
    }

    /// Gives each rotated file the name under which it began, if a file of that name is known. Sorts the files
    /// by their times of change, the oldest first. The file under the name itself is the newest.
    fn by_age(&self, unknown: &mut [(PathBuf, Metadata, PathBuf)]) {
        if unknown.is_empty() {
            return;
        }
        let tracked = self.tracks.values().map(|track| track.turn.name.clone());
        let names: BTreeSet<PathBuf> = unknown.iter().map(|(path, ..)| path.clone()).chain(tracked).collect();
        for (path, _, name) in unknown.iter_mut() {
            if let Some(live) = rotated_from(path).into_iter().find(|live| names.contains(live)) {
                *name = live;
            }
        }
        unknown.sort_by_cached_key(|(path, meta, name)| (path == name, meta.modified().ok(), path.clone()));
    }

    /// Finds a new file that has replaced a known one: programs write a longer copy under another name, and
    /// rename it over the old file. The new file counts as the same file if the old one is gone, and the new
    /// one has all that was read. Its beginning and its end show that.
    fn replaced(&mut self, path: &Path) -> Option<Vec<Frame>> {
        let is_one = |track: &&Track| {
            track.gone && track.path == path && track.is_unlinked() && self.is_replaced(&track.saved(), path)
        };
        let (part, saved) = self.tracks.values().find(is_one).map(|track| (track.part, track.saved()))?;
        let track = Track::open(path, None, Ok(&saved), false, self.rules.clone()).ok()?;
        self.tracks.remove(&part);
        let frames = vec![track.bookmark(), part.farewell()];
        self.tracks.insert(track.part, track);
        Some(frames)
    }

    /// Whether a file is no longer in its folder, and another file has all that was read of it.
    fn is_replaced(&self, saved: &Saved, path: &Path) -> bool {
        !self.rules.whole
            && saved.is_within(path)
            && !has_inode(folder(path), saved.id.inode)
            // If the file was rotated and packed, its remaining lines are in the packed copy.
            && self.twin(saved, true).is_none()
    }

    fn is_ours(&self, path: &Path) -> bool {
        let is_put_away =
            self.settings.when_done == WhenDone::Move && path.parent().is_some_and(|dir| dir.ends_with(DONE));
        path.is_file() && !is_put_away
    }

    /// Finds the saved state of a file by device and inode, which another file may have got meanwhile. If
    /// devices got new numbers, the path decides.
    fn saved_for(&self, id: FileId, path: &Path) -> Option<(Part, Saved)> {
        let by_id = || self.saved.range(Part::all(id));
        let same = by_id().find(|(_, saved)| saved.is_of(path));
        let cut = || by_id().find(|(_, saved)| saved.path == path);
        // While the agent was stopped, devices got new numbers, or a copy replaced the file (`replaced`).
        let moved = |(_, saved): &(&Part, &Saved)| {
            saved.path == path && (saved.id.device != id.device || self.is_replaced(saved, path))
        };
        let by_path = || self.saved.iter().filter(|_| self.starting).find(moved);
        same.or_else(cut).or_else(by_path).map(|(part, saved)| (*part, saved.clone()))
    }

    /// Opens known files under any name in the folder: they are read to their end.
    pub(super) fn find_renamed(&mut self) {
        for path in files_in(folder(Path::new(&self.settings.path))) {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let known = self.saved.range(Part::all(FileId::of(&meta))).find(|(_, saved)| saved.is_of(&path));
            let Some((part, saved)) = known.map(|(part, saved)| (*part, saved.clone())) else { continue };
            if let Ok(track) = Track::open(&path, Some(part), Ok(&saved), true, self.rules.clone()) {
                self.saved.remove(&part);
                self.tracks.insert(part, track);
            }
        }
    }

    /// Finds the new paths of files that were renamed while they were closed.
    fn find_closed(&mut self) {
        let is_missing = |track: &&mut Track| track.gone && !track.is_open();
        let missing = self.tracks.values_mut().filter(is_missing);
        let folders: BTreeSet<PathBuf> = missing.map(|track| folder(&track.path).into()).collect();
        for entry in folders.iter().flat_map(std::fs::read_dir).flatten().filter_map(Result::ok) {
            let (inode, path) = (entry.ino(), entry.path());
            let is_it = |track: &&mut Track| track.part.id.inode == inode && track.saved().is_of(&path);
            for track in self.tracks.values_mut().filter(is_missing).filter(is_it) {
                track.path.clone_from(&path);
                // The file may have grown since the last look.
                if let Err(error) = track.refresh() {
                    self.complaints.say(format!("{} cannot be read: {error}", path.display()));
                }
            }
        }
    }

    /// Handles files that are not where they were when the agent stopped. Their remaining lines are read from a
    /// packed copy; without a copy, the files are forgotten. Files whose folder is missing now stay known.
    fn find_missing(&mut self) -> Vec<Frame> {
        let is_missing = |saved: &Saved| {
            let mut entries = std::fs::read_dir(folder(&saved.path)).into_iter().flatten().flatten();
            // A file that cannot be read may be the missing one.
            let may_be = |path: PathBuf| File::open(&path).is_err() || saved.is_of(&path);
            has_folder(&saved.path, saved.id)
                && !entries.any(|entry| entry.ino() == saved.id.inode && may_be(entry.path()))
        };
        let missing = self.saved.iter().filter(|(_, saved)| is_missing(saved));
        let missing: Vec<(Part, Saved)> = missing.map(|(part, saved)| (*part, saved.clone())).collect();
        let mut frames = Vec::new();
        for (part, saved) in missing {
            self.saved.remove(&part);
            frames.extend(self.adopt(&saved, true));
            frames.push(part.farewell());
        }
        frames
    }

    /// Whether a file that the pattern matches is a copy of a file that is being read. Such a copy is made
    /// before the original is cut (`copytruncate` of `app.log` under the pattern `app.log*`) or removed
    /// (`compress`). Its lines were read from the original, or are being read there. A plain copy is named
    /// after its original, begins and ends like it, and is not longer.
    pub(super) fn is_copy(&mut self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        let Ok(file) = File::open(path) else { return false };
        let is_beside = |track: &&mut Track| track.path.parent() == path.parent();
        self.tracks.values_mut().filter(is_beside).any(|track| {
            let original = track.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_longer = name.len() > original.len() && name.starts_with(original);
            is_longer && track.holds(&file)
                || is_named_after(path, &track.path) && unpacks_to(&file, track.saved().fingerprint)
        })
    }

    /// A file was copied and then cut to nothing (logrotate's `copytruncate`): its unread lines are in the
    /// copy. The copy is a file beside it that begins alike and is long enough. The first frame saves the start
    /// offset in the copy, the second one saves that the file has begun anew.
    pub(super) fn find_copy(&mut self, cut: &Saved, part: Part) -> Vec<Frame> {
        let copy = self.twin(cut, false).and_then(|copy| self.read_on(&copy, cut));
        // The copy has the turn of the file; the new content of the file comes after the copy.
        if let Some(name) = self.tracks.get(&part).map(|track| track.turn.name.clone()) {
            let turn = self.turn(&name);
            if let Some(track) = self.tracks.get_mut(&part) {
                track.turn = turn;
            }
        }
        copy.into_iter().chain(self.tracks.get(&part).map(Track::bookmark)).collect()
    }

    /// A file was packed and removed (logrotate's `compress`): its packed copy is read from the same offset. If
    /// the whole file was read, the copy is kept in mind only if the pattern matches it.
    pub(super) fn adopt(&mut self, gone: &Saved, has_rest: bool) -> Option<Frame> {
        let twin = self.twin(gone, true)?;
        let is_matched = glob::Pattern::new(&self.settings.path).is_ok_and(|pattern| pattern.matches_path(&twin));
        if has_rest || is_matched { self.read_on(&twin, gone) } else { None }
    }

    fn read_on(&mut self, path: &Path, original: &Saved) -> Option<Frame> {
        let mut track = Track::open(path, None, Ok(original), true, self.rules.clone()).ok()?;
        let path = path.display();
        tracing::info!(event = event::SOURCE_NOTE, %path, "the copy of a file that was cut or removed: reading its rest");
        // Nobody writes to the copy. It is no longer followed once it was read, unless the pattern matches it.
        track.gone = true;
        let bookmark = track.bookmark();
        let unread = self.tracks.range(Part::all(track.part.id)).find(|(_, track)| track.is_unread());
        if let Some(part) = unread.map(|(part, _)| *part) {
            self.tracks.remove(&part);
        }
        self.tracks.insert(track.part, track);
        Some(bookmark)
    }

    /// The newest unknown file beside the original that begins alike. With `packed`, only packed files count.
    fn twin(&self, original: &Saved, packed: bool) -> Option<PathBuf> {
        let is_twin = |path: &PathBuf| {
            let Ok(file) = File::open(path) else { return false };
            let Ok(meta) = file.metadata() else { return false };
            let id = FileId::of(&meta);
            // A file that was found while it was still being written may be the copy nevertheless.
            let is_known = self.tracks.range(Part::all(id)).any(|(_, track)| track.is_it(path) && !track.is_unread())
                || self.saved.range(Part::all(id)).any(|(_, saved)| saved.is_of(path));
            let is_alike = !packed && meta.len() >= original.offset && original.fingerprint.matches(&file);
            !is_known && original.fingerprint.length > 0 && (is_alike || unpacks_to(&file, original.fingerprint))
        };
        let newest = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let beside = files_in(folder(&original.path));
        beside.into_iter().filter(|path| is_named_after(path, &original.path)).filter(is_twin).max_by_key(newest)
    }
}

/// Whether a file has a name that logrotate makes from another name: that name with a number or a date, and
/// perhaps one more ending.
fn is_named_after(path: &Path, original: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (name, original) = (name(path), name(original));
    let stem = original.trim_end_matches(|c: char| c.is_ascii_digit());
    let stem = match stem.strip_suffix(['.', '-']) {
        Some(stem) if stem.len() + 1 < original.len() => stem,
        _ => original.as_str(),
    };
    name != original && name.starts_with(stem)
}

/// The paths under which a rotated file may have begun: its path without a packer's ending, number or date.
fn rotated_from(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let plain = [".gz", ".zst", ".bz2", ".xz"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let stem = plain.trim_end_matches(|c: char| c.is_ascii_digit() || "-_T.".contains(c));
    let last = plain.get(stem.len()..).unwrap_or_default();
    if !last.starts_with(['.', '-']) || !last.ends_with(|c: char| c.is_ascii_digit()) {
        return Vec::new();
    }
    vec![path.with_file_name(stem)]
}

/// Whether one of the files of a folder has an inode.
fn has_inode(folder: &Path, inode: u64) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| entry.ino() == inode)
}

/// The files of a folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}
