//! Reads and encodes rounds on a separate thread: compression must not delay the network, and the network must not
//! delay compression. A round is a group of batches that are read and encoded together. While one round is
//! delivered, the next round may be prepared.

use super::Shared;
use super::gather::{Bounds, Gathered, LaneIdentity, Sent, gather};
use super::lane::Trouble;
use crate::flow::stop::Stopped;
use crate::store::{ReadError, Reader};
use crate::telemetry::event;
use std::sync::Arc;
use tokio::task::{JoinError, JoinHandle};

/// The reader of a lane, and the round that it prepares.
pub(super) struct Rounds {
    shared: Arc<Shared>,
    state: State,
}

enum State {
    /// No round is being prepared.
    Idle(Reader),
    /// A round from the sequence `start` on is being prepared. `ahead`: it was begun before the lane asked for it.
    Busy { start: u64, ahead: bool, task: JoinHandle<(Reader, Result<Gathered, ReadError>)> },
    /// The thread that had the reader is gone.
    Lost,
}

impl Rounds {
    pub fn new(shared: Arc<Shared>, reader: Reader) -> Self {
        Self { shared, state: State::Idle(reader) }
    }

    /// Begins to prepare the next round ahead. `sent` is the state after the delivery of the current round.
    pub fn begin(&mut self, identity: &LaneIdentity, sent: &Sent, records: u64, end: u64) {
        self.make(identity, sent, records, end, true);
    }

    fn make(&mut self, identity: &LaneIdentity, sent: &Sent, records: u64, end: u64, ahead: bool) {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(mut reader) => {
                let bounds = Bounds { limits: self.shared.dispatcher.sink().limits(), records, end };
                let (identity, sent, shared) = (identity.clone(), sent.clone(), self.shared.clone());
                let start = reader.next_sequence();
                let task = tokio::task::spawn_blocking(move || {
                    let gathered = gather(&mut reader, &sent, &identity, &shared.rule, bounds);
                    (reader, gathered)
                });
                State::Busy { start, ahead, task }
            }
            other => other,
        };
    }

    /// The next round. After a read error of the store, the same round may be asked for again.
    pub async fn next(
        &mut self,
        identity: &LaneIdentity,
        sent: &Sent,
        records: u64,
        end: u64,
    ) -> Result<Gathered, Trouble> {
        loop {
            self.make(identity, sent, records, end, false);
            let State::Busy { start, ahead, task } = std::mem::replace(&mut self.state, State::Lost) else {
                return Err(Stopped.into());
            };
            let (mut reader, gathered) = ended(task.await)?;
            // A round that was prepared ahead and is not full is made again: more records may have come since, and
            // fewer, larger events cost less. A round that ends at a gap does not grow.
            let is_early = |gathered: &Gathered| ahead && !gathered.full && gathered.gaps.is_empty();
            let is_good = gathered.as_ref().is_ok_and(|gathered| !is_early(gathered));
            if !is_good {
                reader.rewind(start);
            }
            self.state = State::Idle(reader);
            match gathered {
                Ok(gathered) if is_good => return Ok(gathered),
                Ok(_) => {}
                Err(error) => {
                    let sink = self.shared.reader.name();
                    tracing::warn!(event = event::SINK_DOWN, sink, %error, "trying again");
                    return Err(error.into());
                }
            }
        }
    }

    /// Goes on from another sequence; a round that was prepared ahead is dropped.
    pub async fn rewind(&mut self, next: u64) -> Result<(), Stopped> {
        self.rewound(next).await.map(drop)
    }

    /// The reader, at this sequence.
    pub async fn rewound(&mut self, next: u64) -> Result<&mut Reader, Stopped> {
        let mut reader = match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(reader) => reader,
            State::Busy { task, .. } => ended(task.await)?.0,
            State::Lost => return Err(Stopped),
        };
        reader.rewind(next);
        self.state = State::Idle(reader);
        match &mut self.state {
            State::Idle(reader) => Ok(reader),
            State::Busy { .. } | State::Lost => Err(Stopped),
        }
    }
}

/// The result of a thread; an error when the runtime ends. A panic goes on in the lane, and the supervisor starts
/// the sink again.
fn ended<T>(done: Result<T, JoinError>) -> Result<T, Stopped> {
    match done.map_err(JoinError::try_into_panic) {
        Ok(done) => Ok(done),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => Err(Stopped),
    }
}
