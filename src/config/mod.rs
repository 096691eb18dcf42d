//! The configuration as a whole: the settings that all parts read from their sections, and the checks between them.
//!
//! Invariants: unknown keys are refused; every problem is reported, with line, column, the text and a hint; secrets
//! come by reference and are never shown; every assumption is shown to the user.

mod cross;
mod include;
mod pushed;
pub mod reference;
mod restrict;
mod root;
mod show;
mod store;
#[cfg(test)]
mod tests;

pub use crate::section::{Environment, Position, Problem, Report, System, redact};

pub use pushed::NAME as PUSHED;
pub use show::effective;

use crate::control::{self, Restrict};
use crate::dashboard;
use crate::intake::{Route, Rule};
use crate::monitor;
use crate::section::Texts;
use crate::sink::{Sending, SinkSettings};
use crate::source;
use crate::store::{ReaderRule, StreamRule, WhenFull};
use std::collections::BTreeSet;
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
    /// The memory that the agent may take, in bytes; `None`: three quarters of what it finds.
    pub memory_max: Option<u64>,
    /// The rules of the store.
    pub store: StoreConfig,
    /// The page and the local API, if there is one.
    pub page: Option<dashboard::Settings>,
    /// Alerts, heartbeats and OTLP.
    pub monitor: monitor::Settings,
    /// Who may push a configuration, and by which ways.
    pub remote: Option<control::Settings>,
    /// What a pushed configuration may use.
    pub restrict: Restrict,
    /// The files that the local file names as secrets and keys; known when a document is over it.
    pub own_files: Vec<PathBuf>,
    /// The sources.
    pub sources: Vec<Source>,
    /// The sinks.
    pub sinks: Vec<Sink>,
    /// The number of the configuration: 1 for a file. It rises with every accepted change.
    pub generation: u64,
}

impl Config {
    /// Everyone who reads the store.
    #[must_use]
    pub fn readers(&self) -> Vec<ReaderRule> {
        let sinks = self.sinks.iter().map(|sink| sink.reader.clone());
        sinks.chain(monitor::alert::reader(&self.monitor.alerts)).collect()
    }

    /// The streams that are written to, by sources, alerts and heartbeats.
    #[must_use]
    pub fn produced(&self) -> BTreeSet<&str> {
        let routes = self.sources.iter().flat_map(|source| &source.routes);
        routes.map(|route| &*route.stream).chain(self.monitor.produced()).collect()
    }

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
    /// The bytes that are held on the disk even when the store is empty.
    pub reserve: u64,
    /// The time that a commit waits for more records.
    pub linger: Duration,
    /// The most early commits per second.
    pub max_commits_per_second: u32,
    /// The behaviour of streams without a rule of their own when the store is full.
    pub when_full: WhenFull,
    /// Rules of single streams.
    pub streams: Vec<(String, StreamRule)>,
}

/// The settings of a source.
#[derive(Debug, Clone)]
pub struct Source {
    /// The source's name.
    pub name: String,
    /// The name of its kind.
    pub kind: &'static str,
    /// The settings of its kind.
    pub settings: Arc<dyn source::Source>,
    /// The routes of its messages: stream, decoder and checks. Each frame names its route.
    pub routes: Vec<Route>,
    /// The most bytes of messages that the source may hold in memory.
    pub held: usize,
}

impl Source {
    /// The rule by which the source's messages are read.
    #[must_use]
    pub fn rule(&self, generation: u64) -> Rule {
        Rule {
            source: self.name.as_str().into(),
            routes: self.routes.clone(),
            generation,
            window: self.settings.window(),
        }
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.settings.is_same(&*other.settings)
            && self.routes == other.routes
            && self.held == other.held
    }
}

/// The settings of a sink.
#[derive(Debug, Clone)]
pub struct Sink {
    /// The sink's name.
    pub name: String,
    /// The settings of its kind.
    pub settings: Arc<dyn SinkSettings>,
    /// The streams that the sink reads, and where a new sink begins.
    pub reader: ReaderRule,
    /// The rules for making and sending events.
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

/// Notes for the user about a good configuration.
#[derive(Debug, Clone)]
pub struct Notes {
    /// The assumptions about settings that the configuration leaves open.
    pub assumed: Vec<String>,
    /// Settings that are allowed, but most often a mistake.
    pub warnings: Report,
}

/// The options for loading a configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// The file that the text came from. Paths of `include` start at its folder.
    pub path: Option<&'a Path>,
    /// Whether no secret is looked up: for a check on another machine.
    pub without_secrets: bool,
    /// The state directory, if it is another one than the file says.
    pub state: Option<&'a Path>,
    /// A pushed document, whose parts take the place of those of the file.
    pub pushed: Option<&'a str>,
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
    let Gathered { root, texts, own } = gathered(text, environment, options)?;
    let (mut config, notes) = root::read(root, texts, environment, (options, own))?;
    // The file was checked with what it says itself.
    if let Some(state) = options.state {
        config.state = state.into();
    }
    Ok((config, notes))
}

/// All texts of a configuration.
struct Gathered {
    root: include::Table,
    texts: Texts,
    /// The files that the local file names as secrets, keys and so on.
    own: Vec<PathBuf>,
}

/// The tables of a text, of what it includes, and of the pushed document over them.
fn gathered(text: &str, environment: &dyn Environment, options: Options<'_>) -> Result<Gathered, Report> {
    let mut texts = Texts::new(text);
    let mut own = Vec::new();
    let gathered = include::gather(text, &mut texts, environment, options.path).and_then(|mut root| {
        if let Some(document) = options.pushed {
            own = pushed::own_files(&root);
            pushed::lay(&mut root, document, &mut texts)?;
        }
        Ok(root)
    });
    match gathered {
        Ok(root) => Ok(Gathered { root, texts, own }),
        Err((problems, true)) => Err(Report::of_broken(texts, problems)),
        Err((problems, false)) => Err(Report::new(texts, problems)),
    }
}
