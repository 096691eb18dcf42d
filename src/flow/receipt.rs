//! Proofs: what may be told to whom.
//!
//! `Durable` lets a source be told "safe"; `Accepted` lets a cursor move. Each is made in one
//! place, and `tests/tidy.rs` checks that only the store's committer and the sinks make them.

/// Everything offered up to and including this group is on disk, synced, or was given up because
/// the user chose so for its stream (`when_full = "drop-newest"`).
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

/// What an offer got: the number of the group that it will be committed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// A ticket for a group.
    #[must_use]
    pub fn new(group: u64) -> Self {
        Self(group)
    }
}

/// A sink's target has taken a batch for good.
#[derive(Debug)]
#[must_use]
pub struct Accepted(());

impl Accepted {
    /// Made by a sink when its target said that it has the batch.
    pub fn by_target() -> Self {
        Self(())
    }

    /// Made by the courier when all records of a batch were set aside as durable dead letters
    /// or lost to a reported gap: there is nothing left to deliver.
    pub fn nothing_left() -> Self {
        Self(())
    }
}
