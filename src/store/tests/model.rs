//! The store against a plain model: any sequence of operations, with power cuts and rot in it.
//!
//! Value n of a stream has sequence n + 1 for ever, so that a record itself shows whether it is in its right place.
//! The model remembers only facts that the outside world was told.

use super::sums::{self, Query, Sums};
use super::*;
use crate::flow::receipt::Ticket;
use crate::platform::disk::Disk;
use crate::platform::random;
use crate::store::log::segment::Segment;
use crate::telemetry::Metric;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The name, the rule and the priority of each stream.
const STREAMS: [(&str, WhenFull, u8); 5] = [
    ("readings", WhenFull::Block, 5),
    ("bulk", WhenFull::DropOldest, 1),
    ("extra", WhenFull::DropNewest, 2),
    ("capped", WhenFull::Block, 4),
    // A query makes this stream from the first one.
    ("sums", WhenFull::Block, 5),
];
/// The number of streams that sources write to.
const SOURCES: usize = 4;
/// The stored bytes that `capped` may hold unreleased.
const CAP: u64 = 60_000;
/// The stored bytes of released records that `bulk` keeps.
const KEEP: u64 = 50_000;
const READERS: [&str; 2] = ["sink", "other"];
const LINGER: u64 = 100;

/// An operation on a store.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// This many records of a stream are offered.
    Append(u8, u8),
    /// The linger passes.
    Commit,
    /// The query reads this many runs and commits a step.
    Step(u8),
    /// A reader reads this many runs of a stream.
    Read(u8, u8),
    /// A reader releases the records that it read of a stream.
    Release(u8),
    /// A reader releases a part of the records that it read of a stream, as couriers do within a section.
    Part(u8, u8),
    /// This many tenths of a second pass.
    Wait(u8),
    /// A stream is filled until it takes no more.
    Fill(u8),
    /// All readers read and release everything.
    Drain,
    /// Closed in order and opened again.
    Reopen,
    /// Killed and opened again.
    Kill,
    /// The power is cut this many writes and syncs from now.
    Cut(u8),
    /// A sector of some file turns bad.
    Corrupt(u8, u8),
    /// This many syncs pass, and then some fail.
    FailSyncs(u8, u8),
    /// Some writes fail.
    FailWrites(u8),
    /// The disk is full, or is not any more.
    Limit(bool),
    /// A person trims a stream of the stopped store.
    Trim(u8, u8),
    /// A person repairs the stopped store.
    Repair,
}

impl Op {
    pub fn from_bytes(bytes: [u8; 3]) -> Self {
        let [kind, a, b] = bytes;
        match kind % 51 {
            48..=50 => Self::Step(a),
            40..=42 => Self::Part(a, b),
            43 => Self::FailSyncs(a, b),
            44 => Self::FailWrites(a),
            45 => Self::Limit(a.is_multiple_of(2)),
            46 => Self::Trim(a, b),
            47 => Self::Repair,
            0..=11 => Self::Append(a, b),
            12..=18 => Self::Commit,
            19..=23 => Self::Read(a, b),
            24..=28 => Self::Release(a),
            29..=31 => Self::Wait(a),
            32 => Self::Fill(a),
            33 => Self::Drain,
            34 | 35 => Self::Reopen,
            36 => Self::Kill,
            37 | 38 => Self::Cut(a),
            _ => Self::Corrupt(a, b),
        }
    }
}

/// The state that a source keeps.
#[derive(Default)]
struct Source {
    next: u64,
    settled: u64,
    waiting: Vec<(Ticket, u64)>,
}

/// The state that a reader keeps of one stream.
#[derive(Default)]
struct Follower {
    reader: Option<Reader>,
    /// The next sequence to come.
    next: u64,
    released: u64,
    /// The cursor that must have been saved.
    promised: u64,
}

