//! Durable streams on the device. The log is the truth; redb holds an index that can be made again from the log.
//!
//! Invariants, per stream: floor <= lowest cursor <= durable, except across a logged drop. A sequence names one
//! record for life. A `Durable` is made only after `fdatasync` has returned, or when the user's own rule gave the
//! records up.
//!
//! How it works: `offer` puts an atom into the pending group. One committer thread writes groups, cursors and
//! floors as frames, with at most one unsynced frame at a time. Readers read durable records, and release records
//! that were delivered. `docs/design/format.md` describes the bytes on disk.

mod behind;
mod carry;
mod claim;
mod commit;
mod contents;
mod cursor;
mod damaged;
pub mod group;
mod handle;
pub mod index;
pub mod inspect;
pub mod lock;
pub mod log;
mod mark;
mod open;
mod options;
mod position;
pub mod reader;
mod report;
mod shared;
pub mod space;
pub mod state;
mod step;
#[cfg(test)]
mod tests;

pub use behind::{Behind, GivenUp};
pub use claim::{OtherWriter, Writer};
pub use commit::Repaired;
pub use contents::Contents;
pub use group::{Atom, Part};
pub use handle::ReaderHandle;
pub use log::body::{LaneMark, StreamId};
pub use log::recover::Finding;
pub use open::OpenError;
pub use options::{Begin, Options, ReaderRule, Role, Rules, Selection};
pub use position::{Backlog, Position, Release};
pub use reader::{Gap, GapReason, Item, ReadError, Reader, Span};
pub use space::{Keep, StreamRule, WhenFull};
pub use step::{Kept, MAX_SNAPSHOT, MAX_STATE, Memory, Place, Step, StepError};

use crate::flow::hex::hex;
use crate::flow::receipt::{Durable, Ticket};
use crate::telemetry::{Event, Metrics};
use shared::Inner;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// A group is committed as soon as it has this many bytes.
pub const GROUP_BYTES: usize = 256 << 10;
/// While this many bytes wait for a commit, the store refuses further offers.
pub const PENDING_BYTES: usize = 1 << 20;
/// The largest atom, in bytes. An atom of this size and the waiting bytes together stay below a frame's 4 MiB.
pub const MAX_ATOM: usize = 2 << 20;

