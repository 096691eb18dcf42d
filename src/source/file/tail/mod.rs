//! All files of a source: reads their new lines, and moves or removes complete files.

mod find;
mod order;

use super::Settings;
use super::rules::Rules;
use super::saved::{Part, Saved, Turn, folder};
use super::track::{End, Track};
use crate::flow::frame::Frame;
use crate::source::file::WhenDone;
use crate::telemetry::{Metric, Metrics, event};
use order::Order;
use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The last message of several lines is over after this long without change.
const MESSAGE: Duration = Duration::from_secs(10);
/// A last line without a newline is reported after this long without a change.
const UNTERMINATED: Duration = Duration::from_secs(30);
/// Files wait this long for the end of another file's last line, or for `gone_after` if that is longer.
const LAST_LINE: Duration = Duration::from_secs(5);
/// The share of each file in one poll is at least this many bytes.
const SHARE_BYTES: usize = 16 << 10;
/// One poll reads about this many bytes.
const POLL_BYTES: usize = 512 << 10;
/// At most this many different troubles are reported.
const COMPLAINTS: usize = 200;
/// Files that have been read are moved to this folder beside them.
const DONE: &str = "done";

/// Reads the files of a source, each from its saved offset.
#[derive(Debug)]
pub struct Tail {
    settings: Settings,
    /// The saved states of files that are not read yet.
    saved: BTreeMap<Part, Saved>,
    tracks: BTreeMap<Part, Track>,
    rules: Arc<Rules>,
    metrics: Arc<Metrics>,
    /// True at the very first start, when files may be read from their end.
    first: bool,
    /// True until the first look. Later, a path no longer shows which saved state belongs to a file.
    starting: bool,
    /// The number of frames that were handed over.
    given: u64,
    /// The turn of the file with which the next poll begins, because the last poll had read enough.
    next: Option<u64>,
    /// The turn that the next file gets.
    next_turn: u64,
    complaints: Complaints,
}

impl Tail {
    /// Starts from the positions of the last commit.
    #[must_use]
    pub fn new(settings: Settings, positions: &[(String, Vec<u8>)], metrics: Arc<Metrics>) -> Self {
        let saved = positions.iter().filter_map(|(part, value)| Some((Part::parse(part)?, Saved::decode(value)?)));
        let saved: BTreeMap<Part, Saved> = saved.collect();
        let next_turn = saved.values().map(|saved| saved.turn.number + 1).max().unwrap_or(1);
        let first = positions.is_empty();
        let rules = Arc::new(Rules {
            max_line: settings.max_line,
            header: settings.header.clone(),
            breaks: settings.breaks.clone(),
            message_start: settings.message_start.as_deref().and_then(|pattern| Regex::new(pattern).ok()),
            whole: settings.whole,
            done_after: settings.done_after,
        });
        let tracks = BTreeMap::new();
        let mut tail = Self {
            settings,
            saved,
            tracks,
            rules,
            metrics,
            first,
            starting: true,
            given: 0,
            next: None,
            next_turn,
            complaints: Complaints::default(),
        };
        tail.find_renamed();
        tail
    }

    /// Frames of all that is new, in order for each file. Frames are numbered from 1; those up to `settled` are
    /// safe.
    pub fn poll(&mut self, settled: u64) -> Vec<Frame> {
        // The start offsets in copies of cut files are saved before any new text of the cut files.
        let known: Vec<Part> = self.tracks.keys().copied().collect();
        let mut frames = self.refresh(&known);
        frames.extend(self.discover());
        frames.extend(self.refresh(&self.order().predecessors()));
        // The refresh may have found copies.
        let mut order = self.order();
        if self.first {
            frames.push(Frame::position("started", vec![1]));
        }
        self.first = false;
        self.starting = false;
        self.read(&mut frames, &mut order);
        let over = self.tracks.values().filter(|track| self.is_over(track, settled));
        let over: Vec<Part> = over.map(|track| track.part).collect();
        for part in over {
            let Some(track) = self.tracks.remove(&part) else { continue };
            if !track.gone && !self.put_away(&track) {
                self.tracks.insert(part, track);
                continue;
            }
            let has_rest = !track.is_finished();
            let copy = if track.gone { self.adopt(&track.saved(), has_rest) } else { None };
            if has_rest && copy.is_none() {
                let path = track.path.display();
                tracing::warn!(event = event::SOURCE_NOTE, %path, "removed before it was read to its end");
            }
            frames.extend(copy);
            frames.push(part.farewell());
        }
        self.given += frames.len() as u64;
        frames
    }