pub(super) struct Machine {
    disk: SimDisk,
    options: Options,
    stepped: Option<Stepped>,
    sources: Vec<Source>,
    followers: BTreeMap<(usize, usize), Follower>,
    identities: BTreeMap<(usize, u64, u64), u64>,
    query: Query,
    rotten: bool,
    /// How long after a failure of the disk cursors may still be unsaved, in milliseconds.
    shaky: u64,
    /// Streams that a person trimmed.
    trimmed: [bool; STREAMS.len()],
    pub cuts: u64,
}

impl Machine {
    pub fn new(seed: u64, honest: bool) -> Self {
        random::seed(seed);
        let disk = SimDisk::new(seed);
        if !honest {
            disk.ignore_syncs();
        }
        let rule = |name: &str, when_full, priority| StreamRule {
            when_full,
            priority,
            cap: (name == "capped").then_some(CAP),
            keep: (name == "bulk").then_some(Keep { bytes: KEEP }),
        };
        let streams = STREAMS.iter().map(|(name, when, priority)| (name.to_string(), rule(name, *when, *priority)));
        let options = Options { streams: streams.collect(), linger_ms: LINGER, ..options(&disk) };
        let sources = STREAMS.iter().map(|_| Source::default()).collect();
        let (followers, identities) = (BTreeMap::new(), BTreeMap::new());
        Self {
            disk,
            options,
            stepped: None,
            sources,
            followers,
            identities,
            query: Query::default(),
            rotten: false,
            shaky: 0,
            trimmed: [false; STREAMS.len()],
            cuts: 0,
        }
    }

    fn readers() -> Vec<ReaderRule> {
        let rule = |name: &&str| ReaderRule {
            name: name.to_string(),
            streams: Selection::All,
            begin: Begin::Oldest,
            role: Role::Sink,
        };
        READERS.iter().map(rule).chain([sums::rule()]).collect()
    }

    /// Runs all operations; an error says what is wrong.
    pub fn run(&mut self, ops: &[Op]) -> Result<(), String> {
        for (at, op) in ops.iter().enumerate() {
            self.run_one(*op).map_err(|error| format!("operation {at}: {error}"))?;
        }
        Ok(())
    }

    pub fn run_one(&mut self, op: Op) -> Result<(), String> {
        if self.stepped.is_none() {
            self.open()?;
        }
        if !self.disk.is_dead() {
            self.apply(op).map_err(|error| format!("{op:?}: {error}"))?;
        }
        while self.disk.is_dead() {
            self.lose_power().map_err(|error| format!("power cut at {op:?}: {error}"))?;
        }
        Ok(())
    }

    /// Cuts the power at this write or sync, counted from now.
    pub fn cut_after(&self, operations: u64) {
        self.disk.cut_after(operations);
    }

    /// Makes the store as small as a store may be.
    pub fn crowd(&mut self) {
        self.options.cap = SEGMENT * 4;
    }

    /// A number that the store keeps of itself.
    pub fn metric(&self, metric: Metric) -> u64 {
        self.options.metrics.get(metric)
    }

    /// Writes and syncs so far.
    pub fn operations(&self) -> u64 {
        self.disk.operations()
    }

    /// In the end everything drains, and the space comes back.
    pub fn finish(&mut self) -> Result<(), String> {
        self.mend_disk();
        for op in [Op::Drain, Op::Drain, Op::Drain, Op::Reopen] {
            self.run_one(op)?;
        }
        let left = self.disk.list(&root().join("log")).unwrap().len();
        // Kept records may lie in segments that a failing disk has cut short.
        if left > 12 && !self.rotten {
            return Err(format!("{left} segments stay after the drain"));
        }
        Ok(())
    }

    fn stepped(&mut self) -> &mut Stepped {
        self.stepped.as_mut().unwrap()
    }

