//! Dead letters once more: each is read again as its source's configuration says now, or goes back to the stream from
//! which a sink set it aside.
//!
//! Invariant: a dead letter is taken once. What becomes of it, and the mark that it was taken, are one atom.

use super::Rule;
use super::atom::Builder;
use crate::flow::dead_letter::{Fate, Taken, undone};
use crate::flow::frame::{Frame, Payload};
use crate::flow::record::{DEAD_LETTERS, Record};
use crate::platform::clock::{Clock, Reading};
use crate::store::{Atom, Item, OfferError, Part, Store, StreamId};
use crate::telemetry::{Metrics, Reason};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The name under which the mark is saved with the positions of sources, and its part. No source can have this name.
const OWNER: &str = "forebay.dead-letters";
const MARK: &str = "taken";
/// The most dead letters, and the most bytes of them, that one call takes.
const MOST: usize = 1000;
const MOST_BYTES: usize = 8 << 20;
/// The longest wait for a full store.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first dead letter that nobody has replayed or discarded.
#[must_use]
pub fn first_open(store: &Store) -> u64 {
    let saved = store.positions(OWNER);
    let mark = saved.iter().find(|(part, _)| part == MARK).and_then(|(_, value)| value.as_slice().try_into().ok());
    mark.map_or(1, |mark| u64::from_le_bytes(mark).saturating_add(1))
}

/// What replays dead letters.
#[derive(Debug)]
pub struct Again {
    /// The store.
    pub store: Store,
    /// The rules of all sources that are configured.
    pub rules: Vec<Rule>,
    /// The generation of the configuration.
    pub generation: u64,
    /// The clock.
    pub clock: Clock,
    /// The agent's metrics.
    pub metrics: Arc<Metrics>,
    /// The last dead letter that the store was offered as taken. It may not be durable yet, and nobody may have waited
    /// for it.
    pub offered: Arc<AtomicU64>,
}

impl Again {
    /// Takes the open dead letters up to a sequence, but not more than a call may take.
    ///
    /// # Errors
    /// The store cannot be read, or takes nothing.
    pub async fn take(self, fate: Fate, upto: u64) -> Result<Taken, String> {
        let stream = self.store.stream(DEAD_LETTERS);
        let from = first_open(&self.store).max(self.offered.load(Relaxed).saturating_add(1));
        let known = self.store.contents().into_iter().find(|known| known.name == DEAD_LETTERS);
        let upto = upto.min(known.map_or(0, |known| known.last));
        let mut taken = Taken { upto: from - 1, ..Taken::default() };
        if upto < from {
            return Ok(taken);
        }
        if fate == Fate::Discard {
            self.put(Vec::new(), upto).await?;
            return Ok(Taken { discarded: upto + 1 - from, upto, ..taken });
        }
        let mut reader = self.store.reader_at(stream, from);
        let read = move || -> Result<(Vec<(u64, Record)>, u64), String> {
            let (mut letters, mut bytes, mut reached) = (Vec::new(), 0, from - 1);
            while reached < upto && letters.len() < MOST && bytes < MOST_BYTES {
                match reader.read().map_err(|error| error.to_string())? {
                    Some(Item::Span(span)) => {
                        for (sequence, record) in
                            span.records().filter(|(sequence, _)| (from..=upto).contains(sequence))
                        {
                            if letters.len() < MOST && bytes < MOST_BYTES {
                                bytes += record.payload.len();
                                letters.push((sequence, record.to_record()));
                                reached = sequence;
                            }
                        }
                    }
                    Some(Item::Gap(gap)) => reached = reached.max(gap.to.min(upto)),
                    None => break,
                }
            }
            Ok((letters, reached))
        };
        // The disk may be slow.
        let (letters, reached) = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())??;
        for (sequence, letter) in letters {
            let parts = self.parts_of(letter, &mut taken);
            self.put(parts, sequence).await?;
            taken.upto = sequence;
        }
        if reached > taken.upto {
            self.put(Vec::new(), reached).await?;
            taken.upto = reached;
        }
        Ok(taken)
    }

    /// The records that a dead letter becomes, which may be a dead letter again.
    fn parts_of(&self, letter: Record, taken: &mut Taken) -> Vec<Part> {
        let made = undone(letter).and_then(|undone| match (undone.by, undone.stream) {
            ("sink", Some(stream)) => {
                let stream = self.store.stream(&stream);
                let records = vec![undone.record];
                Some((vec![Part { stream, generation: self.generation, in_flight: false, records }], true))
            }
            ("source", stream) => self.read_again(&undone.name, stream.as_deref(), &undone.record),
            _ => None,
        });
        match made {
            Some((parts, true)) => {
                taken.replayed += 1;
                parts
            }
            Some((parts, false)) => {
                taken.again += 1;
                parts
            }
            None => {
                taken.left += 1;
                Vec::new()
            }
        }
    }

    /// The message of a source, decoded and checked as its configuration says now, and whether it is good now; none
    /// when there is no such source any more, or when several of its routes may have brought the message.
    fn read_again(&self, source: &str, stream: Option<&str>, record: &Record) -> Option<(Vec<Part>, bool)> {
        let rule = self.rules.iter().find(|rule| *rule.source == *source)?;
        let routes = rule.routes.iter().enumerate();
        let mut routes = routes.filter(|(_, route)| stream.is_none_or(|stream| route.stream == stream));
        let (Some((route, _)), None) = (routes.next(), routes.next()) else { return None };
        let dead = self.store.stream(DEAD_LETTERS);
        // The message came when it came; what its record says of the clock stays in its attributes.
        let now = Reading { wall_ms: record.arrival_ms, monotonic_ms: self.clock.monotonic_ms(), trusted: true };
        let tried = Metrics::new();
        let stream_of = |_, name: &str| -> StreamId { self.store.stream(name) };
        let mut builder = Builder::new(rule.clone().unreduced(), dead, tried.clone(), stream_of);
        let payload = Payload::One(record.payload.clone());
        let (flags, attributes) = (record.flags, record.attributes.clone());
        let frame = Frame { flags, route, attributes, ..Frame::new(record.key.clone(), payload) };
        let parts: Vec<Part> = builder.build(frame, now).into_iter().flat_map(|atom| atom.parts).collect();
        let is_good = parts.iter().all(|part| part.stream != dead || part.records.is_empty());
        let metrics = self.metrics.part("source", source);
        for reason in [Reason::Undecoded, Reason::FailedCheck, Reason::TooLarge] {
            metrics.add_for(reason, tried.get_for(reason));
        }
        Some((parts, is_good))
    }

    /// Makes records and the mark durable together.
    async fn put(&self, parts: Vec<Part>, mark: u64) -> Result<(), String> {
        let mut room = self.store.room();
        let mut durable = self.store.durable();
        let mut atom = Atom { parts, positions: vec![(OWNER.into(), MARK.into(), mark.to_le_bytes().to_vec())] };
        let done = tokio::time::timeout(PATIENCE, async {
            let ticket = loop {
                match self.store.offer(atom) {
                    Ok(ticket) => {
                        self.offered.fetch_max(mark, Relaxed);
                        break ticket;
                    }
                    Err(OfferError::Full(back)) => atom = *back,
                    Err(error) => return Err(error.to_string()),
                }
                room.changed().await.map_err(|_| "the store is closed")?;
            };
            self.store.hurry();
            durable.wait_for(|proof| proof.covers(ticket)).await.map_err(|_| "the store is closed")?;
            Ok(())
        });
        done.await.map_err(|_| "the store takes nothing at the moment: try again later")?
    }
}
