//! The configuration: text -> raw (serde only) -> check (pure) -> `Config`.
//!
//! Invariants: unknown keys are refused; every problem is reported, with line, column, the text
//! and a hint; secrets come by reference and are never shown; what was assumed is said.

mod check;
mod problem;
mod raw;
pub mod redact;
pub mod value;

pub use problem::{Position, Problem, Report};

use crate::sink;
use crate::source;
use crate::store::{ReaderRule, StreamRule, WhenFull};
use std::path::PathBuf;
use std::time::Duration;
use value::{Codec, PartitionBy, Rate, Route};

/// Where secrets are looked up.
pub trait Environment {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// A file's text.
    ///
    /// # Errors
    /// As the operating system says.
    fn file(&self, path: &std::path::Path) -> std::io::Result<String>;
    /// The host's name.
    fn host_name(&self) -> String;
}

/// The process's own.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Environment for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &std::path::Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn host_name(&self) -> String {
        crate::platform::machine::host_name()
    }
}

/// A configuration that was accepted.
#[derive(Debug, Clone)]
pub struct Config {
    /// The device's name.
    pub device: String,
    /// Where the store is.
    pub state: PathBuf,
    /// What the store does.
    pub store: StoreConfig,
    /// Sources.
    pub sources: Vec<Source>,
    /// Sinks.
    pub sinks: Vec<Sink>,
    /// Rises with every accepted change; 1 for a file.
    pub generation: u64,
}

/// What the store does.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Bytes.
    pub cap: u64,
    /// Bytes.
    pub reserve: u64,
    /// How long a group waits for more.
    pub linger: Duration,
    /// At most so many early commits a second.
    pub max_commits_per_second: u32,
    /// What happens to streams without a rule of their own when the store is full.
    pub when_full: WhenFull,
    /// By stream.
    pub streams: Vec<(String, StreamRule)>,
}

/// A source.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: source::Kind,
    /// Where its messages go and how they are read; frames say which one they take.
    pub routes: Vec<Route>,
    /// How many unacknowledged messages the peer allows.
    pub window: Option<usize>,
    /// At most so many bytes are held in memory.
    pub held: usize,
}

/// A sink.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: sink::Kind,
    /// What it reads.
    pub reader: ReaderRule,
    /// How bodies are compressed.
    pub codec: Codec,
    /// How long a small batch waits for more.
    pub linger: Duration,
    /// How fast it may send.
    pub rate: Option<Rate>,
    /// What decides the partition.
    pub partition_by: PartitionBy,
    /// After an outage what comes goes first.
    pub live_first: bool,
    /// How far it may be behind.
    pub limit: value::Limit,
}

/// What is told of a good configuration.
#[derive(Debug, Clone)]
pub struct Notes {
    /// What the configuration leaves open, and what is taken for it.
    pub assumed: Vec<String>,
    /// What is allowed, and most often a mistake.
    pub warnings: Report,
}

/// Reads and checks a configuration.
///
/// # Errors
/// Every problem that was found.
pub fn load(text: &str, environment: &dyn Environment) -> Result<(Config, Notes), Report> {
    check::check(text, environment)
}
