//! What waits for the next commit.

use super::log::body::StreamId;
use super::log::section::Builder;
use super::step::{Mark, Piece, Step};
use crate::flow::record::Record;
use std::collections::BTreeMap;

/// Records of one stream with the configuration that made them.
#[derive(Debug, Clone)]
pub struct Part {
    /// The stream.
    pub stream: StreamId,
    /// The configuration's generation.
    pub generation: u64,
    /// Made by a version on trial.
    pub in_flight: bool,
    /// In order; may be empty.
    pub records: Vec<Record>,
}

impl Part {
    /// Bytes that it adds to a group, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let record = |r: &Record| {
            let attributes: usize = r.attributes.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
            r.payload.len() + r.key.len() + attributes + 24
        };
        self.records.iter().map(record).sum()
    }
}

/// What settles together: it is committed whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Atom {
    /// Records by stream.
    pub parts: Vec<Part>,
    /// Source, part of the source, its position.
    pub positions: Vec<(String, String, Vec<u8>)>,
}

impl Atom {
    /// Bytes that it adds to a group, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let records: usize = self.parts.iter().map(Part::weight).sum();
        let positions: usize = self.positions.iter().map(|(a, b, c)| a.len() + b.len() + c.len() + 8).sum();
        records + positions
    }
}

/// One section in the making.
#[derive(Debug)]
pub struct Pending {
    /// The stream.
    pub stream: StreamId,
    /// The configuration's generation.
    pub generation: u64,
    /// Made by a version on trial.
    pub in_flight: bool,
    /// Its records.
    pub builder: Builder,
}

/// Atoms that will be committed together.
#[derive(Debug)]
pub struct Group {
    /// Rises by one with each group.
    pub number: u64,
    /// By first use.
    pub sections: Vec<Pending>,
    /// The latest position of each part of a source.
    pub positions: BTreeMap<(String, String), Vec<u8>>,
    /// The latest place of each query in each of its inputs.
    pub inputs: BTreeMap<(String, StreamId), u64>,
    /// What queries keep, in order.
    pub marks: Vec<Mark>,
    /// Bytes so far.
    pub weight: usize,
    /// Payload bytes so far.
    pub payload: u64,
    /// When the first atom came, monotonic milliseconds.
    pub since_ms: Option<u64>,
    /// A source waits for this commit.
    pub urgent: bool,
}

impl Group {
    /// An empty one.
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

    /// Takes an atom in.
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

    /// Takes a step of a query in; `kept` is what it keeps, as a record of the stream of its state.
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
            if let Some((section, at)) = self.part(&part, weight) {
                self.marks.push(Mark { reader: reader.into(), stream: state, piece, section, at });
            }
        }
        self.since_ms.get_or_insert(now_ms);
    }

    /// Takes records in; the section, and the place in it where they begin.
    fn part(&mut self, part: &Part, weight: usize) -> Option<(usize, u32)> {
        if part.records.is_empty() {
            return None;
        }
        let at = self.section(part.stream, part.generation, part.in_flight);
        let builder = &mut self.sections[at].builder;
        let begin = builder.count();
        builder.reserve(weight);
        for record in &part.records {
            // Encoding into memory has no failure that a record within its limits can cause.
            if builder.push(record).is_ok() {
                self.payload += record.payload.len() as u64;
            }
        }
        Some((at, begin))
    }

    /// The open section for these records. A stream's records keep their order: only its latest
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
