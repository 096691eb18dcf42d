//! The configuration to start with: the local file, and the document over it.

use super::super::{fail, place};
use super::take::first_problem;
use crate::config::{self, Config, Options, System};
use crate::control::ledger::{CANNOT_START, Ledger, MOST_STARTS, Mark, Problem};
use crate::platform::clock;
use crate::section;
use crate::store::lock::{Lock, LockError};
use crate::telemetry::event;
use std::path::Path;
use std::process::ExitCode;

/// The configuration that an agent starts with, and what belongs to it.
pub struct Begun {
    pub config: Config,
    pub ledger: Ledger,
    pub effective: String,
}

/// Reads the configuration to start with: the local file, and the document over it.
pub fn begin(path: &Path, state: Option<&Path>) -> Result<Begun, ExitCode> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| fail(2, format_args!("cannot read {}: {error}", path.display())))?;
    let options = Options { path: Some(path), state, ..Options::default() };
    let (local, notes) = config::load_with(&text, &System, options).map_err(|report| bad(path, &report))?;
    let (mut ledger, damage) = Ledger::open(&local.state);
    if let Some(error) = damage {
        tracing::error!(
            event = event::CONTROL_NOTE,
            %error,
            "what was remembered of pushed configurations is damaged and put aside; the local file counts"
        );
    }
    let (mut config, document) = match &local.remote {
        Some(_) => start(options, &text, &mut ledger, &local.state)?,
        None => (local, None),
    };
    place::warn(&notes.warnings);
    let options = Options { pushed: document.as_deref(), ..options };
    let effective = config::effective(&text, &System, options).unwrap_or_default();
    config.generation = ledger.next(&effective);
    Ok(Begun { config, ledger, effective })
}

fn bad(path: &Path, report: &section::Report) -> ExitCode {
    complain!("{}:\n{report}", path.display());
    ExitCode::from(1)
}

/// A disk that takes nothing does not keep the agent from its readings: what counts is kept in memory then.
fn kept(done: std::io::Result<()>) {
    if let Err(error) = done {
        tracing::error!(event = event::CONTROL_NOTE, %error, "the state of the configuration cannot be kept");
    }
}

/// The configuration to start with. A document on trial with which the agent did not stay alive is given up.
fn start(
    options: Options<'_>,
    text: &str,
    ledger: &mut Ledger,
    dir: &Path,
) -> Result<(Config, Option<String>), ExitCode> {
    // A second agent that is started by mistake ends at the store's lock, and counts as no start.
    let is_alone = || !matches!(Lock::take(dir), Err(LockError::Held { .. }));
    if let Some(trial) = ledger.state.trial.as_mut().filter(|_| is_alone()) {
        trial.starts += 1;
        trial.before = std::mem::take(&mut trial.before).counted_anew();
        let starts = trial.starts;
        if starts > MOST_STARTS {
            let why = format!("the agent ended {MOST_STARTS} times while the document was on trial");
            give_up_at_start(ledger, why);
        } else {
            kept(ledger.keep());
        }
    }
    if let Some(trial) = &ledger.state.trial {
        match loaded(options, text, ledger, Some(&trial.mark)) {
            Ok(loaded) => return Ok(loaded),
            Err(why) => give_up_at_start(ledger, format!("it cannot be read any more: {}", why.message)),
        }
    }
    // A document that was good may not be so any more: the local file or the program has changed. The carriers must
    // live, so that another one can come.
    let marks = [ledger.state.production.clone(), ledger.state.previous.clone()];
    for mark in marks.iter().flatten() {
        match loaded(options, text, ledger, Some(mark)) {
            Ok(loaded) => return Ok(loaded),
            Err(why) => {
                let serial = mark.serial;
                let (line, why) = (why.place.map(|(line, _)| line), why.message);
                tracing::error!(
                    event = event::CONFIG_REFUSED,
                    serial,
                    line,
                    why,
                    "the document cannot be read any more: the agent starts without it"
                );
                let message = format!("it cannot be read any more: {why}");
                let (serial, code, at_ms) = (Some(serial), CANNOT_START.into(), clock::wall_ms());
                kept(ledger.note(Problem { serial, code, message, place: None, at_ms }));
            }
        }
    }
    loaded(options, text, ledger, None).map_err(|why| fail(1, why.message))
}

/// The local file with a document over it.
fn loaded(
    options: Options<'_>,
    text: &str,
    ledger: &Ledger,
    mark: Option<&Mark>,
) -> Result<(Config, Option<String>), Problem> {
    let document = mark.map(|mark| ledger.read(mark)).transpose().map_err(|error| Problem {
        serial: None,
        code: "lost".into(),
        message: error.to_string(),
        place: None,
        at_ms: clock::wall_ms(),
    })?;
    let options = Options { pushed: document.as_deref(), ..options };
    match config::load_with(text, &System, options) {
        Ok((config, _)) => Ok((config, document)),
        Err(report) => Err(first_problem(&report)),
    }
}

fn give_up_at_start(ledger: &mut Ledger, why: String) {
    let serial = ledger.state.trial.as_ref().map(|trial| trial.mark.serial);
    tracing::error!(event = event::CONFIG_ROLLED_BACK, serial, why, "a document on trial is given up");
    kept(ledger.give_up(why, clock::wall_ms()));
    ledger.state.trial = None;
}
