//! One lane of a sink: it gathers, delivers and releases records, in this order, until it is asked to stop.

use super::Shared;
use super::dispatch::Outcome;
use super::gather::{Gathered, LaneIdentity, Sent};
use super::progress::Progress;
use super::rounds::Rounds;
use crate::encode::Origin;
use crate::flow::health::Reporter;
use crate::flow::lane::LaneId;
use crate::flow::pulse::Work;
use crate::flow::receipt::Accepted;
use crate::flow::stop::{Stop, Stopped};
use crate::store::{Position, ReadError, Release, StreamId};
use crate::telemetry::{Metric, Reason, event};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Readings are sent at once, without waiting for `linger`, when at least this many stored bytes of the stream wait.
const SEND_AT_ONCE_BYTES: u64 = 32 << 10;
/// With `live-first`, a backlog of at least this many stored bytes becomes a lane of its own.
const SPLIT_BYTES: u64 = 1 << 20;
/// A store that could not be read is read again after this long.
const READ_RETRY: Duration = Duration::from_secs(5);

/// Why a lane cannot go on at the moment.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The lane was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The store could not be read: the lane reads it again later.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// The state that the lanes of a stream share.
struct Tracks {
    progress: Mutex<Progress>,
    /// True while the stream has an old part.
    split: watch::Sender<bool>,
    /// Live data alone fills more than one round.
    crowded: watch::Sender<bool>,
}

impl Tracks {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Lane {
    pub shared: Arc<Shared>,
    pub stream: StreamId,
    pub identity: LaneIdentity,
    tracks: Arc<Tracks>,
    sent: Sent,
    /// The largest number of records in a round. It is halved when the target finds a batch too large or refuses
    /// it, and doubled when a round was accepted.
    records: u64,
}

/// Delivers a stream until asked to stop.
pub(super) async fn run(shared: Arc<Shared>, stream: StreamId, origin: Origin, health: Reporter, stop: Stop) {
    let position = shared.reader.position(stream);
    let progress = Progress::new(&position, shared.rule.sending.live_first, shared.store.end(stream));
    let tracks = Arc::new(Tracks {
        split: watch::Sender::new(progress.old.is_some()),
        progress: Mutex::new(progress),
        crowded: watch::Sender::new(false),
    });
    let mut lanes = JoinSet::new();
    let lane = |lane: LaneId| {
        let is_old = lane == LaneId::OLD;
        let channel = if is_old { format!("{}/old", origin.stream).into() } else { origin.stream.clone() };
        let identity = LaneIdentity { origin: origin.clone(), lane, channel };
        Lane { shared: shared.clone(), stream, identity, tracks: tracks.clone(), sent: Sent::new(), records: u64::MAX }
    };
    if shared.rule.sending.live_first || *tracks.split.borrow() {
        lanes
            .spawn(health.pulse("delivering old records", Work::Shared).watch(lane(LaneId::OLD).run_old(stop.clone())));
    }
    lanes.spawn(health.pulse("delivering", Work::Shared).watch(lane(LaneId::WHOLE).run(stop.clone())));
    while let Some(ended) = lanes.join_next().await {
        if let Err(Ok(panic)) = ended.map_err(tokio::task::JoinError::try_into_panic) {
            // The sink is started again as a whole.
            std::panic::resume_unwind(panic);
        }
    }
    if shared.rule.sending.live_first {
        let mut progress = tracks.progress();
        progress.settle();
        shared.reader.mark(stream, progress.position());
    }
}

impl Lane {
    /// Runs the whole lane: the whole stream, or only new records while the older part is a lane of its own.
    async fn run(mut self, mut stop: Stop) -> Result<(), Stopped> {
        let reader = {
            let progress = self.tracks.progress();
            self.sent = Sent::from([(LaneId::WHOLE, progress.after)]);
            self.shared.store.reader_at(self.stream, progress.live)
        };
        let mut rounds = Rounds::new(self.shared.clone(), reader);
        while !stop.is_requested() {
            let done = self.round(&mut rounds, &mut stop).await;
            retry(done, &mut stop).await?;
        }
        Ok(())
    }

    /// Runs one round of the whole lane: delivers it, or waits for more records when there are none.
    async fn round(&mut self, rounds: &mut Rounds, stop: &mut Stop) -> Result<(), Trouble> {
        let mut durable = self.shared.store.durable();
        self.skip_given_up(rounds).await?;
        if self.shared.rule.sending.live_first {
            self.split_if_behind(rounds, stop).await?;
        }
        let gathered = rounds.next(&self.identity, &self.sent, self.records, u64::MAX).await?;
        self.tracks.crowded.send_if_modified(|was| std::mem::replace(was, gathered.full) != gathered.full);
        if gathered.is_empty() {
            stop.or(durable.changed()).await?.map_err(|_| Stopped)?;
            // Records may have come. The lane waits for more of them, unless it is asked to stop.
            self.linger(stop).await;
            return Ok(());
        }
        let last = gathered.next.saturating_sub(1);
        let claim = {
            let mut progress = self.tracks.progress();
            let must = progress.must_claim(last);
            progress.trying(last);
            must.then(|| self.mark(&progress))
        };
        if let Some(position) = claim {
            self.saved(&position, stop).await?;
        }
        self.finish(rounds, gathered, u64::MAX, stop).await
    }

