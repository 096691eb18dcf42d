//! A reader of the store, by its name: where it stands, what waits for it, how it moves.

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

    /// Its name; cursors are kept under it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that it reads.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The streams that it reads, so far.
    #[must_use]
    pub fn streams(&self) -> Vec<(StreamId, String)> {
        self.store.inner.streams_of(&self.name)
    }

    /// Reads a stream from its cursor on.
    #[must_use]
    pub fn open(&self, stream: StreamId) -> Reader {
        self.store.reader_at(stream, self.position(stream).next)
    }

    /// Where it stands in a stream; a new one at its oldest record.
    #[must_use]
    pub fn position(&self, stream: StreamId) -> Position {
        self.store.inner.position(&self.name, stream)
    }

    /// What of its position in a stream is in the log.
    #[must_use]
    pub fn saved_position(&self, stream: StreamId) -> Option<Position> {
        self.store.inner.lock().state.cursors.get(&(self.name.clone(), stream)).map(Position::from)
    }

    /// What it has not released.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.store.inner.backlog(&self.name)
    }

    /// Moves its cursor over what was delivered.
    pub fn release(&self, release: Release) {
        self.store.inner.release(&self.name, release);
    }

    /// Has what it keeps of its lanes written soon; its cursor stays where it is.
    pub fn mark(&self, stream: StreamId, position: Position) {
        self.store.inner.mark(&self.name, stream, position);
    }

    /// Has it give up the oldest of what it has not delivered, so far as it is too far behind.
    #[must_use]
    pub fn give_up(&self, behind: Behind) -> Vec<GivenUp> {
        self.store.inner.give_up(&self.name, behind)
    }

    /// Puts a step of a query into the next commit of steps, without waiting; `Store::stepped` says when it is
    /// durable. Its cursors move then.
    ///
    /// # Errors
    /// When there is no room, when it is too large (`MAX_ATOM`, `MAX_STATE`), when a source writes to a stream of
    /// its output, or when the store is closed.
    pub fn commit(&self, step: Step) -> Result<Ticket, StepError> {
        self.store.inner.commit(&self.name, step)
    }

    /// The state that a query kept. Call it when all its steps are durable (`Store::stepped`).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn memory(&self) -> Result<Memory, ReadError> {
        let state = self.store.stream(&format!("{STATE}{}", self.name));
        Memory::read(self.open(state))
    }
}