    fn apply(&mut self, op: Op) -> Result<(), String> {
        match op {
            Op::Append(stream, count) => {
                self.append(stream, u64::from(count % 9) + 1, 100 + usize::from(count) * 20);
            }
            Op::Commit => self.pass(LINGER),
            Op::Step(runs) => {
                let store = self.stepped().store.clone();
                self.query.step(&store, usize::from(runs % 4) + 1);
            }
            Op::Read(which, runs) => self.read(which, usize::from(runs % 4) + 1)?,
            Op::Release(which) => self.release(which, None),
            Op::Part(which, part) => self.release(which, Some(part)),
            Op::Wait(tenths) => self.pass(u64::from(tenths) * 100),
            Op::Fill(stream) => self.fill(stream)?,
            Op::Drain => self.drain()?,
            Op::Reopen => {
                self.close();
                self.open()?;
            }
            Op::FailSyncs(pass, count) => self.disk.fail_syncs_after(u32::from(pass % 8), u32::from(count % 4) + 1),
            Op::FailWrites(count) => self.disk.fail_writes(u32::from(count % 4) + 1),
            Op::Limit(on) => self.disk.limit(on.then(|| self.disk.used())),
            Op::Trim(stream, part) => self.by_hand(|committer, machine| {
                let at = usize::from(stream) % STREAMS.len();
                let settled = machine.sources[at].settled;
                machine.trimmed[at] = true;
                // A stream without records cannot be trimmed, which is an error and no fault.
                let _ = committer.trim(STREAMS[at].0, settled * u64::from(part) / 300 + 1);
            })?,
            Op::Repair => self.by_hand(|committer, _| {
                let _ = committer.repair();
            })?,
            Op::Kill => {
                self.kill();
                self.open()?;
            }
            Op::Cut(after) => self.disk.cut_after(u64::from(after) + 1),
            Op::Corrupt(file, at) => self.corrupt(file, at),
        }
        Ok(())
    }

    /// Stops in order.
    fn close(&mut self) {
        let Some(mut stepped) = self.stepped.take() else { return };
        self.query.close();
        self.followers.values_mut().for_each(|follower| follower.reader = None);
        stepped.store.close();
        let failing = self.disk.is_failing() || self.shaky > 0;
        let _ = stepped.committer.run_until_idle();
        self.settle(&stepped.store);
        if !self.disk.is_dead() && !failing {
            self.promise();
        }
        drop(stepped);
        self.disk.new_process();
    }

    /// A person's work on the stopped store, which knows no readers.
    fn by_hand(&mut self, work: impl FnOnce(&mut Committer, &mut Self)) -> Result<(), String> {
        self.close();
        if !self.disk.is_dead()
            && let Ok(mut stepped) = Stepped::open(&self.options, Vec::new())
        {
            work(&mut stepped.committer, self);
        }
        self.disk.new_process();
        self.open()
    }

    fn mend_disk(&self) {
        self.disk.fail_syncs(0);
        self.disk.fail_writes(0);
        self.disk.limit(None);
    }

    fn kill(&mut self) {
        self.query.close();
        self.followers.values_mut().for_each(|follower| follower.reader = None);
        self.stepped = None;
        self.disk.new_process();
    }

    fn lose_power(&mut self) -> Result<(), String> {
        self.kill();
        self.disk.reboot();
        self.cuts += 1;
        self.open()
    }

    fn open(&mut self) -> Result<(), String> {
        let failing = self.disk.is_failing();
        let opened = Stepped::open(&self.options, Self::readers());
        match opened {
            Ok(stepped) => self.stepped = Some(stepped),
            Err(_) if self.disk.is_dead() => return Ok(()),
            // A failing device may refuse the start; the next start finds everything.
            Err(_) if failing => {
                self.mend_disk();
                self.disk.new_process();
                return self.open();
            }
            Err(error) => return Err(format!("refused to open: {error}")),
        }
        let checked = self.check();
        if self.disk.is_dead() { Ok(()) } else { checked }
    }

