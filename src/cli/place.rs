//! Finds and reads the configuration, in the same way for every command.

use super::fail;
use crate::config::{self, Config, Options, Source, System};
use crate::control::ledger::Ledger;
use crate::intake::Rule;
use crate::section::{Report, redact};
use crate::telemetry::event;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The environment variable that names the configuration.
const VARIABLE: &str = "FOREBAY_CONFIG";
/// Where a configuration is looked for, in this order.
const PLACES: [&str; 2] = ["/etc/forebay/forebay.toml", "forebay.toml"];

/// The configuration of a command.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The configuration; else `FOREBAY_CONFIG`, /etc/forebay/forebay.toml, ./forebay.toml
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The configuration, as an option
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl Place {
    /// The path of the configuration.
    pub fn path(&self) -> Result<PathBuf, ExitCode> {
        let given = self.file.clone().or_else(|| self.config.clone());
        let named = || std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = || PLACES.iter().map(PathBuf::from).find(|path| path.exists());
        given.or_else(named).or_else(usual).ok_or_else(|| {
            fail(2, format_args!("no configuration: give its path, set {VARIABLE}, or write {}", PLACES[0]))
        })
    }

    /// The configuration, or the exit code when it is not good.
    pub fn load(&self) -> Result<Config, ExitCode> {
        self.path().and_then(|path| load(&path))
    }
}

/// A source of the configuration of a command.
#[derive(Debug, clap::Args)]
pub(super) struct SourcePlace {
    /// The name of a source
    source: String,
    #[command(flatten)]
    place: Place,
}

impl SourcePlace {
    /// The source, and the rule by which its messages are read; or the exit code when there is none.
    pub fn load(&self) -> Result<(Source, Rule), ExitCode> {
        let config = self.place.load()?;
        let found = config.source(&self.source).ok_or_else(|| {
            let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
            fail(2, format_args!("there is no source `{}`; there are: {}", self.source, names.join(", ")))
        })?;
        Ok((found.clone(), found.rule(config.generation)))
    }
}

/// Reads a configuration. If it is not good, prints the problems and returns the exit code.
pub(super) fn load(path: &Path) -> Result<Config, ExitCode> {
    let (config, notes) = read(path, false)?.map_err(|report| {
        complain!("{}:\n{report}", path.display());
        ExitCode::from(1)
    })?;
    warn(&notes.warnings);
    Ok(config)
}

/// The state directory: the given one, or the one that the given configuration names. Without either, the usual
/// configuration names it.
pub(super) fn state(given: Option<&PathBuf>) -> Result<PathBuf, ExitCode> {
    let no_directory = |path: &Path| fail(2, format_args!("{} is not a directory", path.display()));
    let dir = match given {
        Some(path) if path.is_dir() => return Ok(path.clone()),
        Some(path) if !path.is_file() => return Err(no_directory(path)),
        _ => {
            let path = Place { file: given.cloned(), config: None }.path()?;
            let loaded = read(&path, true)?.map_err(|report| {
                complain!("{}:\n{report}", path.display());
                ExitCode::from(1)
            });
            loaded?.0.state
        }
    };
    if dir.is_dir() { Ok(dir) } else { Err(no_directory(&dir)) }
}

/// What was read: the configuration and its notes, or all problems.
type Loaded = Result<(Config, config::Notes), Report>;

/// Reads a configuration. Returns the exit code when the file cannot be read.
pub(super) fn read(path: &Path, without_secrets: bool) -> Result<Loaded, ExitCode> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| fail(2, format_args!("cannot read {}: {error}", path.display())))?;
    let options = Options { path: Some(path), without_secrets, ..Options::default() };
    let local = config::load_with(&text, &System, options);
    // What was pushed counts for every command, as it does for the agent.
    let pushed = match &local {
        Ok((config, _)) if config.remote.is_some() => Ledger::document(&config.state).unwrap_or_else(|error| {
            complain!("forebay: what was pushed is not looked at: {error}");
            None
        }),
        _ => None,
    };
    match pushed {
        Some(pushed) => Ok(config::load_with(&text, &System, Options { pushed: Some(&pushed), ..options })),
        None => Ok(local),
    }
}

/// Logs settings that are allowed, but most often a mistake.
pub(super) fn warn(warnings: &Report) {
    for warning in warnings.problems() {
        let (line, hint) = (warnings.position(warning).line, &warning.hint);
        let (message, hint) = (redact::text(&warning.message), hint.as_deref().map(redact::text));
        tracing::warn!(event = event::STARTED, file = warnings.file(warning), line, hint, "{message}");
    }
}
