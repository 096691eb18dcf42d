//! What waits for the next commit.

use super::log::body::{CursorEntry, StateChunk, StreamId};
use super::log::section::Builder;
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

/// What settles together: it is committed whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Atom {
    /// Records by stream.
    pub parts: Vec<Part>,
    /// Source, part of the source, its position.
    pub positions: Vec<(String, String, Vec<u8>)>,
    /// Cursors of a query that moved with its output.
    pub cursors: Vec<CursorEntry>,
    /// State of a query.
    pub states: Vec<StateChunk>,
}

impl Atom {
    /// Bytes that it adds to a group, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let record = |r: &Record| {
            let attributes: usize = r.attributes.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
            r.payload.len() + r.key.len() + attributes + 24
        };
        let records: usize = self.parts.iter().flat_map(|part| &part.records).map(record).sum();
        let positions: usize = self.positions.iter().map(|(a, b, c)| a.len() + b.len() + c.len() + 8).sum();
        let states: usize = self.states.iter().map(|state| state.value.len() + state.query.len() + 16).sum();
        records + positions + states
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
    /// Query cursors.
    pub cursors: Vec<CursorEntry>,
    /// Query state.
    pub states: Vec<StateChunk>,
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
            cursors: Vec::new(),
            states: Vec::new(),
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
        for part in atom.parts {
            if part.records.is_empty() {
                continue;
            }
            let section = self.section(part.stream, part.generation, part.in_flight);
            section.builder.reserve(weight);
            let mut payload = 0;
            for record in &part.records {
                // Encoding into memory has no failure that a record within its limits can cause.
                if section.builder.push(record).is_ok() {
                    payload += record.payload.len() as u64;
                }
            }
            self.payload += payload;
        }
        for (source, part, value) in atom.positions {
            self.positions.insert((source, part), value);
        }
        self.cursors.extend(atom.cursors);
        self.states.extend(atom.states);
        self.since_ms.get_or_insert(now_ms);
    }

    /// The open section for these records. A stream's records keep their order: only its latest
    /// section may grow.
    fn section(&mut self, stream: StreamId, generation: u64, in_flight: bool) -> &mut Pending {
        let latest = self.sections.iter().rposition(|section| section.stream == stream);
        let fits = latest.filter(|at| {
            let section = &self.sections[*at];
            section.generation == generation && section.in_flight == in_flight
        });
        let at = fits.unwrap_or_else(|| {
            self.sections.push(Pending { stream, generation, in_flight, builder: Builder::default() });
            self.sections.len() - 1
        });
        &mut self.sections[at]
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since_ms.is_none()
    }
}