    /// Whether there is any file to read.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !self.tracks.is_empty()
    }

    /// Whether nothing is to be done before something changes.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let waits = |track: &Track| track.gone || track.is_fresh() || !track.is_finished();
        !self.tracks.values().any(|track| waits(track) || self.settings.when_done != WhenDone::Keep)
    }

    /// Whether a file is not needed any more: it is gone, or it has been read and is to be put away.
    fn is_over(&self, track: &Track, settled: u64) -> bool {
        if track.gone {
            let is_over = track.is_lost() || track.is_finished() && track.quiet_for() >= self.settings.gone_after;
            return is_over && track.has_folder();
        }
        self.settings.when_done != WhenDone::Keep
            && track.is_finished()
            && track.has_begun()
            && track.quiet_for() >= self.settings.done_after
            && track.last_frame <= settled
    }

    /// Moves or removes a file whose records are safe; false if that cannot be done now.
    fn put_away(&mut self, track: &Track) -> bool {
        if !track.is_unchanged() {
            return false;
        }
        let done = match self.settings.when_done {
            WhenDone::Keep => return false,
            // A damaged file is kept: somebody may have the missing part of it.
            WhenDone::Delete if track.is_damaged => return false,
            WhenDone::Delete => std::fs::remove_file(&track.path),
            WhenDone::Move => moved(&track.path),
        };
        if let Err(error) = done {
            self.complaints.say(format!("{} was read and cannot be put away: {error}", track.path.display()));
            return false;
        }
        self.metrics.add(Metric::FileDone, 1);
        true
    }

    /// Reads a share of every file, whichever files are busy. The next poll begins with the first file that
    /// this poll does not reach. A file waits until the files of its name that began earlier are read to their
    /// end.
    fn read(&mut self, frames: &mut Vec<Frame>, order: &mut Order) {
        let share = (POLL_BYTES / self.tracks.len().max(1)).max(SHARE_BYTES);
        let mut open = self.tracks.values().filter(|track| track.is_open()).count();
        // Unpacking takes memory: only one file is unpacked at a time.
        let mut unpacking = self.tracks.values().any(Track::holds_decoder);
        let mut total = 0;
        let mut turns: Vec<(u64, Part)> = self.tracks.values().map(|track| (track.turn.number, track.part)).collect();
        turns.sort_unstable();
        let begin = self.next.map_or(0, |next| turns.partition_point(|(turn, _)| *turn < next));
        turns.rotate_left(begin);
        self.next = None;
        for (turn, part) in turns {
            if total >= POLL_BYTES {
                self.next = Some(turn);
                break;
            }
            if let Some(before) =
                order.waits_for(part, |before| self.tracks.get(&before).is_some_and(|before| self.blocks(before)))
            {
                if let Some(before) = self.tracks.get_mut(&before).filter(|before| before.is_drained) {
                    before.awaited_since.get_or_insert_with(Instant::now);
                }
                // The earlier file may be waiting for the memory that this file holds for unpacking.
                if let Some(track) = self.tracks.get_mut(&part).filter(|track| track.holds_decoder()) {
                    track.rest();
                    unpacking = false;
                }
                continue;
            }
            let Some(track) = self.tracks.get_mut(&part) else { continue };
            // The file may have been found while it was written, when nothing showed that it is a copy.
            if track.begins_packed() && !self.rules.whole {
                let path = track.path.clone();
                if self.is_copy(&path) {
                    self.tracks.remove(&part);
                    continue;
                }
            }
            let Some(track) = self.tracks.get_mut(&part) else { continue };
            let end = end_of(&self.settings, track);
            let was_open = track.is_open();
            let must_wait = unpacking && track.is_unpacking() && !track.holds_decoder();
            let mut weight = 0;
            (track.has_failed, track.is_drained) = (false, false);
            while weight < share && !must_wait {
                match track.next(end) {
                    Ok(Some(frame)) => {
                        weight += frame.weight();
                        frames.push(frame);
                        track.last_frame = self.given + frames.len() as u64;
                    }
                    Ok(None) => {
                        track.is_drained = true;
                        break;
                    }
                    Err(error) => {
                        track.has_failed = true;
                        self.complaints.say(format!("{} cannot be read: {error}", track.path.display()));
                        break;
                    }
                }
            }
            total += weight;
            if let Some(trouble) = track.trouble() {
                track.is_damaged = true;
                self.metrics.add(Metric::FileDamaged, 1);
                self.complaints.say(format!("{} is {trouble}", track.path.display()));
            }
            if track.is_finished() {
                track.rest();
            } else if weight == 0 && !must_wait && end != End::Line && track.quiet_for() >= UNTERMINATED {
                let path = track.path.display();
                self.complaints.say(format!(
                    "{path} ends without a newline: its last line waits for one (`unterminated_after` takes it as it is; \
                     lines that end with a carriage return alone are not known)"
                ));
            }
            unpacking |= track.holds_decoder();
            open += usize::from(track.is_open() && !was_open);
            if open > self.settings.max_open && track.is_open() && !track.is_unpacking() && !track.gone {
                track.close();
                open -= 1;
            }
        }
    }

    /// Whether files that began later wait for this file. They wait until it is read to its end. If only half a
    /// line is left and somebody still writes to it, they wait only for a while.
    fn blocks(&self, before: &Track) -> bool {
        let is_slow = before.is_drained
            && !before.is_unpacking()
            && !self.rules.whole
            && before.awaited_since.is_some_and(|since| since.elapsed() > self.settings.gone_after.max(LAST_LINE));
        before.is_lost() || !before.is_finished() && !before.has_failed && !is_slow
    }

    fn order(&self) -> Order {
        Order::new(self.tracks.values().map(|track| (&*track.turn.name, track.turn.number, track.part)))
    }

    fn turn(&mut self, name: &Path) -> Turn {
        self.next_turn += 1;
        Turn { name: name.into(), number: self.next_turn - 1 }
    }

    /// Looks for changes of known files. This comes before the search for new files, so that the copy of a cut
    /// file is recognised.
    fn refresh(&mut self, parts: &[Part]) -> Vec<Frame> {
        let mut copies = Vec::new();
        for part in parts {
            let Some(track) = self.tracks.get_mut(part) else { continue };
            let was_open = track.is_open();
            match track.refresh() {
                Ok(Some(before)) => {
                    copies.push((before, track.part));
                    self.metrics.add(Metric::FileTruncated, 1);
                    let path = track.path.display();
                    tracing::warn!(event = event::SOURCE_NOTE, %path, "truncated or replaced: reading from its start");
                }
                Ok(None) => {}
                Err(error) => self.complaints.say(format!("{} cannot be read: {error}", track.path.display())),
            }
            if !was_open {
                track.close();
            }
        }
        copies.into_iter().flat_map(|(cut, part)| self.find_copy(&cut, part)).collect()
    }

    /// Follows a file from now on. The file is closed at once if enough files are open.
    fn follow(&mut self, mut track: Track, open: &mut usize) {
        *open += 1;
        if *open > self.settings.max_open && !track.gone {
            track.close();
            *open -= 1;
        }
        self.tracks.insert(track.part, track);
    }
}

