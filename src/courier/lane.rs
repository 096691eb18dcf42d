//! One lane: gather, deliver, release, in this order, for ever.

use super::Shared;
use super::gather::{Course, Gathered, OLD, Sent, WHOLE};
use super::progress::Progress;
use super::rounds::Rounds;
use super::way::{Ended, pause};
use crate::encode::Origin;
use crate::flow::receipt::Accepted;
use crate::flow::stop::Stop;
use crate::store::{Position, Release, StreamId};
use crate::telemetry::{Metric, event};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Send at once, without waiting for `linger`, when at least this many stored bytes of the stream wait.
const WORTH_SENDING: u64 = 32 << 10;
/// Where live data goes first, a backlog of this many stored bytes is not waited for.
const WORTH_SPLITTING: u64 = 1 << 20;
/// The store could not be read: again after this long.
const READ_RETRY: Duration = Duration::from_secs(5);

/// What the lanes of a stream share.
struct Tracks {
    progress: Mutex<Progress>,
    /// Changes when there is an old part, and when there is none any more.
    split: watch::Sender<bool>,
    /// Live data alone has more than goes at once.
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
    pub course: Course,
    tracks: Arc<Tracks>,
    sent: Sent,
    /// Halved when the target found a batch too large, doubled when one was accepted.
    records: u64,
}

