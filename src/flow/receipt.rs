//! Proofs: an acknowledgement, to a source or to the store, needs one of these types.
//!
//! `Durable` lets a source be told "safe"; `Accepted` lets a cursor move. Each is made in one
//! place, and `tests/tidy.rs` checks that only the store's committer and the sinks make them.

/// All records offered up to and including this group are on disk and synced. Or they were given up, because the
/// user chose so for their stream (`when_full = "drop-newest"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durable(u64);

impl Durable {
    /// Made by the store's committer after `fdatasync` returned without an error.
    #[must_use]
    pub fn synced(group: u64) -> Self {
        Self(group)
    }

    /// Made by the store's committer when all records of a group were given up by their streams'
    /// own rule, counted and reported.
    #[must_use]
    pub fn given_up(group: u64) -> Self {
        Self(group)
    }

    /// Whether this proof covers a ticket.
    #[must_use]
    pub fn covers(self, ticket: Ticket) -> bool {
        ticket.0 <= self.0
    }
}

/// The store's answer to an offer: the number of the group in which the offer will be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// A ticket for a group.
    #[must_use]
    pub fn new(group: u64) -> Self {
        Self(group)
    }
}

/// The proof that a sink's target has accepted a batch for good.
#[derive(Debug)]
#[must_use]
pub struct Accepted(());

impl Accepted {
    /// Made by a sink when its target has acknowledged the batch.
    pub fn by_target() -> Self {
        Self(())
    }

    /// Made by the courier when no record of a batch is left to deliver. Each record was set aside as a durable
    /// dead letter, given up by a limit of the sink, or lost to a reported gap.
    pub fn nothing_left() -> Self {
        Self(())
    }
}