    /// Everything that was promised before the last stop holds.
    fn check(&mut self) -> Result<(), String> {
        let store = self.stepped().store.clone();
        if let Err(error) = self.query.open(&store)
            && !self.rotten
            && !self.disk.is_dead()
        {
            return Err(format!("the query: {error}"));
        }
        let Sums { next, sum, count, .. } = self.query.state;
        let whole = (1..next).map(|sequence| sequence - 1).fold(0, u64::wrapping_add);
        if !self.rotten && !self.trimmed[0] && (count, sum) != (next - 1, whole) {
            return Err(format!("the query: {:?} is no sum of what it read", self.query.state));
        }
        self.pass(0);
        for (at, (name, when_full, _)) in STREAMS.iter().enumerate() {
            let saved = self.stepped().store.positions(name);
            let position = saved.first().map_or(0, |(_, value)| u64::from_le_bytes(value[..].try_into().unwrap()));
            let spent = {
                let store = self.stepped().store.clone();
                let shared = store.inner.lock();
                shared.state.streams.values().find(|stream| stream.name == *name).map_or(0, |stream| stream.next - 1)
            };
            let source = &mut self.sources[at];
            if position < source.settled && !self.rotten && *when_full != WhenFull::DropNewest {
                return Err(format!("{name}: position {position} is behind what was settled, {}", source.settled));
            }
            // The source goes on where its saved position says, as a file does.
            let settled = source.settled;
            // Where rot destroyed a position and not the sequences, the source begins behind those sequences.
            let position = if self.rotten { position.max(spent) } else { position };
            *source = Source { next: position, settled: position, waiting: Vec::new() };
            let stream = self.stepped().store.stream(name);
            for (reader, reader_name) in READERS.iter().enumerate() {
                let new = self.stepped().store.reader(reader_name).open(stream);
                let follower = self.followers.entry((reader, at)).or_default();
                let start = new.next_sequence();
                let dropped = *when_full == WhenFull::DropOldest || self.trimmed[at];
                if start > follower.released.max(1) && follower.released > 0 && !dropped {
                    return Err(format!("{name}: the cursor {start} is ahead of the release {}", follower.released));
                }
                if start < follower.promised && !self.rotten {
                    return Err(format!("{name}: the cursor {start} is behind the saved {}", follower.promised));
                }
                *follower = Follower { reader: Some(new), next: start, released: start, promised: start };
            }
            // All records that are there are read once, by a separate reader.
            let mut whole = Follower {
                reader: Some(self.stepped().store.reader(READERS[0]).open(stream)),
                next: self.followers[&(0, at)].next,
                ..Follower::default()
            };
            while self.step(at, &mut whole)? {}
            let end = whole.next - 1;
            let lost = *when_full == WhenFull::DropNewest || self.rotten;
            if end < settled && !lost {
                return Err(format!("{name}: {settled} settled, but only {end} are there"));
            }
        }
        Ok(())
    }