    /// Runs the old lane, whenever the stream has an older part.
    async fn run_old(mut self, mut stop: Stop) -> Result<(), Stopped> {
        let mut split = self.tracks.split.subscribe();
        loop {
            stop.or(split.wait_for(|there| *there)).await?.map_err(|_| Stopped)?;
            let Some(old) = self.tracks.progress().old else { continue };
            self.sent = Sent::from([(LaneId::OLD, self.tracks.progress().old_after)]);
            let reader = self.shared.store.reader_at(self.stream, old.next);
            let mut rounds = Rounds::new(self.shared.clone(), reader);
            // The whole lane may have split the stream again before this lane looks.
            let tracks = self.tracks.clone();
            let is_there = || tracks.progress().old.is_some_and(|now| now.end == old.end);
            while *split.borrow() && is_there() {
                let done = self.old_round(&mut rounds, old.end, &mut stop).await;
                retry(done, &mut stop).await?;
            }
        }
    }

    async fn old_round(&mut self, rounds: &mut Rounds, end: u64, stop: &mut Stop) -> Result<(), Trouble> {
        // Live data goes first: the old lane waits while live data fills more than one round.
        let mut crowded = self.tracks.crowded.subscribe();
        stop.or(crowded.wait_for(|crowded| !*crowded)).await?.map_err(|_| Stopped)?;
        let gathered = rounds.next(&self.identity, &self.sent, self.records, end).await?;
        if gathered.is_empty() {
            return Ok(stop.pause(READ_RETRY).await?);
        }
        self.finish(rounds, gathered, end, stop).await
    }

    /// Moves the lane behind the records that were given up (`max_behind`, `give_up_after`).
    async fn skip_given_up(&self, rounds: &mut Rounds) -> Result<(), Stopped> {
        let given = self.shared.reader.position(self.stream).next;
        if given > self.tracks.progress().live {
            self.release(given, 0, Accepted::nothing_left());
            rounds.rewind(given).await?;
        }
        Ok(())
    }

    /// Makes a backlog that was never sent a lane of its own; the whole lane goes on with new records.
    async fn split_if_behind(&self, rounds: &mut Rounds, stop: &mut Stop) -> Result<(), Stopped> {
        let end = self.shared.store.end(self.stream);
        let position = {
            let mut progress = self.tracks.progress();
            let behind = || self.shared.store.bytes_from(self.stream, progress.live);
            if !progress.may_split() || end <= progress.live || behind() < SPLIT_BYTES {
                return Ok(());
            }
            progress.split(end);
            self.mark(&progress)
        };
        self.saved(&position, stop).await?;
        let (sink, stream) = (self.shared.reader.name(), &*self.identity.origin.stream);
        tracing::info!(event = event::SINK_NOTE, sink, stream, end, "live data goes first; what waited goes beside it");
        rounds.rewind(end).await?;
        self.tracks.split.send_replace(true);
        Ok(())
    }

    /// Asks the store to save a position soon. The caller holds the lock, so that no older position comes after it.
    fn mark(&self, progress: &Progress) -> Position {
        let position = progress.position();
        self.shared.reader.mark(self.stream, position.clone());
        position
    }

    /// Waits until a claim or a split is in the log.
    async fn saved(&self, position: &Position, stop: &mut Stop) -> Result<(), Stopped> {
        let mut saved = self.shared.store.saved();
        let claim = |position: &Position| position.lane(LaneId::CLAIM).map_or(0, |mark| mark.next);
        let wanted =
            |there: &Position| claim(there) >= claim(position) && (there.split.is_some() || position.split.is_none());
        loop {
            saved.mark_unchanged();
            if self.shared.reader.saved_position(self.stream).as_ref().is_some_and(wanted) {
                return Ok(());
            }
            stop.or(saved.changed()).await?.map_err(|_| Stopped)?;
        }
    }

    /// Waits until enough records for an event have come, `linger` has passed, or the stop is asked for.
    async fn linger(&self, stop: &mut Stop) {
        let linger = self.shared.rule.sending.linger;
        if linger.is_zero() {
            return;
        }
        let mut durable = self.shared.store.durable();
        // Only the backlog of this stream counts. Else a slow stream would send an event at each commit of others.
        let waits = || self.shared.store.bytes_from(self.stream, self.tracks.progress().live);
        let enough = async { while waits() < SEND_AT_ONCE_BYTES && durable.changed().await.is_ok() {} };
        let _ = stop.or(tokio::time::timeout(linger, enough)).await;
    }

