//! Groups in the form in which they are written.

use super::Committer;
use crate::flow::lane::LaneId;
use crate::store::group::Group;
use crate::store::log::body::{Commit, CursorEntry, PositionEntry, SectionHead, StreamId, StreamName};
use crate::store::log::layout::checksum;
use crate::store::log::section::{Builder, CODEC_DROPPED};
use crate::store::space::WhenFull;
use crate::store::step::{Mark, Piece, Place};
use std::collections::BTreeMap;

/// A group in the form in which it is written; kept until it is durable.
#[derive(Debug)]
pub(super) struct Built {
    pub number: u64,
    pub directory: Commit,
    pub sections: Vec<Vec<u8>>,
    pub records: u64,
    pub payload: u64,
}

/// Records that were given up before they were written, and that the log does not mention yet.
#[derive(Debug, Default)]
pub(super) struct Unlogged {
    heads: Vec<SectionHead>,
    positions: BTreeMap<(String, String), Vec<u8>>,
    names: Vec<StreamName>,
    since_ms: Option<u64>,
}

impl Unlogged {
    /// Since when something has waited to be logged, in monotonic milliseconds.
    pub fn since_ms(&self) -> Option<u64> {
        self.since_ms
    }

    /// Takes over the directory of a group of which no record is stored.
    pub fn take_in(&mut self, directory: Commit, now_ms: u64) {
        for head in directory.sections {
            match self.heads.iter_mut().find(|known| known.stream == head.stream && known.last() + 1 == head.first) {
                Some(known) if known.count.checked_add(head.count).is_some() => {
                    known.count += head.count;
                    known.arrival_max = known.arrival_max.max(head.arrival_max);
                }
                _ => self.heads.push(head),
            }
        }
        self.positions.extend(directory.positions.into_iter().map(|p| ((p.source, p.part), p.value)));
        for name in directory.streams {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
        self.since_ms.get_or_insert(now_ms);
    }

    /// Puts the waiting entries in front of the entries of a directory.
    pub fn add_to(&self, directory: &mut Commit) {
        directory.sections.splice(0..0, self.heads.iter().cloned());
        let newer: Vec<PositionEntry> = std::mem::take(&mut directory.positions);
        let older = self.positions.iter().map(|((source, part), value)| PositionEntry {
            source: source.clone(),
            part: part.clone(),
            value: value.clone(),
        });
        directory.positions = older.chain(newer).collect();
        for name in &self.names {
            if !directory.streams.contains(name) {
                directory.streams.push(name.clone());
            }
        }
    }

    fn next(&self) -> impl Iterator<Item = (StreamId, u64)> {
        self.heads.iter().map(|head| (head.stream, head.last() + 1))
    }
}

impl Built {
    /// Gives up the records of some streams: their sequences are used up, and nothing is stored.
    pub fn give_up(&mut self, streams: impl Fn(StreamId) -> bool) -> Vec<SectionHead> {
        let mut given_up = Vec::new();
        for (head, stored) in self.directory.sections.iter_mut().zip(&mut self.sections) {
            if head.codec != CODEC_DROPPED && streams(head.stream) {
                self.records = self.records.saturating_sub(u64::from(head.count));
                stored.clear();
                (head.codec, head.length, head.raw, head.crc) = (CODEC_DROPPED, 0, 0, 0);
                given_up.push(head.clone());
            }
        }
        given_up
    }

    /// Whether no record is left to store.
    pub fn is_given_up(&self) -> bool {
        let stored = self.directory.sections.iter().any(|head| head.codec != CODEC_DROPPED);
        !stored && self.directory.cursors.is_empty() && !self.directory.sections.is_empty()
    }