    /// Reads one run; false at the end.
    fn step(&mut self, at: usize, follower: &mut Follower) -> Result<bool, String> {
        let (name, when_full, _) = STREAMS[at];
        let reader = follower.reader.as_mut().unwrap();
        let item = match reader.read() {
            Ok(Some(item)) => item,
            Ok(None) => return Ok(false),
            Err(_) if self.disk.is_dead() => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        match item {
            Item::Gap(gap) => {
                if gap.from != follower.next {
                    return Err(format!("{name}: {gap:?}, expected from {}", follower.next));
                }
                let allowed = match gap.reason {
                    GapReason::Dropped => when_full != WhenFull::Block || self.trimmed[at],
                    GapReason::Damaged => self.rotten || self.disk.is_dead(),
                    GapReason::Trimmed => false,
                };
                if !allowed {
                    if std::env::var_os("FOREBAY_MODEL_TRACE").is_some() {
                        let store = &self.stepped.as_ref().unwrap().store;
                        let shared = store.inner.lock();
                        eprintln!("{:?}", shared.state);
                        for segment in shared.segments.values() {
                            let Segment { path, summary } = segment;
                            let held: Vec<_> = summary.holdings.iter().map(|h| (h.stream, h.first, h.last)).collect();
                            eprintln!(
                                "{} {:?} size {} end {}: {held:?}",
                                path.display(),
                                summary.heat,
                                summary.size,
                                summary.end
                            );
                        }
                    }
                    return Err(format!("{name}: {gap:?} although nothing explains it"));
                }
                follower.next = gap.to + 1;
            }
            Item::Span(span) => {
                for (sequence, record) in span.records() {
                    let value = number_of(record.payload);
                    if sequence != follower.next || value + 1 != sequence {
                        let expected = follower.next;
                        return Err(format!("{name}: value {value} at sequence {sequence}, expected {expected}"));
                    }
                    follower.next += 1;
                    let known = self.identities.insert((at, span.head.epoch, sequence), value);
                    if known.is_some_and(|known| known != value) {
                        return Err(format!("{name}: the identity {:?} names two values", (span.head.epoch, sequence)));
                    }
                }
            }
        }
        Ok(true)
    }

    /// Offers; false when there is no room.
    fn append(&mut self, stream: u8, count: u64, size: usize) -> bool {
        let at = usize::from(stream) % SOURCES;
        let store = self.stepped().store.clone();
        let id = store.stream(STREAMS[at].0);
        let source = &mut self.sources[at];
        let end = source.next + count;
        let records = (source.next..end).map(|number| record(number, size)).collect();
        let atom = Atom {
            parts: vec![Part { stream: id, generation: 1, in_flight: false, records }],
            positions: vec![(STREAMS[at].0.into(), "part".into(), end.to_le_bytes().to_vec())],
        };
        let Ok(ticket) = store.offer(atom) else { return false };
        source.next = end;
        source.waiting.push((ticket, end));
        true
    }

    fn pass(&mut self, ms: u64) {
        // After a failure cursors are tried again within five seconds.
        self.shaky = if self.disk.is_failing() { 10_000 } else { self.shaky.saturating_sub(ms) };
        let stepped = self.stepped.as_mut().unwrap();
        stepped.pass(ms);
        let store = stepped.store.clone();
        self.settle(&store);
        // Records that were released five seconds ago are saved as released.
        if ms >= 5000 && !self.disk.is_dead() && self.shaky == 0 {
            self.promise();
        }
        let again = self.disk.synced_again();
        assert!(again.is_empty(), "synced again after a failed sync: {again:?}");
    }

    fn promise(&mut self) {
        self.followers.values_mut().for_each(|follower| follower.promised = follower.released);
    }

    fn settle(&mut self, store: &Store) {
        self.query.settle(store);
        let proof = *store.durable().borrow();
        for source in &mut self.sources {
            for (_, end) in source.waiting.extract_if(.., |(ticket, _)| proof.covers(*ticket)) {
                source.settled = source.settled.max(end);
            }
        }
    }

    fn read(&mut self, which: u8, runs: usize) -> Result<(), String> {
        let key = (usize::from(which) % READERS.len(), usize::from(which / 16) % STREAMS.len());
        let Some(mut follower) = self.followers.remove(&key) else { return Ok(()) };
        let mut done = Ok(true);
        for _ in 0..runs {
            done = self.step(key.1, &mut follower);
            if !matches!(done, Ok(true)) {
                break;
            }
        }
        self.followers.insert(key, follower);
        done.map(drop)
    }

    fn release(&mut self, which: u8, part: Option<u8>) {
        let key = (usize::from(which) % READERS.len(), usize::from(which / 16) % STREAMS.len());
        let store = self.stepped().store.clone();
        let stream = store.stream(STREAMS[key.1].0);
        let Some(follower) = self.followers.get_mut(&key) else { return };
        let from = follower.released.max(1);
        let more = follower.next.saturating_sub(from);
        let next = part.map_or(follower.next, |part| from + more * u64::from(part) / 256);
        follower.released = next;
        store.reader(READERS[key.0]).release(Release {
            stream,
            position: Position::whole(next, next - 1),
            bytes: 1000,
            proof: Accepted::by_target(),
        });
    }

    /// A full store takes no more than its cap, and nothing is refused for ever that may drop.
    fn fill(&mut self, stream: u8) -> Result<(), String> {
        let mut refused = 0;
        for _ in 0..200 {
            if !self.append(stream, 8, 2000) {
                refused += 1;
            }
            self.pass(LINGER);
            if refused > 3 || self.disk.is_dead() {
                break;
            }
        }
        let log = self.disk.list(&root().join("log")).unwrap_or_default();
        let bytes: u64 = log
            .iter()
            .filter_map(|path| self.disk.open(path, crate::platform::disk::Mode::Read).ok()?.size().ok())
            .sum();
        if bytes > self.options.cap + 2 * SEGMENT && !self.rotten {
            return Err(format!("{bytes} bytes of segments are more than the cap"));
        }
        Ok(())
    }

    /// A silent source: only the readers move, and the store empties by itself.
    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..400 {
            let mut moved = false;
            for reader in 0..READERS.len() {
                for at in 0..STREAMS.len() {
                    let which = u8::try_from(at * 16 + reader).unwrap();
                    let before = self.followers.get(&(reader, at)).map(|follower| follower.next);
                    self.read(which, 8)?;
                    self.release(which, None);
                    moved |= self.followers.get(&(reader, at)).map(|follower| follower.next) != before;
                }
            }
            let store = self.stepped().store.clone();
            moved |= self.query.step(&store, 8);
            self.pass(5000);
            let idle = self.sources.iter().all(|source| source.waiting.is_empty()) && !self.query.is_busy();
            if self.disk.is_dead() || (!moved && idle) {
                return Ok(());
            }
        }
        // Without a file in reserve, a full disk has no place for data. With one, the store drains.
        if self.disk.is_failing() && self.disk.list(&root().join("spare")).unwrap().is_empty() {
            return Ok(());
        }
        Err("the store does not drain".into())
    }

