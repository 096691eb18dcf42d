//! The store as a whole, on a disk that loses power.

mod complaints;
mod cuts;
mod disk;
mod found;
mod full;
mod golden;
mod model;
mod query;
mod rot;
mod rules;
mod space;
mod sums;

use super::commit::Committer;
use super::log::recover::Finding;
use super::*;
use crate::flow::receipt::Accepted;
use crate::flow::record::{PayloadKind, Record};
use crate::platform::clock::Clock;
use crate::platform::sim::SimDisk;
use bytes::Bytes;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const SEGMENT: u64 = 192 << 10;

pub(super) fn options(disk: &SimDisk) -> Options {
    Options {
        cap: SEGMENT * 8,
        reserve: SEGMENT * 2,
        linger_ms: 0,
        segment: SEGMENT,
        disk: Arc::new(disk.clone()),
        ..Options::default()
    }
}

pub(super) fn rules() -> Vec<ReaderRule> {
    vec![ReaderRule { name: "sink".into(), streams: Selection::All, begin: Begin::Oldest, role: Role::Sink }]
}

pub(super) fn root() -> PathBuf {
    PathBuf::from("/sim/store")
}

pub(super) fn open(disk: &SimDisk) -> Result<(Store, Vec<Finding>), OpenError> {
    Store::open(&root(), &options(disk), rules())
}

/// A record that says its own number; the payload does not compress.
pub(super) fn record(number: u64, size: usize) -> Record {
    let mut payload = format!("{number} ").into_bytes();
    let mut seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while payload.len() < size {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        payload.extend_from_slice(&seed.to_le_bytes());
    }
    Record {
        arrival_ms: 1_800_000_000_000 + i64::try_from(number).unwrap(),
        device_time_us: None,
        key: "k".into(),
        flags: 0,
        attributes: vec![],
        kind: PayloadKind::Bytes,
        payload: Bytes::from(payload),
    }
}

pub(super) fn number_of(payload: &[u8]) -> u64 {
    let end = payload.iter().position(|byte| *byte == b' ').unwrap();
    std::str::from_utf8(&payload[..end]).unwrap().parse().unwrap()
}

/// An atom of consecutive numbers. The position of its source is the number after the last.
pub(super) fn atom(stream: StreamId, numbers: std::ops::Range<u64>, size: usize) -> Atom {
    let end = numbers.end;
    let records = numbers.map(|number| record(number, size)).collect();
    Atom {
        parts: vec![Part { stream, generation: 1, in_flight: false, records }],
        positions: vec![("source".into(), "part".into(), end.to_le_bytes().to_vec())],
    }
}

/// Offers an atom and waits until it is durable; false when the power was cut.
pub(super) fn put(store: &Store, disk: &SimDisk, atom: Atom) -> bool {
    put_within(store, disk, atom, 40_000)
}

/// As `put`, but gives up after this many looks.
pub(super) fn put_within(store: &Store, disk: &SimDisk, atom: Atom, looks: u32) -> bool {
    let durable = store.durable();
    let mut atom = Some(atom);
    let mut ticket = None;
    for _ in 0..looks {
        if let Some(offered) = atom.take() {
            match store.offer(offered) {
                Ok(got) => ticket = Some(got),
                Err(OfferError::Full(back)) => atom = Some(*back),
                Err(error) => panic!("{error}"),
            }
        }
        if ticket.is_some_and(|ticket| durable.borrow().covers(ticket)) {
            return true;
        }
        if disk.is_dead() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    false
}

/// All that a reader reads now: epoch, sequence and number of each record, and the gaps.
pub(super) fn read_all(reader: &mut Reader) -> (Vec<(u64, u64, u64)>, Vec<Gap>) {
    let (mut records, mut gaps) = (Vec::new(), Vec::new());
    while let Some(item) = reader.read().unwrap() {
        match item {
            Item::Span(span) => {
                let epoch = span.head.epoch;
                records.extend(span.records().map(|(sequence, r)| (epoch, sequence, number_of(r.payload))));
            }
            Item::Gap(gap) => gaps.push(gap),
        }
    }
    (records, gaps)
}

pub(super) fn release(store: &Store, stream: StreamId, next: u64) {
    store.reader("sink").release(Release {
        stream,
        position: Position::whole(next, next - 1),
        bytes: 5 << 20,
        proof: Accepted::by_target(),
    });
}

pub(super) fn kept(bytes: u64) -> StreamRule {
    StreamRule { keep: Some(Keep { bytes }), ..StreamRule::default() }
}

/// A store whose committer works only when it is told to, under a clock that stands still.
pub(super) struct Stepped {
    pub store: Store,
    pub committer: Committer,
    pub clock: Clock,
    pub findings: Vec<Finding>,
}

impl Stepped {
    pub fn open(options: &Options, readers: Vec<ReaderRule>) -> Result<Self, OpenError> {
        let clock = Clock::manual();
        let options = Options { clock: clock.clone(), ..options.clone() };
        let (store, committer, findings) = Store::open_stepped(&root(), &options, readers)?;
        Ok(Self { store, committer, clock, findings })
    }

    /// Offers ten records every `ms` milliseconds, 200 times. Returns how many records were taken.
    pub fn press(&mut self, stream: StreamId, ms: u64) -> u64 {
        let mut taken = 0;
        for _ in 0..200 {
            if self.store.offer(atom(stream, taken..taken + 10, 1000)).is_ok() {
                taken += 10;
            }
            self.pass(ms);
        }
        taken
    }

    /// Lets time pass and the committer do what is due.
    pub fn pass(&mut self, ms: u64) {
        self.clock.advance(ms);
        // The tests notice the end of the committer by its results.
        let _ = self.committer.run_until_idle();
    }

    /// Closes the store in order.
    pub fn close(mut self) {
        self.store.close();
        assert!(self.committer.run_until_idle().is_err(), "the committer does not end");
    }
}
