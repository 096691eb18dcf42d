//! The configuration as a whole: what all parts said of their sections, and whether it fits together.
//!
//! Invariants: unknown keys are refused; every problem is reported, with line, column, the text and a hint;
//! secrets come by reference and are never shown; what was assumed is said.

mod cross;
mod include;
pub mod reference;
mod root;
mod store;
#[cfg(test)]
mod tests;

pub use crate::section::{Environment, Position, Problem, Report, System, redact};

use crate::intake::Route;
use crate::section::Texts;
use crate::sink::{Sending, SinkSettings};
use crate::source;
use crate::store::{ReaderRule, StreamRule, WhenFull};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A configuration that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The device's name.
    pub device: String,
    /// The folder of the store.
    pub state: PathBuf,
    /// The rules of the store.
    pub store: StoreConfig,
    /// The sources.
    pub sources: Vec<Source>,
    /// The sinks.
    pub sinks: Vec<Sink>,
    /// Rises with every accepted change; 1 for a file.
    pub generation: u64,
}

impl Config {
    /// The source of this name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The sink of this name.
    #[must_use]
    pub fn sink(&self, name: &str) -> Option<&Sink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }
}

/// The rules of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreConfig {
    /// Bytes that all segments may take together.
    pub cap: u64,
    /// Bytes that are held even when the store is empty.
    pub reserve: u64,
    /// How long a commit waits for more records.
    pub linger: Duration,
    /// At most so many early commits a second.
    pub max_commits_per_second: u32,
    /// What happens to streams without a rule of their own when the store is full.
    pub when_full: WhenFull,
    /// Rules of single streams.
    pub streams: Vec<(String, StreamRule)>,
}

/// A source.
#[derive(Debug, Clone)]
pub struct Source {
    /// The source's name.
    pub name: String,
    /// The name of its kind.
    pub kind: &'static str,
    /// The settings of its kind.
    pub settings: Arc<dyn source::Source>,
    /// Where its messages go and how they are read; frames say which one they take.
    pub routes: Vec<Route>,
    /// At most so many bytes are held in memory.
    pub held: usize,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.settings.is_same(&*other.settings)
            && self.routes == other.routes
            && self.held == other.held
    }
}

/// A sink.
#[derive(Debug, Clone)]
pub struct Sink {
    /// The sink's name.
    pub name: String,
    /// The settings of its kind.
    pub settings: Arc<dyn SinkSettings>,
    /// The streams that it reads.
    pub reader: ReaderRule,
    /// How events are made and sent.
    pub sending: Sending,
}

impl PartialEq for Sink {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.settings.is_same(&*other.settings)
            && self.reader == other.reader
            && self.sending == other.sending
    }
}

/// What is told of a good configuration.
#[derive(Debug, Clone)]
pub struct Notes {
    /// What the configuration leaves open, and what is taken for it.
    pub assumed: Vec<String>,
    /// What is allowed, and most often a mistake.
    pub warnings: Report,
}

/// How a configuration is loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// The file that the text came from: `include` counts from its folder.
    pub path: Option<&'a Path>,
    /// No secret is looked up: for a check on another machine.
    pub without_secrets: bool,
}

/// Reads and checks a configuration.
///
/// # Errors
/// Every problem that was found.
pub fn load(text: &str, environment: &dyn Environment) -> Result<(Config, Notes), Report> {
    load_with(text, environment, Options::default())
}

/// Reads and checks a configuration and the files that it includes.
///
/// # Errors
/// Every problem that was found.
pub fn load_with(text: &str, environment: &dyn Environment, options: Options<'_>) -> Result<(Config, Notes), Report> {
    let mut texts = Texts::new(text);
    let root = match include::gather(text, &mut texts, environment, options.path) {
        Ok(root) => root,
        Err((problems, is_broken)) if is_broken => return Err(Report::of_broken(texts, problems)),
        Err((problems, _)) => return Err(Report::new(texts, problems)),
    };
    root::read(root, texts, environment, options.without_secrets)
}