    /// Delivers the batches of a round and releases their records.
    async fn finish(
        &mut self,
        rounds: &mut Rounds,
        gathered: Gathered,
        end: u64,
        stop: &mut Stop,
    ) -> Result<(), Trouble> {
        let Gathered { batches, next, sent, too_large, full, .. } = gathered;
        if let Some(sequence) = too_large {
            let why = "larger than the target takes in one event";
            return self.set_aside(rounds, sequence, (Reason::TooLarge, why), stop).await;
        }
        if batches.is_empty() {
            self.release(next, 0, Accepted::nothing_left());
            return Ok(());
        }
        if full {
            rounds.begin(&self.identity, &sent, self.records, end);
        }
        // The records that are not released yet. With several lanes they may be in more than one batch.
        let mut count: u64 = batches.iter().map(|(batch, _)| batch.records()).sum();
        let mut first = batches.iter().filter_map(|(batch, _)| Some(batch.events.first()?.envelope.first)).min();
        let (mut done, mut bytes) = (0, 0);
        for (batch, cursor) in batches {
            let last = batch.events.iter().map(|event| event.envelope.last).max().unwrap_or(0);
            let stands = || self.shared.reader.position(self.stream).next;
            let is_live_first = self.identity.lane == LaneId::OLD || self.shared.rule.sending.live_first;
            match self.shared.dispatcher.deliver(&batch, || is_live_first || stands() <= last, stop).await? {
                Outcome::Accepted(proof) => {
                    let metrics = &self.shared.metrics;
                    metrics.add(Metric::SinkRecords, batch.records());
                    metrics.add(Metric::SinkEvents, batch.events.len() as u64);
                    metrics.add(Metric::SinkBodyBytes, batch.bytes() as u64);
                    done += batch.records();
                    bytes += batch.bytes() as u64;
                    if let Some(last) = batch.events.last() {
                        self.sent.insert(last.envelope.lane, last.envelope.last);
                    }
                    if let Some(next) = cursor {
                        self.release(next, std::mem::take(&mut bytes), proof);
                        count -= std::mem::take(&mut done);
                        first = Some(next);
                    }
                }
                Outcome::TooLarge(why) if count <= 1 => {
                    return self.set_aside(rounds, first.unwrap_or(next), (Reason::TooLarge, &why), stop).await;
                }
                Outcome::Refused(why) if count <= 1 => {
                    return self.set_aside(rounds, first.unwrap_or(next), (Reason::NotAccepted, &why), stop).await;
                }
                // Halved again and again, down to one record, the round shows which record the target refuses.
                Outcome::TooLarge(_) | Outcome::Refused(_) => {
                    self.shared.metrics.add(Metric::SinkSplits, 1);
                    self.records = count / 2;
                    return Ok(rounds.rewind(first.unwrap_or(next)).await?);
                }
                Outcome::Outdated => return Ok(rounds.rewind(first.unwrap_or(next)).await?),
            }
        }
        self.sent = sent;
        self.records = self.records.saturating_mul(2);
        Ok(())
    }

    /// Makes a dead letter of a record that the target never accepts, and moves the lane behind the record.
    async fn set_aside(
        &mut self,
        rounds: &mut Rounds,
        sequence: u64,
        why: (Reason, &str),
        stop: &mut Stop,
    ) -> Result<(), Trouble> {
        if let Err(trouble) = self.write_dead_letter(rounds, sequence, why, stop).await {
            rounds.rewind(sequence).await?;
            return Err(trouble);
        }
        rounds.rewind(sequence + 1).await?;
        self.records = u64::MAX;
        self.release(sequence + 1, 0, Accepted::nothing_left());
        Ok(())
    }

    fn release(&self, next: u64, bytes: u64, proof: Accepted) {
        // The store must get positions in the order in which they are made; this lock ensures that.
        let mut progress = self.tracks.progress();
        let is_done = match self.identity.lane {
            LaneId::OLD => progress.delivered_old(next, &self.sent),
            _ => {
                progress.delivered(next, &self.sent);
                false
            }
        };
        self.shared.reader.release(Release { stream: self.stream, position: progress.position(), bytes, proof });
        if is_done {
            self.tracks.split.send_replace(false);
        }
    }
}

/// Waits for `READ_RETRY` when the store could not be read; the caller reads it again then.
async fn retry(done: Result<(), Trouble>, stop: &mut Stop) -> Result<(), Stopped> {
    match done {
        Ok(()) => Ok(()),
        Err(Trouble::Stopped(stopped)) => Err(stopped),
        Err(Trouble::Unreadable(_)) => stop.pause(READ_RETRY).await,
    }
}