/// Delivers a stream until asked to stop.
pub(super) async fn run(shared: Arc<Shared>, stream: StreamId, origin: Origin, stop: Stop) {
    let position = shared.reader.position(stream);
    let progress = Progress::new(&position, shared.rule.sending.live_first, shared.store.end(stream));
    let tracks = Arc::new(Tracks {
        split: watch::Sender::new(progress.old.is_some()),
        progress: Mutex::new(progress),
        crowded: watch::Sender::new(false),
    });
    let mut lanes = JoinSet::new();
    let lane = |lane: u32| Lane {
        shared: shared.clone(),
        stream,
        course: Course {
            origin: origin.clone(),
            lane,
            way: if lane == OLD { format!("{}/old", origin.stream).into() } else { origin.stream.clone() },
        },
        tracks: tracks.clone(),
        sent: Sent::new(),
        records: u64::MAX,
    };
    if shared.rule.sending.live_first || *tracks.split.borrow() {
        lanes.spawn(lane(OLD).run_old(stop.clone()));
    }
    lanes.spawn(lane(WHOLE).run(stop.clone()));
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
    async fn run(mut self, mut stop: Stop) {
        let reader = {
            let progress = self.tracks.progress();
            self.sent = Sent::from([(WHOLE, progress.after)]);
            self.shared.store.reader_at(self.stream, progress.live)
        };
        let mut rounds = Rounds::new(self.shared.clone(), reader);
        let mut durable = self.shared.store.durable();
        while !stop.is_requested() {
            self.skip_given_up(&mut rounds).await;
            if self.shared.rule.sending.live_first && !self.split_if_behind(&mut rounds, &mut stop).await {
                return;
            }
            let Some(gathered) = rounds.next(&self.course, &self.sent, self.records, u64::MAX).await else {
                return;
            };
            let Some(gathered) = gathered else {
                if !pause(READ_RETRY, &mut stop).await {
                    return;
                }
                continue;
            };
            self.tracks.crowded.send_if_modified(|was| std::mem::replace(was, gathered.full) != gathered.full);
            if gathered.is_empty() {
                tokio::select! {
                    changed = durable.changed() => if changed.is_err() { return },
                    () = stop.requested() => return,
                }
                // Asked to stop, what is there goes out at once, without waiting for more.
                self.linger(&mut stop).await;
                continue;
            }
            let last = gathered.next.saturating_sub(1);
            let claim = {
                let mut progress = self.tracks.progress();
                let must = progress.must_claim(last);
                progress.trying(last);
                must.then(|| self.mark(&progress))
            };
            if let Some(position) = claim
                && !self.saved(&position, &mut stop).await
            {
                return;
            }
            if !self.finish(&mut rounds, gathered, u64::MAX, &mut stop).await {
                return;
            }
        }
    }

    /// The older part, whenever there is one.
    async fn run_old(mut self, mut stop: Stop) {
        let mut split = self.tracks.split.subscribe();
        let mut crowded = self.tracks.crowded.subscribe();
        loop {
            tokio::select! {
                there = split.wait_for(|there| *there) => if there.is_err() { return },
                () = stop.requested() => return,
            }
            let Some(old) = self.tracks.progress().old else { continue };
            self.sent = Sent::from([(OLD, self.tracks.progress().old_after)]);
            let reader = self.shared.store.reader_at(self.stream, old.next);
            let mut rounds = Rounds::new(self.shared.clone(), reader);
            // The whole lane may have split again before this one looks.
            let tracks = self.tracks.clone();
            let is_there = || tracks.progress().old.is_some_and(|now| now.end == old.end);
            while *split.borrow() && is_there() {
                tokio::select! {
                    // What comes goes first: this part takes what is left of the link.
                    free = crowded.wait_for(|crowded| !*crowded) => if free.is_err() { return },
                    () = stop.requested() => return,
                }
                let Some(gathered) = rounds.next(&self.course, &self.sent, self.records, old.end).await else {
                    return;
                };
                let done = match gathered {
                    Some(gathered) if !gathered.is_empty() => {
                        self.finish(&mut rounds, gathered, old.end, &mut stop).await
                    }
                    _ => pause(READ_RETRY, &mut stop).await,
                };
                if !done {
                    return;
                }
            }
        }
    }

    /// Goes on behind what was given up (`max_behind`).
    async fn skip_given_up(&self, rounds: &mut Rounds) {
        let given = self.shared.reader.position(self.stream).next;
        if given > self.tracks.progress().live {
            self.release(given, 0, Accepted::nothing_left());
            rounds.rewind(given).await;
        }
    }

    /// A backlog that was never sent becomes a lane of its own, and this one goes on with what comes;
    /// false when asked to stop.
    async fn split_if_behind(&self, rounds: &mut Rounds, stop: &mut Stop) -> bool {
        let end = self.shared.store.end(self.stream);
        let position = {
            let mut progress = self.tracks.progress();
            let behind = || self.shared.store.bytes_from(self.stream, progress.live);
            if !progress.may_split() || end <= progress.live || behind() < WORTH_SPLITTING {
                return true;
            }
            progress.split(end);
            self.mark(&progress)
        };
        if !self.saved(&position, stop).await {
            return false;
        }
        let (sink, stream) = (&self.shared.rule.name, &*self.course.origin.stream);
        tracing::info!(event = event::SINK_NOTE, sink, stream, end, "live data goes first; what waited goes beside it");
        rounds.rewind(end).await;
        self.tracks.split.send_replace(true);
        true
    }

    /// Has a position written soon; whoever calls holds the lock, so that no older one comes after it.
    fn mark(&self, progress: &Progress) -> Position {
        let position = progress.position();
        self.shared.reader.mark(self.stream, position.clone());
        position
    }

    /// Waits until a claim or a split is in the log; false when asked to stop.
    async fn saved(&self, position: &Position, stop: &mut Stop) -> bool {
        let store = &self.shared.store;
        let mut saved = store.saved();
        let claim = |position: &Position| position.lanes.last().map_or(0, |mark| mark.next);
        let wanted =
            |there: &Position| claim(there) >= claim(position) && (there.split.is_some() || position.split.is_none());
        loop {
            saved.mark_unchanged();
            if self.shared.reader.saved_position(self.stream).as_ref().is_some_and(wanted) {
                return true;
            }
            tokio::select! {
                changed = saved.changed() => if changed.is_err() { return false },
                () = stop.requested() => return false,
            }
        }
    }

    /// Waits for more while what there is is not worth sending.
    async fn linger(&self, stop: &mut Stop) {
        if self.shared.rule.sending.linger.is_zero() {
            return;
        }
        let mut durable = self.shared.store.durable();
        let deadline = tokio::time::sleep(self.shared.rule.sending.linger);
        tokio::pin!(deadline);
        // Only this stream's own backlog counts: beside a busy stream a slow one would send an event a commit.
        let waits = || self.shared.store.bytes_from(self.stream, self.tracks.progress().live);
        while waits() < WORTH_SENDING {
            tokio::select! {
                () = &mut deadline => return,
                changed = durable.changed() => if changed.is_err() { return },
                () = stop.requested() => return,
            }
        }
    }

    /// Delivers what was gathered and releases it; false when the lane is to end.
    async fn finish(&mut self, rounds: &mut Rounds, gathered: Gathered, end: u64, stop: &mut Stop) -> bool {
        let Gathered { batches, next, sent, too_large, full, .. } = gathered;
        if let Some(sequence) = too_large {
            return self.set_aside(rounds, sequence, "larger than the target takes in one event", stop).await;
        }
        if batches.is_empty() {
            self.release(next, 0, Accepted::nothing_left());
            return true;
        }
        if full {
            rounds.begin(&self.course, &sent, self.records, end);
        }
        // What was not released yet: more than one batch where there are several lanes.
        let mut count: u64 = batches.iter().map(|(batch, _)| batch.records()).sum();
        let mut first = batches.iter().filter_map(|(batch, _)| Some(batch.events.first()?.envelope.first)).min();
        let (mut done, mut bytes) = (0, 0);
        for (batch, cursor) in batches {
            let last = batch.events.iter().map(|event| event.envelope.last).max().unwrap_or(0);
            let stands = || self.shared.reader.position(self.stream).next;
            let is_wanted = || self.course.lane == OLD || self.shared.rule.sending.live_first || stands() <= last;
            match self.shared.way.deliver(&batch, is_wanted, stop).await {
                Ended::Accepted(proof) => {
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
                Ended::TooLarge(why) | Ended::Refused(why) if count <= 1 => {
                    return self.set_aside(rounds, first.unwrap_or(next), &why, stop).await;
                }
                // One record at a time shows which of them the target will not have.
                Ended::TooLarge(_) | Ended::Refused(_) => {
                    self.shared.metrics.add(Metric::SinkSplits, 1);
                    self.records = count / 2;
                    return rounds.rewind(first.unwrap_or(next)).await;
                }
                Ended::Outdated => return rounds.rewind(first.unwrap_or(next)).await,
                Ended::Stopped => return false,
            }
        }
        self.sent = sent;
        self.records = self.records.saturating_mul(2);
        true
    }

    /// The target never takes this record: it becomes a dead letter, and the lane goes past it.
    async fn set_aside(&mut self, rounds: &mut Rounds, sequence: u64, why: &str, stop: &mut Stop) -> bool {
        match self.write_letter(rounds, sequence, why, stop).await {
            Ok(true) => {
                rounds.rewind(sequence + 1).await;
                self.records = u64::MAX;
                self.release(sequence + 1, 0, Accepted::nothing_left());
                true
            }
            Ok(false) => false,
            Err(_) => {
                rounds.rewind(sequence).await;
                pause(READ_RETRY, stop).await
            }
        }
    }

    fn release(&self, next: u64, bytes: u64, proof: Accepted) {
        // The store takes positions in the order in which they come to be: under this lock.
        let mut progress = self.tracks.progress();
        let is_done = match self.course.lane {
            OLD => progress.delivered_old(next, &self.sent),
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