    fn corrupt(&mut self, file: u8, at: u8) {
        let mut files = Vec::new();
        for dir in ["log", "spare", ""] {
            files.extend(self.disk.list(&root().join(dir)).unwrap_or_default());
        }
        if files.is_empty() {
            return;
        }
        let path = files[usize::from(file) % files.len()].clone();
        self.rotten = true;
        self.disk.tamper(&path, |bytes| {
            let sectors = bytes.len() / 512;
            if sectors > 0 {
                // Mostly where frames are: in the first part of the file.
                let sector = usize::from(at) * usize::from(at) % sectors;
                bytes[sector * 512..(sector + 1) * 512].fill(at);
            }
        });
    }
}

fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(any::<[u8; 3]>().prop_map(Op::from_bytes), 1..most)
}

/// Cases in the normal suite; `tests/run --long` sets more.
fn cases() -> u32 {
    std::env::var("FOREBAY_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_operations_agrees_with_the_model(ops in ops(120), seed in any::<u64>()) {
        let mut machine = Machine::new(seed, true);
        let done = machine.run(&ops).and_then(|()| machine.finish());
        prop_assert!(done.is_ok(), "{}", done.unwrap_err());
    }
}

/// A frame whose sync failed looks written. The next segment, which says where this one ends, is freed, and the
/// index is lost in the same start.
#[test]
fn a_frame_that_was_never_synced_is_no_part_of_an_older_segment() {
    use Op::{Append, Commit, Cut, FailSyncs, FailWrites, Fill, Kill, Release, Reopen, Repair, Trim};
    let before = [Fill(66), Trim(59, 0), Append(0, 79), Reopen, Release(0), Append(0, 0), FailSyncs(0, 1), Commit];
    let then = [Append(0, 0), Append(0, 0), Reopen, Cut(66), FailWrites(0), FailSyncs(0, 2), Kill];
    let mut machine = Machine::new(0, true);
    machine.run(&before).and_then(|()| machine.run(&then)).unwrap();
    machine.run(&[Append(0, 0), Append(0, 0), Repair]).and_then(|()| machine.finish()).unwrap();
}

