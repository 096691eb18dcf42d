//! Durable streams on the device: the log is the truth, redb is its index.
//!
//! Invariants, per stream: floor <= lowest cursor <= durable, except across a logged drop; a
//! sequence names one record for life; `Durable` is made after `fdatasync` returned, and only then.
//!
//! How it works: `offer` puts an atom into the pending group; one committer thread
//! writes groups, cursors and floors as frames, one unsynced frame at a time; readers read what
//! is durable and release what was delivered. `docs/design/format.md` has the bytes.

mod behind;
mod carry;
mod claim;
mod commit;
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
pub use group::{Atom, Part};
pub use handle::ReaderHandle;
pub use log::body::{LaneMark, StreamId};
pub use log::recover::Finding;
pub use open::OpenError;
pub use options::{Begin, Options, ReaderRule, Role, Rules, Selection};
pub use position::{Backlog, Position, Release};
pub use reader::{Gap, GapReason, Item, ReadError, Reader, Span};
pub use space::{Keep, StreamRule, WhenFull};
pub use step::{Kept, MAX_STATE, Memory, Place, Step, StepError};

use crate::flow::hex::hex;
use crate::flow::receipt::{Durable, Ticket};
use crate::telemetry::{Event, Metrics};
use shared::Inner;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// A group is committed when it has this many bytes.
pub const GROUP_BYTES: usize = 256 << 10;
/// Nothing more is taken in while this many bytes wait.
pub const PENDING_BYTES: usize = 1 << 20;
/// The largest atom, in bytes; with what waits it stays below a frame's 4 MiB.
pub const MAX_ATOM: usize = 2 << 20;

/// Why an atom was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// Enough waits already: try again when `room` says so. The atom comes back.
    #[error("the store has no room at the moment")]
    Full(Box<Atom>),
    /// A stream has one kind of writer.
    #[error(transparent)]
    OtherWriter(#[from] OtherWriter),
    /// More than `MAX_ATOM`.
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
    /// Opens a store, making it if there is none, and starts its committer.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written.
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

    /// Writes what is damaged in a store anew, without the damage; no agent may have it open.
    ///
    /// # Errors
    /// When another process has it, or the disk fails.
    pub fn repair(dir: &Path) -> Result<(Repaired, Vec<Finding>), OpenError> {
        let mut opened = open::open(dir, &Options { cap: u64::MAX, reserve: 0, ..Options::default() }, Vec::new())?;
        Ok((opened.committer.repair()?, opened.findings))
    }

    /// Forgets where a reader stands that is not configured any more; in how many streams it stood. No agent
    /// may have the store open.
    ///
    /// # Errors
    /// When another process has it, or the disk fails.
    pub fn forget(dir: &Path, reader: &str) -> Result<usize, OpenError> {
        let mut opened = open::open(dir, &Options { cap: u64::MAX, reserve: 0, ..Options::default() }, Vec::new())?;
        Ok(opened.committer.forget(reader)?)
    }

    /// Gives up a stream's records below a sequence; how many of them nobody had released. No
    /// agent may have the store open.
    ///
    /// # Errors
    /// When another process has it, there is no such stream, or the disk fails.
    pub fn trim(dir: &Path, stream: &str, below: u64) -> Result<u64, OpenError> {
        let mut opened = open::open(dir, &Options { cap: u64::MAX, reserve: 0, ..Options::default() }, Vec::new())?;
        Ok(opened.committer.trim(stream, below)?)
    }

    /// The number of a stream; a new name gets one with its first commit.
    #[must_use]
    pub fn stream(&self, name: &str) -> StreamId {
        self.inner.stream(name)
    }

    /// Puts an atom into the next commit, without waiting.
    ///
    /// # Errors
    /// When there is no room, when it is too large, or when the store is closed.
    pub fn offer(&self, atom: Atom) -> Result<Ticket, OfferError> {
        self.inner.offer(atom)
    }

    /// Says that a source waits for the commit of what it offered.
    pub fn hurry(&self) {
        self.inner.hurry();
    }

    /// Follows what is durable.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.inner.durable.subscribe()
    }

    /// Follows what is durable of the steps of queries.
    #[must_use]
    pub fn stepped(&self) -> watch::Receiver<Durable> {
        self.inner.stepped.subscribe()
    }

    /// Changes whenever there may be room after an offer was refused.
    #[must_use]
    pub fn room(&self) -> watch::Receiver<u64> {
        self.inner.room.subscribe()
    }

    /// Where a source's parts stood at the last commit.
    #[must_use]
    pub fn positions(&self, source: &str) -> Vec<(String, Vec<u8>)> {
        self.inner.positions(source)
    }

    /// A reader by its name.
    #[must_use]
    pub fn reader(&self, name: &str) -> ReaderHandle {
        ReaderHandle::new(self.clone(), name.into())
    }

    /// Reads a stream from a sequence on.
    #[must_use]
    pub fn reader_at(&self, stream: StreamId, next: u64) -> Reader {
        Reader::new(self.inner.clone(), stream, next)
    }

    /// Whether this store was made by this start.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.inner.is_new
    }

    /// Readers of the log that are not configured any more.
    #[must_use]
    pub fn unknown_readers(&self) -> Vec<String> {
        let shared = self.inner.lock();
        let is_known = |name: &String| shared.readers.iter().any(|rule| rule.name == *name);
        let mut names: Vec<String> = shared.state.cursors.keys().map(|(name, _)| name.clone()).collect();
        names.dedup();
        names.retain(|name| !is_known(name));
        names
    }

    /// Tells the user of an event: log line, count, and a record in `forebay.events`. `metrics` are those of the part
    /// that it is about.
    pub fn tell(&self, event: &Event, metrics: &Metrics) {
        self.inner.tell(event, metrics);
    }

    /// The machine's clock was moved by so many milliseconds.
    pub fn clock_set(&self, by_ms: i64) {
        self.inner.clock_set(by_ms);
    }

    /// Changes whenever positions were saved.
    #[must_use]
    pub fn saved(&self) -> watch::Receiver<u64> {
        self.inner.saved.subscribe()
    }

    /// The sequence that a stream's next record gets, as far as the stream is durable.
    #[must_use]
    pub fn end(&self, stream: StreamId) -> u64 {
        self.inner.lock().state.streams.get(&stream).map_or(1, |stream| stream.next)
    }

    /// Stored bytes of a stream from a sequence on, in proportion.
    #[must_use]
    pub fn bytes_from(&self, stream: StreamId, next: u64) -> u64 {
        self.inner.lock().bytes_from(stream, next)
    }

    /// The store's id in hex.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.inner.id)
    }

    /// Commits what waits, saves cursors, writes a close frame.
    pub fn close(&self) {
        self.inner.ask_to_close(false);
        self.join();
    }

    /// Changes who reads the store, and its rules, while it is open. A new reader begins where its rule says; one
    /// that is gone keeps its place for the time that `forget` and the clock give it, and holds nothing back.
    pub fn configure(&self, readers: Vec<ReaderRule>, rules: Rules) {
        self.inner.configure(readers, rules);
    }

    /// Returns when all that was offered so far is durable or given up. A source that
    /// begins again must not begin behind what is still on its way.
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
            // A panic of the committer was logged by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}
