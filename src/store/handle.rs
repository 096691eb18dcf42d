//! A reader of the store, by its name: its position, its backlog, and how its cursor moves.

use super::Store;
use super::behind::{Behind, GivenUp};
use super::log::body::StreamId;
use super::options::STATE;
use super::position::{Backlog, Position, Release};
use super::reader::{ReadError, Reader};
use super::step::{Memory, Step, StepError};
use crate::flow::receipt::Ticket;

/// A reader of the store; clones are the same reader.
#[derive(Debug, Clone)]
pub struct ReaderHandle {
    store: Store,
    name: String,
}

impl ReaderHandle {
    pub(super) fn new(store: Store, name: String) -> Self {
        Self { store, name }
    }

    /// The name of the reader; its cursors are kept under this name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The streams that the reader reads; a stream that has no record in the log yet is not among them.
    #[must_use]
    pub fn streams(&self) -> Vec<(StreamId, String)> {
        self.store.inner.streams_of(&self.name)
    }

    /// Reads a stream from the reader's cursor on.
    #[must_use]
    pub fn open(&self, stream: StreamId) -> Reader {
        self.store.reader_at(stream, self.position(stream).next)
    }

    /// The position of the reader in a stream. A new reader begins at the stream's oldest record.
    #[must_use]
    pub fn position(&self, stream: StreamId) -> Position {
        self.store.inner.position(&self.name, stream)
    }

    /// The reader's position in a stream as the log has it; none when no cursor was saved.
    #[must_use]
    pub fn saved_position(&self, stream: StreamId) -> Option<Position> {
        self.store.inner.lock().state.cursors.get(&(self.name.clone(), stream)).map(Position::from)
    }

    /// The records that the reader has not released.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.backlog_by_stream().into_iter().map(|(_, backlog)| backlog).fold(Backlog::default(), Backlog::with)
    }

    /// The backlog of each stream that the reader reads, by the stream's name.
    #[must_use]
    pub fn backlog_by_stream(&self) -> Vec<(String, Backlog)> {
        self.store.inner.backlog(&self.name)
    }

    /// Moves the reader's cursor past the delivered records.
    pub fn release(&self, release: Release) {
        self.store.inner.release(&self.name, release);
    }

    /// Has the lanes and the split of this position written soon; the reader's cursor stays where it is.
    pub fn mark(&self, stream: StreamId, position: Position) {
        self.store.inner.mark(&self.name, stream, position);
    }

    /// Gives up the reader's oldest undelivered records, as far as the reader is too far behind.
    #[must_use]
    pub fn give_up(&self, behind: Behind) -> Vec<GivenUp> {
        self.store.inner.give_up(&self.name, behind)
    }

    /// Puts a step of a query into the next commit of steps, without waiting. `Store::stepped` says when the step
    /// is durable; the query's cursors move then.
    ///
    /// # Errors
    /// When there is no room, when the step is too large (`MAX_ATOM`, `MAX_STATE`), or when the store is closed.
    /// Also when a source writes to a stream of the step's output.
    pub fn commit(&self, step: Step) -> Result<Ticket, StepError> {
        self.store.inner.commit(&self.name, step)
    }

    /// The state that a query kept. Call this only when all steps of the query are durable (`Store::stepped`).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn memory(&self) -> Result<Memory, ReadError> {
        let state = self.store.stream(&format!("{STATE}{}", self.name));
        Memory::read(self.open(state))
    }
}
