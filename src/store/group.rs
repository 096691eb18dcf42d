//! The groups that wait for the next commit.

use super::log::body::StreamId;
use super::log::section::Builder;
use super::step::{Mark, Piece, Step};
use crate::flow::record::Record;
use std::collections::BTreeMap;

/// Records of one stream, with the generation of the configuration that made them.
#[derive(Debug, Clone)]
pub struct Part {
    /// The stream of the records.
    pub stream: StreamId,
    /// The generation of the configuration that made the records.
    pub generation: u64,
    /// True when a version on trial made the records.
    pub in_flight: bool,
    /// The records, in order; may be empty.
    pub records: Vec<Record>,
}

impl Part {
    /// The bytes that the part adds to a group, approximately.
    #[must_use]
    pub fn weight(&self) -> usize {
        let record = |r: &Record| {
            let attributes: usize = r.attributes.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
            r.payload.len() + r.key.len() + attributes + 24
        };
        self.records.iter().map(record).sum()
    }
}

/// Records and positions that settle together: an atom is committed whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Atom {
    /// The records, by stream.
    pub parts: Vec<Part>,
    /// The positions: the source, the part of the source, and its position in the source's own encoding.
    pub positions: Vec<(String, String, Vec<u8>)>,
}

impl Atom {
    /// The bytes that the atom adds to a group, approximately.
    #[must_use]
    pub fn weight(&self) -> usize {
        let records: usize = self.parts.iter().map(Part::weight).sum();
        let positions: usize = self.positions.iter().map(|(a, b, c)| a.len() + b.len() + c.len() + 8).sum();
        records + positions
    }
}

/// A section that is being built.
#[derive(Debug)]
pub struct Pending {
    /// The stream of the section.
    pub stream: StreamId,
    /// The generation of the configuration that made the records.
    pub generation: u64,
    /// True when a version on trial made the records.
    pub in_flight: bool,
    /// The builder that holds the section's records.
    pub builder: Builder,
}

/// Atoms that will be committed together.
#[derive(Debug)]
pub struct Group {
    /// The number of the group; each new group has the next number.
    pub number: u64,
    /// The sections, in the order of their first use.
    pub sections: Vec<Pending>,
    /// The latest position of each part of a source.
    pub positions: BTreeMap<(String, String), Vec<u8>>,
    /// The latest cursor of each query in each of its inputs.
    pub inputs: BTreeMap<(String, StreamId), u64>,
    /// The pieces of state that queries keep, in order.
    pub marks: Vec<Mark>,
    /// The bytes of the group so far, approximately.
    pub weight: usize,
    /// The payload bytes of the group so far.
    pub payload: u64,
    /// When the first atom came, in monotonic milliseconds; none while the group is empty.
    pub since_ms: Option<u64>,
    /// A source waits for this commit.
    pub urgent: bool,
}

impl Group {
    /// An empty group.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self {
            number,
            sections: Vec::new(),
            positions: BTreeMap::new(),
            inputs: BTreeMap::new(),
            marks: Vec::new(),
            weight: 0,
            payload: 0,
            since_ms: None,
            urgent: false,
        }
    }

    /// Adds an atom.
    pub fn push(&mut self, atom: Atom, now_ms: u64) {
        let weight = atom.weight();
        self.weight += weight;
        for part in &atom.parts {
            self.part(part, weight);
        }
        for (source, part, value) in atom.positions {
            self.positions.insert((source, part), value);
        }
        self.since_ms.get_or_insert(now_ms);
    }

    /// Adds a step of a query. `kept` is the piece of state that the step keeps, as a record of the state's stream.
    pub fn push_step(&mut self, reader: &str, step: Step, state: StreamId, kept: Option<(Piece, Record)>, now_ms: u64) {
        let weight = step.weight();
        self.weight += weight;
        for part in &step.output {
            self.part(part, weight);
        }
        for (stream, next) in step.inputs {
            self.inputs.insert((reader.to_string(), stream), next);
        }
        if let Some((piece, record)) = kept {
            let part = Part { stream: state, generation: 0, in_flight: false, records: vec![record] };
            let before = self.payload;
            let placed = self.part(&part, weight);
            // What a query keeps is no payload of the user's.
            self.payload = before;
            if let Some((section, at)) = placed {
                self.marks.push(Mark { reader: reader.into(), stream: state, piece, section, at });
            }
        }
        self.since_ms.get_or_insert(now_ms);
    }

    /// Adds records. Returns their section, and the index of the first of them in it.
    fn part(&mut self, part: &Part, weight: usize) -> Option<(usize, u32)> {
        if part.records.is_empty() {
            return None;
        }
        let at = self.section(part.stream, part.generation, part.in_flight);
        let builder = &mut self.sections[at].builder;
        let begin = builder.count();
        builder.reserve(weight);
        for record in &part.records {
            // In memory, encoding a record within its limits cannot fail.
            if builder.push(record).is_ok() {
                self.payload += record.payload.len() as u64;
            }
        }
        Some((at, begin))
    }

    /// The section that takes these records. The records of a stream keep their order, so only the stream's latest
    /// section may grow.
    fn section(&mut self, stream: StreamId, generation: u64, in_flight: bool) -> usize {
        let latest = self.sections.iter().rposition(|section| section.stream == stream);
        let fits = latest.filter(|at| {
            let section = &self.sections[*at];
            section.generation == generation && section.in_flight == in_flight
        });
        fits.unwrap_or_else(|| {
            self.sections.push(Pending { stream, generation, in_flight, builder: Builder::default() });
            self.sections.len() - 1
        })
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since_ms.is_none()
    }
}
