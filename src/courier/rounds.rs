//! Reading and encoding on a thread of its own: compression must not hold up the network, nor the
//! network compression. While one round is being delivered, the next may be made.

use super::Shared;
use super::gather::{Bounds, Gathered, LaneIdentity, Sent, gather};
use super::lane::Trouble;
use crate::flow::stop::Stopped;
use crate::store::{ReadError, Reader};
use crate::telemetry::event;
use std::sync::Arc;
use tokio::task::{JoinError, JoinHandle};

/// What a lane reads.
pub(super) struct Rounds {
    shared: Arc<Shared>,
    state: State,
}

enum State {
    /// Nothing is in the making.
    Idle(Reader),
    /// A round from this sequence on is, before it is asked for or not.
    Busy { start: u64, ahead: bool, task: JoinHandle<(Reader, Result<Gathered, ReadError>)> },
    /// The thread that had the reader is gone.
    Lost,
}

impl Rounds {
    pub fn new(shared: Arc<Shared>, reader: Reader) -> Self {
        Self { shared, state: State::Idle(reader) }
    }

    /// Begins with a round that will be asked for; `sent` as it will be then.
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

    /// The next round. When the store could not be read, the same may be asked for again.
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
            // More has come since: fewer and larger events cost less. A round that ends at a gap does not grow.
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

    /// Goes on from another sequence; what was made ahead is dropped.
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

/// An error when the runtime ends. A panic goes on in the lane: the supervisor begins the sink again.
fn ended<T>(done: Result<T, JoinError>) -> Result<T, Stopped> {
    match done.map_err(JoinError::try_into_panic) {
        Ok(done) => Ok(done),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => Err(Stopped),
    }
}
