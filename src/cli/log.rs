//! The destination and the form of log lines.

use super::journal::{Fields, Journal};
use crate::platform::clock;
use crate::telemetry::log::{self, Line};
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, reload};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set
    Text,
    /// `name=value` pairs that parsers of logfmt take
    Logfmt,
    /// A JSON object a line
    Json,
    /// Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`
    Journald,
}

/// Begins to log. Without a format, log lines go to the journal if standard error is connected to it, and as text
/// to standard error otherwise.
pub(super) fn begin(level: LevelFilter, format: Option<Format>) {
    let (filter, handle) = reload::Layer::new(targets(level));
    log::changes_by(move |level| handle.reload(targets(level)).is_ok());
    let is_journal = format == Some(Format::Journald) || format.is_none() && is_connected_to_journal();
    let journal = if is_journal { Journal::connect() } else { Err(std::io::ErrorKind::NotFound.into()) };
    let lines = match journal {
        Ok(journal) => journal.boxed(),
        Err(error) => {
            if format == Some(Format::Journald) {
                complain!("the journal cannot be reached ({error}): log lines go to standard error");
            }
            to_stderr(format.unwrap_or(Format::Text))
        }
    };
    let kept = Kept.with_filter(targets(LevelFilter::INFO));
    // Set once, at the start of the process.
    let _ = tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(kept),
    );
}

fn targets(level: LevelFilter) -> Targets {
    // The libraries log every lost connection as an error. Forebay reports it itself, with its meaning.
    let quiet = ["rumqttd", "rumqttc"].map(|target| (target, LevelFilter::OFF));
    Targets::new().with_default(level).with_targets(quiet)
}

/// Keeps the last lines for the page.
struct Kept;

impl<S: Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str();
        log::keep(Line { at_ms: clock::wall_ms(), level, event: fields.event(), text: fields.text() });
    }
}

fn to_stderr<S: Subscriber + for<'a> LookupSpan<'a>>(format: Format) -> Box<dyn Layer<S> + Send + Sync> {
    // See https://no-color.org: any value except an empty one asks for no colours.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color)
        .with_target(false)
        // A line that cannot be written causes no second line on the same output.
        .log_internal_errors(false);
    match format {
        Format::Text | Format::Journald => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
        Format::Logfmt => tracing_logfmt::builder().with_target(false).layer().with_writer(std::io::stderr).boxed(),
    }
}

/// Whether standard error is connected to the journal: `JOURNAL_STREAM` has its device and inode (systemd.exec(5)).
fn is_connected_to_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    stderr.is_ok_and(|about| stream == format!("{}:{}", about.dev(), about.ino()))
}
