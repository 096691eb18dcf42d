//! Reading and encoding on a thread of its own: compression must not hold up the network, nor the
//! network compression. While one round is on its way, the next may be made.

use super::Shared;
use super::gather::{Bounds, Course, Gathered, Sent, gather};
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
    pub fn begin(&mut self, course: &Course, sent: &Sent, records: u64, end: u64) {
        self.make(course, sent, records, end, true);
    }

    fn make(&mut self, course: &Course, sent: &Sent, records: u64, end: u64, ahead: bool) {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(mut reader) => {
                let bounds = Bounds { limits: self.shared.way.sink().limits(), records, end };
                let (course, sent, shared) = (course.clone(), sent.clone(), self.shared.clone());
                let start = reader.next_sequence();
                let task = tokio::task::spawn_blocking(move || {
                    let gathered = gather(&mut reader, &sent, &course, &shared.rule, bounds);
                    (reader, gathered)
                });
                State::Busy { start, ahead, task }
            }
            other => other,
        };
    }

    /// The next round; `Some(None)` when the store could not be read, `None` when the lane must end.
    pub async fn next(&mut self, course: &Course, sent: &Sent, records: u64, end: u64) -> Option<Option<Gathered>> {
        loop {
            self.make(course, sent, records, end, false);
            let State::Busy { start, ahead, task } = std::mem::replace(&mut self.state, State::Lost) else {
                return None;
            };
            let (mut reader, gathered) = ended(task.await)?;
            match gathered {
                // More has come since: fewer and larger events cost less. What ends at a gap does not grow.
                Ok(gathered) if ahead && !gathered.full && gathered.gaps.is_empty() => reader.rewind(start),
                Ok(gathered) => {
                    self.state = State::Idle(reader);
                    return Some(Some(gathered));
                }
                Err(error) => {
                    tracing::warn!(event = event::SINK_DOWN, sink = self.shared.rule.name, %error, "trying again");
                    reader.rewind(start);
                    self.state = State::Idle(reader);
                    return Some(None);
                }
            }
            self.state = State::Idle(reader);
        }
    }

    /// Goes on from another sequence; what was made ahead is dropped. False when the lane must end.
    pub async fn rewind(&mut self, next: u64) -> bool {
        let reader = match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(reader) => Some(reader),
            State::Busy { task, .. } => ended(task.await).map(|(reader, _)| reader),
            State::Lost => None,
        };
        let Some(mut reader) = reader else { return false };
        reader.rewind(next);
        self.state = State::Idle(reader);
        true
    }

    /// The reader, where `rewind` has put it; none while a round is in the making.
    pub fn reader(&mut self) -> Option<&mut Reader> {
        match &mut self.state {
            State::Idle(reader) => Some(reader),
            State::Busy { .. } | State::Lost => None,
        }
    }
}

/// None when the runtime ends. A panic goes on in the lane: the courier begins that again.
fn ended<T>(done: Result<T, JoinError>) -> Option<T> {
    match done.map_err(JoinError::try_into_panic) {
        Ok(done) => Some(done),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => None,
    }
}
