//! The upstream loop: frames from one source are decoded, offered, and settled in order.
//!
//! Invariants: a frame is told safe only under a `Durable` that covers it; frames settle in the
//! order of arrival, whatever stream or dead letters they went to; all records of a frame and
//! its position are one atom.

mod atom;
mod stall;

use crate::decode::Decoder;
use crate::flow::frame::{Frame, Payload};
use crate::flow::handover::{Held, Taker};
use crate::flow::receipt::{Durable, Ticket};
use crate::flow::record::{DEAD_LETTERS, REDELIVERED};
use crate::platform::clock::Clock;
use crate::store::{Atom, OfferError, Store, StreamId};
use crate::telemetry::{Metric, Metrics, event};
use stall::Stall;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// What the intake knows of a source.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The source's name.
    pub source: Arc<str>,
    /// Where its records go.
    pub stream: String,
    /// How its messages are read.
    pub decoder: Decoder,
    /// The configuration's generation.
    pub generation: u64,
    /// How many unacknowledged messages its peer allows, when the user says so.
    pub window: Option<usize>,
}

/// Runs until the source has ended and everything that it handed over has settled, or until the
/// store is closed.
pub async fn run(rule: Rule, mut taker: Taker, store: Store, clock: Clock, metrics: Arc<Metrics>) {
    let mut durable = store.durable();
    let mut room = store.room();
    let mut intake = Intake {
        stream: store.stream(&rule.stream),
        dead: store.stream(DEAD_LETTERS),
        stall: Stall::new(rule.window),
        waiting: VecDeque::new(),
        offered: VecDeque::new(),
        rule,
        store,
        clock,
        metrics,
    };
    let mut open = true;
    while open || !intake.is_idle() {
        let silence = if taker.is_empty() { intake.silence() } else { None };
        tokio::select! {
            held = taker.next(), if open => match held {
                Some(held) => intake.take(held),
                None => {
                    open = false;
                    intake.store.hurry();
                }
            },
            changed = durable.changed() => {
                if changed.is_err() {
                    return;
                }
                let proof = *durable.borrow_and_update();
                intake.settle(proof, &taker);
            }
            _ = room.changed() => {}
            () = tokio::time::sleep(silence.unwrap_or_default()), if silence.is_some() => intake.hurry(),
        }
        if !intake.offer() {
            return;
        }
    }
}

struct Intake {
    rule: Rule,
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
    stream: StreamId,
    dead: StreamId,
    stall: Stall,
    /// Decoded, not yet taken in by the store.
    waiting: VecDeque<(Atom, u64, OwnedSemaphorePermit)>,
    /// In a commit to come.
    offered: VecDeque<(Ticket, u64, OwnedSemaphorePermit)>,
}

impl Intake {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.offered.is_empty()
    }

    fn take(&mut self, held: Held) {
        let Held { id, frame, permit } = held;
        self.count(&frame);
        let (atom, dead) = atom::build(&self.rule, self.stream, self.dead, frame, self.clock.now().wall_ms);
        for reason in &dead {
            self.metrics.add(Metric::DeadLetters, 1);
            tracing::debug!(event = event::DEAD_LETTER, source = %self.rule.source, reason, "set aside");
        }
        self.waiting.push_back((atom, id, permit));
        self.stall.arrived(self.clock.monotonic_ms());
    }

    fn count(&self, frame: &Frame) {
        self.metrics.add(Metric::SourceFrames, 1);
        if frame.flags & REDELIVERED != 0 {
            self.metrics.add(Metric::SourceRedelivered, 1);
        }
        let bytes = match &frame.payload {
            Payload::One(bytes) | Payload::Lines(bytes) => bytes.len() as u64,
            Payload::TooLarge { length, .. } => *length,
            Payload::Nothing => 0,
        };
        self.metrics.add(Metric::SourceBytes, bytes);
    }

    /// Offers what waits, in order; false when the store is closed.
    fn offer(&mut self) -> bool {
        while let Some((atom, id, permit)) = self.waiting.pop_front() {
            match self.store.offer(atom) {
                Ok(ticket) => self.offered.push_back((ticket, id, permit)),
                Err(OfferError::Full(atom)) => {
                    self.waiting.push_front((*atom, id, permit));
                    return true;
                }
                Err(OfferError::Closed) => return false,
                Err(error @ OfferError::TooLarge(_)) => {
                    // Frames are cut below the limit by their sources; a note says if that ever fails.
                    self.metrics.add(Metric::DeadLetters, 1);
                    tracing::error!(event = event::DEAD_LETTER, source = %self.rule.source, %error, "lost");
                }
            }
        }
        true
    }

    /// How much longer the source must be silent to be taken for waiting.
    fn silence(&self) -> Option<Duration> {
        let due = self.stall.due(self.offered.len())?;
        Some(Duration::from_millis(due.saturating_sub(self.clock.monotonic_ms())))
    }

    fn hurry(&mut self) {
        self.stall.hurried();
        self.metrics.add(Metric::SourceStalls, 1);
        self.store.hurry();
    }

    fn settle(&mut self, proof: Durable, taker: &Taker) {
        let mut last = None;
        let mut count = 0;
        while self.offered.front().is_some_and(|(ticket, ..)| proof.covers(*ticket)) {
            last = self.offered.pop_front().map(|(_, id, _)| id);
            count += 1;
        }
        if let Some(id) = last {
            self.metrics.add(Metric::SourceSettled, count);
            self.stall.settled(self.is_idle(), self.clock.monotonic_ms());
            taker.settle(id);
        }
    }
}