    /// The bytes of the group's sections.
    pub fn bytes(&self) -> usize {
        self.sections.iter().map(Vec::len).sum()
    }
}

impl Committer {
    /// Turns a group into sections. The records get their sequences here.
    pub(super) fn build(&mut self, group: Group, names: Vec<StreamName>) -> Built {
        let mut next = self.next_sequences();
        let mut heads = Vec::new();
        let mut sections = Vec::new();
        let mut records = 0;
        let mut begins = Vec::new();
        for section in &group.sections {
            begins.push(next.get(&section.stream).copied().unwrap_or(1));
            if section.builder.count() == 0 {
                continue;
            }
            let first = next.entry(section.stream).or_insert(1);
            let (mut head, stored) = self.section(section.stream, *first, &section.builder);
            (head.generation, head.in_flight) = (section.generation, section.in_flight);
            *first += u64::from(head.count);
            records += u64::from(head.count);
            heads.push(head);
            sections.push(stored);
        }
        // The pieces of a query's state are not records of the user.
        records -= group.marks.len() as u64;
        let cursors = self.cursors(group.inputs, &group.marks, &begins);
        let positions = group.positions.into_iter();
        let directory = Commit {
            streams: names,
            sections: heads,
            positions: positions.map(|((source, part), value)| PositionEntry { source, part, value }).collect(),
            cursors,
            ..Commit::default()
        };
        let mut built = Built { number: group.number, directory, sections, records, payload: group.payload };
        let full = self.inner.lock().full.clone();
        let given_up = built.give_up(|stream| full.get(&stream) == Some(&WhenFull::DropNewest));
        self.report_given_up(&given_up);
        built
    }

    /// The cursors of queries after a group. In the inputs they follow the records read. In the stream of the
    /// state, the cursor is the first piece of the last complete snapshot.
    fn cursors(
        &mut self,
        inputs: BTreeMap<(String, StreamId), u64>,
        marks: &[Mark],
        begins: &[u64],
    ) -> Vec<CursorEntry> {
        let seen_ms = self.inner.options.clock.now().wall_ms;
        let mut places = inputs;
        for mark in marks {
            let sequence = begins.get(mark.section).copied().unwrap_or(1) + u64::from(mark.at);
            let begin = match mark.piece {
                Piece::Change => {
                    self.begun.remove(&mark.stream);
                    None
                }
                Piece::Snapshot(Place::Whole) => {
                    self.begun.remove(&mark.stream);
                    Some(sequence)
                }
                Piece::Snapshot(Place::First) => {
                    self.begun.insert(mark.stream, sequence);
                    None
                }
                Piece::Snapshot(Place::Middle) => None,
                Piece::Snapshot(Place::Last) => self.begun.remove(&mark.stream),
            };
            if let Some(begin) = begin {
                places.insert((mark.reader.clone(), mark.stream), begin);
            }
        }
        let cursor =
            |((reader, stream), next)| CursorEntry { reader, stream, next, lanes: Vec::new(), split: None, seen_ms };
        places.into_iter().map(cursor).collect()
    }

    /// The next sequence of every stream; records that were given up and are not logged yet are counted.
    fn next_sequences(&self) -> BTreeMap<StreamId, u64> {
        let mut next: BTreeMap<_, _> = {
            let shared = self.inner.lock();
            shared.state.streams.values().map(|stream| (stream.id, stream.next)).collect()
        };
        for (stream, sequence) in self.unlogged.next() {
            let entry = next.entry(stream).or_insert(sequence);
            *entry = (*entry).max(sequence);
        }
        next
    }

    /// A section in its stored form, beginning at the sequence `first`.
    pub(super) fn section(&mut self, stream: StreamId, first: u64, builder: &Builder) -> (SectionHead, Vec<u8>) {
        let (stored, codec) = builder.compress(&mut self.compressor);
        let (arrival_min, arrival_max) = builder.arrivals();
        let head = SectionHead {
            stream,
            epoch: self.epoch,
            first,
            count: builder.count(),
            generation: 0,
            in_flight: false,
            lane: LaneId::WHOLE,
            arrival_min,
            arrival_max,
            codec,
            raw: u32::try_from(builder.raw_bytes()).unwrap_or(u32::MAX),
            length: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            crc: checksum(&self.inner.id, &stored),
        };
        (head, stored)
    }
}