/// The kind of end that is accepted in a file now.
fn end_of(settings: &Settings, track: &Track) -> End {
    let quiet = track.quiet_for();
    let is_complete = track.is_rotated() && quiet >= settings.gone_after
        || settings.when_done != WhenDone::Keep && quiet >= settings.done_after
        || settings.unterminated_after.is_some_and(|after| quiet >= after);
    match is_complete {
        // The remaining part of the line may have come since the last look.
        true if track.has_grown() => End::Newline,
        true => End::Line,
        false if quiet >= MESSAGE => End::Message,
        false => End::Newline,
    }
}

/// The troubles that were reported: each once, and none beyond a limit, because writing a log also wears out a
/// card.
#[derive(Debug, Default)]
struct Complaints(BTreeSet<String>);

impl Complaints {
    fn say(&mut self, what: String) {
        if self.0.len() < COMPLAINTS && !self.0.contains(&what) {
            tracing::warn!(event = event::SOURCE_NOTE, "{what}");
            self.0.insert(what);
        }
    }
}

/// Moves a file to the folder `done` beside it, under a name that is free there.
fn moved(path: &Path) -> std::io::Result<()> {
    let done = folder(path).join(DONE);
    std::fs::create_dir_all(&done)?;
    let name = path.file_name().unwrap_or_default();
    let numbered = (0_u32..).map(|number| {
        let mut name = name.to_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        done.join(name)
    });
    let free = numbered.into_iter().find(|to| !to.exists()).unwrap_or_else(|| done.join(name));
    std::fs::rename(path, free)
}
