//! Files that came to a path after the one that we know there, and were rotated before we looked: the agent
//! was stopped for days, or its disk stalled.

use super::Tail;
use super::find::{PACKED, is_being_packed};
use crate::flow::frame::Frame;
use crate::source::file::saved::{folder, has_folder};
use crate::source::file::track::Track;
use crate::telemetry::{Metric, event};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// So often a folder is listed at most whose names change meanwhile.
const LOOKS: u32 = 5;

impl Tail {
    /// Paths from which files are gone that we knew there. What came there after them and was rotated
    /// before we looked is begun.
    pub(super) fn left_behind(
        &mut self,
        taken: &BTreeSet<PathBuf>,
    ) -> (Vec<Frame>, BTreeMap<PathBuf, Option<SystemTime>>) {
        let left = std::mem::take(&mut self.left);
        // Where there is no folder, it is waited for.
        let (mut known, later): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, saved)| has_folder(&saved.path, saved.id));
        self.left = later;
        if known.is_empty() && !self.tracks.values().any(|track| track.gone) {
            return Default::default();
        }
        let live = self.tracks.values().filter(|track| !track.gone).map(|track| track.path.clone());
        let live: BTreeSet<PathBuf> = live.collect();
        // What was empty may be another file now, or may have been cut since.
        let empty = known.iter().filter(|(_, saved)| saved.fingerprint.length == 0);
        let mut wanted: Vec<_> = empty.map(|(_, saved)| (saved.path.clone(), saved.newest)).collect();
        known.extend(self.tracks.values().map(|track| (track.part, track.saved())));
        let mut paths: BTreeMap<PathBuf, Option<SystemTime>> = BTreeMap::new();
        for (_, saved) in &known {
            let newest = paths.entry(saved.path.clone()).or_default();
            *newest = saved.newest.max(*newest);
        }
        let is_left = |(path, _): &(&PathBuf, &Option<SystemTime>)| !live.contains(*path);
        wanted.extend(paths.iter().filter(is_left).map(|(path, newest)| (path.clone(), *newest)));
        let (mut begun, found) = self.find_between(&wanted, taken);
        for (path, newest) in &mut paths {
            *newest = found.get(path).copied().flatten().max(*newest);
        }
        // One that is forgotten before these must not be found again by them.
        for (part, saved) in known {
            let newest = paths.get(&saved.path).copied().flatten();
            let is_older = |track: &&mut Track| track.saved().newest < newest;
            if let Some(track) = self.tracks.get_mut(&part).filter(is_older) {
                track.newest = newest;
                begun.push(track.bookmark());
            }
        }
        paths.retain(|path, _| !live.contains(path));
        (begun, paths)
    }

    /// Files that are named as rotated from these paths, and were written to later than what we knew there:
    /// they came and were rotated between two looks. Saved is that they are begun, before anything of the
    /// file that is there now. Also says when the newest of each was written to.
    pub(super) fn find_between(
        &mut self,
        wanted: &[(PathBuf, Option<SystemTime>)],
        taken: &BTreeSet<PathBuf>,
    ) -> (Vec<Frame>, BTreeMap<PathBuf, Option<SystemTime>>) {
        let (mut begun, mut found) = (Vec::new(), BTreeMap::new());
        let folders: BTreeSet<&Path> = wanted.iter().map(|(path, _)| folder(path)).collect();
        // Names are shifted while we look: a file may be missed under both of its names.
        for _ in 0..LOOKS {
            let list = || folders.iter().map(|folder| (*folder, names_in(folder))).collect::<BTreeMap<_, _>>();
            let listed = list();
            for (live, since) in wanted {
                let Some(since) = *since else { continue };
                let first = folder(live).join(live.file_name().unwrap_or_default());
                let beside = listed.get(folder(live)).into_iter().flat_map(|names| names.range(first.clone()..));
                for (path, _) in beside.take_while(|(path, _)| rest_of_name(path, live).is_some()) {
                    // What the pattern leads to is found by it.
                    let is_other = !is_rotated(path, live) || is_being_packed(path) || self.is_matched(path);
                    if !is_other
                        && !taken.contains(path)
                        && let Some(track) = self.between(path, since)
                    {
                        begun.push(track.bookmark());
                        let newest: &mut Option<SystemTime> = found.entry(live.clone()).or_default();
                        *newest = track.saved().newest.max(*newest);
                        self.tracks.insert(track.part, track);
                    }
                }
            }
            if list() == listed {
                break;
            }
        }
        (begun, found)
    }

    /// A file, if it was written to since then and we do not know it.
    fn between(&mut self, path: &Path, since: SystemTime) -> Option<Track> {
        let is_later = |meta: Metadata| meta.is_file() && meta.modified().is_ok_and(|at| at > since);
        if !std::fs::metadata(path).is_ok_and(is_later) {
            return None;
        }
        let opened = Track::open(path, None, None, false, self.rules.clone());
        let told = |error| self.complaints.say(format!("{} cannot be read: {error}", path.display()));
        let mut track = opened.map_err(told).ok()?;
        let modified = track.saved().newest;
        // What is at the live path now may begin like any other.
        if modified <= Some(since)
            || self.is_old(modified)
            || self.knows(track.part.id, path)
            || self.is_copy(path, |track| track.gone)
        {
            return None;
        }
        let open = self.tracks.values().filter(|track| track.is_open()).count();
        if open >= self.settings.max_open {
            track.close();
        }
        // Nobody writes to it: it is let go when it has been read.
        track.gone = true;
        self.metrics.add(Metric::FileOverlooked, 1);
        let path = path.display();
        tracing::info!(event = event::SOURCE_NOTE, %path, "written and rotated since the last look: reading it");
        Some(track)
    }
}

/// Whether a file has the name of another with a number (`.1`) or a date (`-20261126`) after it, and perhaps
/// the ending of what is packed: as it is called once rotated.
fn is_rotated(path: &Path, original: &Path) -> bool {
    let Some(rest) = rest_of_name(path, original) else { return false };
    let rest = PACKED.iter().find_map(|ending| rest.strip_suffix(ending)).unwrap_or(&rest);
    // Instances of a program are numbered, too: `worker-1`.
    let least = if rest.starts_with('.') { 1 } else { 6 };
    let number = rest.strip_prefix(['.', '-', '_']).unwrap_or_default();
    let digits = number.chars().filter(char::is_ascii_digit).count();
    digits >= least && number.chars().all(|c| c.is_ascii_digit() || "-_.:+TZ".contains(c))
}

/// What follows in a file's name after the name of another.
fn rest_of_name(path: &Path, original: &Path) -> Option<String> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(path)?.strip_prefix(&name(original)?).map(String::from)
}

/// All that is in a folder, by name, with inodes.
fn names_in(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| (entry.path(), entry.ino())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files() {
        let is = |name: &str| is_rotated(Path::new(name), Path::new("/var/app.log"));
        for name in [
            "app.log.1",
            "app.log.12.gz",
            "app.log-20261126",
            "app.log-2026-11-26T03:00:00+01:00.zst",
            "app.log.20261126",
        ] {
            assert!(is(name), "{name}");
        }
        for name in [
            "app.log",
            "app.log-1",
            "app.log_2",
            "app.log..",
            "app.log.gz",
            "app.log.bak",
            "app.log~",
            "app.log.1.notes",
            "app.1",
        ] {
            assert!(!is(name), "{name}");
        }
    }
}