/// A roll that fails is taken back after the index has noted the segment as sealed. The segment goes on after a
/// restart, and the power goes at the next roll, before the index is told.
#[test]
fn an_index_that_is_older_than_the_log_hides_nothing() {
    use Op::{Append, Commit, Cut, Drain, FailSyncs, FailWrites, Fill, Reopen};
    let before = [Fill(252), Drain, FailWrites(0), FailSyncs(3, 3), Append(0, 0), Append(0, 0), Reopen];
    let then =
        [Append(0, 70), Commit, Append(0, 4), Append(0, 201), Append(0, 43), Cut(3), Append(0, 34), Append(0, 0)];
    let mut machine = Machine::new(10_639_033_428_075_743_479, true);
    machine.run(&before).and_then(|()| machine.run(&then)).and_then(|()| machine.finish()).unwrap();
}

/// A copy of live sections has taken the store a little above its cap, and data waits: the query still goes on.
#[test]
fn a_store_above_its_cap_takes_the_steps_that_empty_it() {
    use Op::{Append, Commit, FailWrites, Fill, Part, Read, Reopen, Trim, Wait};
    let before = [Fill(60), Append(0, 0), Reopen, Trim(1, 0), Commit, Append(0, 0), Append(0, 0), Append(86, 0)];
    let then = [FailWrites(144), Append(14, 0), Trim(18, 0), Append(0, 0), FailWrites(1), Part(0, 0), Read(0, 0)];
    let mut machine = Machine::new(0, true);
    machine.run(&before).and_then(|()| machine.run(&then)).unwrap();
    machine.run(&[Commit, Append(0, 0), Part(0, 0), Wait(49)]).and_then(|()| machine.finish()).unwrap();
}

/// A start cannot write the last frame again, whose sync may have failed: the frame goes to a new segment. Then the
/// power goes, and the old place of the frame is empty.
#[test]
fn a_frame_that_a_start_moves_is_read_where_it_is_durable() {
    use Op::{
        Append, Commit, Cut, Drain, FailSyncs, FailWrites, Fill, Kill, Part, Read, Release, Reopen, Repair, Step,
    };
    let first = [Part(178, 205), Release(225), Read(140, 3), Append(11, 181), Commit, Release(209), Commit];
    let fails = [FailWrites(250), Commit, Read(207, 137), FailWrites(233), Read(199, 59), Repair, FailSyncs(148, 153)];
    let then = [Op::Wait(18), Op::Wait(183), Drain, Read(48, 23), Commit, Cut(167), Append(203, 177), Commit, Commit];
    let more = [Release(71), Append(249, 116), Part(130, 168), Commit, Append(102, 226), FailWrites(135)];
    let kill = [Append(86, 183), Release(179), Read(161, 189), Append(47, 209), Commit, Commit, Read(52, 142)];
    let cut = [Fill(190), Commit, Kill, Append(240, 111), Reopen, Step(146), Read(43, 86), Cut(199), Append(72, 166)];
    let mut machine = Machine::new(4970, true);
    for ops in [&first[..], &fails, &then, &more, &kill, &cut, &[Commit, Fill(77)]] {
        machine.run(ops).unwrap();
    }
    machine.finish().unwrap();
}

/// The same operations out of bytes that are mutated: `FOREBAY_FUZZ_SECONDS` and `FOREBAY_FUZZ_SEED`
/// as in `tests/fuzz.rs`.
#[test]
fn fuzz_store_operations() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("FOREBAY_FUZZ_SECONDS").unwrap_or(2);
    let started = std::time::Instant::now();
    let first = number("FOREBAY_FUZZ_SEED");
    let mut seed = first.unwrap_or(1);
    while seed < 10 || started.elapsed() < Duration::from_secs(seconds) {
        random::seed(seed);
        let length = 10 + random::below(300);
        let ops: Vec<Op> = (0..length).map(|_| Op::from_bytes(random::bytes())).collect();
        if first.is_some() {
            eprintln!("{ops:?}");
        }
        let mut machine = Machine::new(seed, true);
        let done = machine.run(&ops).and_then(|()| machine.finish());
        assert!(done.is_ok(), "FOREBAY_FUZZ_SEED={seed}: {}", done.unwrap_err());
        if first.is_some() {
            return;
        }
        seed += 1;
    }
}