/// Why the store refused an atom.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// Enough bytes wait already. The atom comes back; offer it again when `room` changes.
    #[error("the store has no room at the moment")]
    Full(Box<Atom>),
    /// Another kind of writer writes to the stream; a stream has one kind of writer.
    #[error(transparent)]
    OtherWriter(#[from] OtherWriter),
    /// The atom has more bytes than `MAX_ATOM`.
    #[error("an atom of {0} bytes is larger than the limit of {MAX_ATOM}")]
    TooLarge(usize),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// A store that is open for writing; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    committer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Store {
    /// Opens a store and starts its committer; creates the store if there is none.
    ///
    /// # Errors
    /// When another process has the store open, or the folder cannot be written.
    pub fn open(dir: &Path, options: &Options, readers: Vec<ReaderRule>) -> Result<(Self, Vec<Finding>), OpenError> {
        let opened = open::open(dir, options, readers)?;
        let inner = opened.inner.clone();
        let committer = opened.committer;
        let failed = inner.failed.clone();
        let thread = std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || {
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| committer.run()));
                if ended.is_err() {
                    tracing::error!(event = crate::telemetry::event::STORE_FAILED, "the committer failed");
                    failed.send_replace(true);
                }
            })
            .map_err(OpenError::Io)?;
        let store = Self { inner, committer: Arc::new(Mutex::new(Some(thread))) };
        Ok((store, opened.findings))
    }

    /// Opens a store without a thread: the caller lets the committer work.
    #[cfg(test)]
    fn open_stepped(
        dir: &Path,
        options: &Options,
        readers: Vec<ReaderRule>,
    ) -> Result<(Self, commit::Committer, Vec<Finding>), OpenError> {
        let opened = open::open(dir, options, readers)?;
        let store = Self { inner: opened.inner, committer: Arc::default() };
        Ok((store, opened.committer, opened.findings))
    }

    /// Writes the damaged segments of a store anew, without the damage. No agent may have the store open.
    ///
    /// # Errors
    /// When another process has the store open, or the disk fails.
    pub fn repair(dir: &Path) -> Result<(Repaired, Vec<Finding>), OpenError> {
        let mut opened = open::open(dir, &Options { cap: u64::MAX, reserve: 0, ..Options::default() }, Vec::new())?;
        Ok((opened.committer.repair()?, opened.findings))
    }

    /// Forgets the cursors of a reader that is not configured any more. Returns the number of streams in which the
    /// reader had a cursor. No agent may have the store open.
    ///
    /// # Errors
    /// When another process has the store open, or the disk fails.
    pub fn forget(dir: &Path, reader: &str) -> Result<usize, OpenError> {
        let mut opened = open::open(dir, &Options { cap: u64::MAX, reserve: 0, ..Options::default() }, Vec::new())?;
        Ok(opened.committer.forget(reader)?)
    }

    /// Gives up a stream's records below a sequence. Returns how many of them no reader had released. No agent may
    /// have the store open.
    ///
    /// # Errors
    /// When another process has the store open, there is no such stream, or the disk fails.
    pub fn trim(dir: &Path, stream: &str, below: u64) -> Result<u64, OpenError> {
        let mut opened = open::open(dir, &Options { cap: u64::MAX, reserve: 0, ..Options::default() }, Vec::new())?;
        Ok(opened.committer.trim(stream, below)?)
    }

    /// The number of a stream. A new name gets its number here; the log has it with the stream's first commit.
    #[must_use]
    pub fn stream(&self, name: &str) -> StreamId {
        self.inner.stream(name)
    }

    /// Puts an atom into the next commit, without waiting.
    ///
    /// # Errors
    /// When there is no room, when the atom is too large, or when the store is closed.
    pub fn offer(&self, atom: Atom) -> Result<Ticket, OfferError> {
        self.inner.offer(atom)
    }

    /// Says that a source waits for the commit of the atoms that it offered.
    pub fn hurry(&self) {
        self.inner.hurry();
    }

    /// Follows which groups of the sources are durable. It also changes, with the same value, when other records are.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.inner.durable.subscribe()
    }

    /// Follows which groups of query steps are durable.
    #[must_use]
    pub fn stepped(&self) -> watch::Receiver<Durable> {
        self.inner.stepped.subscribe()
    }

    /// Changes whenever there may be room after an offer or a step was refused.
    #[must_use]
    pub fn room(&self) -> watch::Receiver<u64> {
        self.inner.room.subscribe()
    }

    /// The names under which positions are saved, each once.
    #[must_use]
    pub fn position_owners(&self) -> Vec<String> {
        self.inner.position_owners()
    }

    /// The positions of a source's parts, as of the last commit.
    #[must_use]
    pub fn positions(&self, source: &str) -> Vec<(String, Vec<u8>)> {
        self.inner.positions(source)
    }

    /// The reader with this name.
    #[must_use]
    pub fn reader(&self, name: &str) -> ReaderHandle {
        ReaderHandle::new(self.clone(), name.into())
    }

    /// A reader of one stream that begins at this sequence.
    #[must_use]
    pub fn reader_at(&self, stream: StreamId, next: u64) -> Reader {
        Reader::new(self.inner.clone(), stream, next)
    }

    /// Whether this start created the store.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.inner.is_new
    }

    /// Readers that have a cursor in the log and are not configured any more.
    #[must_use]
    pub fn unknown_readers(&self) -> Vec<String> {
        let shared = self.inner.lock();
        let is_known = |name: &String| shared.readers.iter().any(|rule| rule.name == *name);
        let mut names: Vec<String> = shared.state.cursors.keys().map(|(name, _)| name.clone()).collect();
        names.dedup();
        names.retain(|name| !is_known(name));
        names
    }

    /// Tells the user of an event: with a log line, a count, and a record in `forebay.events`. `metrics` are those
    /// of the part that the event is about.
    pub fn tell(&self, event: &Event, metrics: &Metrics) {
        self.inner.tell(event, metrics);
    }

    /// The machine's clock was moved by so many milliseconds.
    pub fn clock_set(&self, by_ms: i64) {
        self.inner.clock_set(by_ms);
    }

    /// Changes whenever cursors were saved in the log.
    #[must_use]
    pub fn saved(&self) -> watch::Receiver<u64> {
        self.inner.saved.subscribe()
    }

    /// The sequence that the next record of a stream gets; records that are not durable yet are not counted.
    #[must_use]
    pub fn end(&self, stream: StreamId) -> u64 {
        self.inner.lock().state.streams.get(&stream).map_or(1, |stream| stream.next)
    }

    /// Stored bytes of a stream from a sequence on; estimated within a segment.
    #[must_use]
    pub fn bytes_from(&self, stream: StreamId, next: u64) -> u64 {
        self.inner.lock().bytes_from(stream, next)
    }

    /// The store's id in hex.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.inner.id)
    }

    /// Commits all waiting groups, saves the cursors, and writes a close frame.
    pub fn close(&self) {
        self.inner.ask_to_close(false);
        self.join();
    }

    /// Changes the readers and the rules of the store while it is open. A new reader begins where its rule says. A
    /// removed reader keeps its cursor for the time that `forget` and the clock give it, and holds nothing back.
    pub fn configure(&self, readers: Vec<ReaderRule>, rules: Rules) {
        self.inner.configure(readers, rules);
    }

    /// Returns when everything offered so far is durable or given up. A source that restarts before then would read
    /// records again that still wait for a commit.
    pub async fn caught_up(&self) {
        let last = self.inner.last_offered();
        self.hurry();
        // The sender is gone only with the store.
        let _ = self.durable().wait_for(|durable| durable.covers(last)).await;
    }

    /// Whether the committer has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        *self.inner.failed.borrow()
    }

    /// Returns when the committer has failed: nothing would ever be safe again.
    pub async fn failed(&self) {
        let mut failed = self.inner.failed.subscribe();
        // The sender lives as long as this store.
        let _ = failed.wait_for(|failed| *failed).await;
    }

    /// Stops the committer as a crash would: nothing more is written.
    #[cfg(test)]
    pub fn abandon(&self) {
        self.inner.ask_to_close(true);
        self.join();
    }

    fn join(&self) {
        let thread = self.committer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The panic hook has logged the committer's panic already.
            let _ = thread.join();
        }
    }
}
