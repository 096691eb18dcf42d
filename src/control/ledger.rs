//! What the device remembers of its configurations, on disk: which documents there were, which is in force, which is on
//! trial, and the generations.
//!
//! Invariants: a file is written beside, flushed and renamed, so that a power cut leaves the old or the new one; a
//! document is on disk before the state names it; the highest serial never falls. Whether a document is taken is decided
//! on types (`decide`), without the disk.

use super::difference;
use super::document::Document;
use super::trial::Snapshot;
use crate::platform::digest;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The folder below the state directory.
pub const FOLDER: &str = "config";
const STATE: &str = "state.json";
/// The folder in which documents are dropped.
pub const INBOX: &str = "inbox";
/// A document on trial that was started more often than this without an end is given up.
pub const MOST_STARTS: u32 = 3;
/// The code of a document that was given up.
const ROLLED_BACK: &str = "rolled-back";
/// The code of a document in force that is not good any more.
pub const CANNOT_START: &str = "cannot-start";
/// The generations that are remembered.
const GENERATIONS: usize = 20;

/// A document by its number and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The serial.
    pub serial: u64,
    /// The SHA-256 of what is signed, in hex.
    pub sha256: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

/// A document on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The document.
    pub mark: Mark,
    /// How often the agent was started with it.
    pub starts: u32,
    /// The agent just before.
    pub before: Snapshot,
}

/// Why a document is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its serial, where it could be read.
    pub serial: Option<u64>,
    /// A word for programs.
    pub code: String,
    /// The reason for people.
    pub message: String,
    /// The line and the column of the document, where there are.
    pub place: Option<(usize, usize)>,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A configuration that was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// When it came into force, in milliseconds since 1970.
    pub at_ms: i64,
    /// The serial of its document; none when there was no document.
    pub serial: Option<u64>,
    /// The SHA-256 of all its texts.
    pub sha256: String,
}

/// Everything that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The document with the highest serial that was ever taken.
    pub highest: Option<Mark>,
    /// The document in force.
    pub production: Option<Mark>,
    /// The document that was in force before.
    pub previous: Option<Mark>,
    /// The document on trial.
    pub trial: Option<Trial>,
    /// Whether the document in force was kept although no sink could be reached during its trial.
    pub unconfirmed: bool,
    /// The last problem.
    pub problem: Option<Problem>,
    /// The last generations, the newest last.
    pub generations: Vec<Generation>,
}

/// What is to be done with a document that is signed and meant for this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is new: it is checked and tried.
    Take,
    /// It is known already.
    Known,
    /// Its serial is lower than that of another document: somebody replays an old one.
    Old(u64),
    /// Another document has the same serial.
    Twice,
    /// Its time has not come.
    Early(i64),
    /// Another document is on trial: this one waits for the end of the trial.
    Busy,
}

impl State {
    /// What is to be done with a document.
    #[must_use]
    pub fn decide(&self, document: &Document, now_ms: Option<i64>) -> Decision {
        let serial = document.header.serial;
        let is_it = |mark: &Mark| mark.serial == serial && mark.sha256 == document.sha256;
        // A server may show the document that runs, or the one before, again: that is no attack.
        if self.production.iter().chain(&self.previous).any(is_it) {
            return Decision::Known;
        }
        match &self.highest {
            Some(known) if known.serial > serial => return Decision::Old(known.serial),
            Some(known) if known.serial == serial && known.sha256 == document.sha256 => return Decision::Known,
            Some(known) if known.serial == serial => return Decision::Twice,
            _ => {}
        }
        if self.trial.is_some() {
            return Decision::Busy;
        }
        match document.header.not_before_ms {
            Some(at) if now_ms.is_none_or(|now| now < at) => Decision::Early(at),
            _ => Decision::Take,
        }
    }

    /// The document that the agent runs with, or shall run with.
    #[must_use]
    pub fn current(&self) -> Option<&Mark> {
        self.trial.as_ref().map(|trial| &trial.mark).or(self.production.as_ref())
    }

    /// The serial of the document in force.
    fn serial(&self) -> Option<u64> {
        self.production.as_ref().map(|mark| mark.serial)
    }

    /// The word for what goes on.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match (&self.trial, &self.production, &self.problem) {
            (Some(_), ..) => "probation",
            (None, Some(mark), Some(problem))
                if problem.code == CANNOT_START && problem.serial == Some(mark.serial) =>
            {
                "refused"
            }
            (None, production, Some(problem)) if problem.serial > production.as_ref().map(|mark| mark.serial) => {
                if problem.code == ROLLED_BACK {
                    "rolled-back"
                } else {
                    "refused"
                }
            }
            (None, Some(_), _) if self.unconfirmed => "applied-unconfirmed",
            (None, Some(_), _) => "applied",
            (None, None, Some(_)) => "refused",
            (None, None, None) => "local",
        }
    }
}

/// The files of the folder `config` below the state directory.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    /// What is remembered.
    pub state: State,
}

impl Ledger {
    /// Reads the ledger of a state directory. A state that is damaged is put aside, as `state.json.bad`, so that the
    /// agent can go on; what was wrong is returned. Nothing else is written yet.
    #[must_use]
    pub fn open(state: &Path) -> (Self, Option<io::Error>) {
        let folder = state.join(FOLDER);
        match read(&folder) {
            Ok(state) => (Self { folder, state }, None),
            Err(error) => {
                // Where this is not possible, keeping the new state says so.
                let _ = std::fs::rename(folder.join(STATE), folder.join(format!("{STATE}.bad")));
                (Self { folder, state: State::default() }, Some(error))
            }
        }
    }

    /// The state of a directory, for reading alone.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn look(state: &Path) -> io::Result<State> {
        read(&state.join(FOLDER))
    }

    /// The text of the document that an agent runs with, for reading alone; `None` when there is none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn document(state: &Path) -> io::Result<Option<String>> {
        let folder = state.join(FOLDER);
        Self { state: read(&folder)?, folder }.current()
    }

    /// The effective text of a generation, for reading alone.
    ///
    /// # Errors
    /// It is not kept any more.
    pub fn text(state: &Path, generation: u64) -> io::Result<String> {
        std::fs::read_to_string(state.join(FOLDER).join(text_of(generation)))
            .map_err(|error| io::Error::new(error.kind(), format!("generation {generation} is not kept")))
    }

    /// What changed from one generation to another: lines with `-` and `+`, and a few lines around them.
    ///
    /// # Errors
    /// One of them is not kept any more.
    pub fn diff(state: &Path, from: u64, to: u64) -> io::Result<String> {
        let (old, new) = (Self::text(state, from)?, Self::text(state, to)?);
        Ok(format!("--- generation {from}\n+++ generation {to}\n{}", difference::lines(&old, &new)))
    }

    /// The folder in which documents are dropped.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn inbox(&self) -> io::Result<PathBuf> {
        let inbox = self.folder.join(INBOX);
        private(&inbox)?;
        Ok(inbox)
    }

    /// The text of the document that the agent shall run with.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn current(&self) -> io::Result<Option<String>> {
        self.state.current().map(|mark| self.read(mark)).transpose()
    }

    /// The text of a document that is remembered.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, mark: &Mark) -> io::Result<String> {
        let path = self.folder.join(name(mark.serial));
        std::fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// Keeps the state, and forgets documents that nobody needs any more.
    ///
    /// # Errors
    /// The disk does not take it; the state on disk is the old one then.
    pub fn keep(&mut self) -> io::Result<()> {
        let too_many = self.state.generations.len().saturating_sub(GENERATIONS);
        self.state.generations.drain(..too_many);
        let json = serde_json::to_vec_pretty(&self.state).map_err(io::Error::other)?;
        put(&self.folder, STATE, &json)?;
        let state = &self.state;
        let marks = [&state.production, &state.previous, &state.highest].into_iter().flatten();
        let of_generations = state.generations.iter().filter_map(|generation| generation.serial);
        let trial = state.trial.iter().map(|trial| trial.mark.serial);
        let documents = marks.map(|mark| mark.serial).chain(of_generations).chain(trial).map(name);
        let texts = state.generations.iter().map(|generation| text_of(generation.number));
        let wanted: Vec<String> = documents.chain(texts).collect();
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if (file.starts_with("document-") || file.starts_with("generation-")) && !wanted.contains(&file) {
                // It is tried again at the next change.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Keeps a document, and that it is on trial from now on.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn begin_trial(&mut self, document: &Document, before: Snapshot, now_ms: i64) -> io::Result<()> {
        let serial = document.header.serial;
        put(&self.folder, &name(serial), document.text.as_bytes())?;
        let mark = Mark { serial, sha256: document.sha256.clone(), since_ms: now_ms };
        self.change(|state| {
            state.highest = Some(mark.clone());
            state.trial = Some(Trial { mark, starts: 1, before });
        })
    }

    /// What the agent did just before is known better now.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn set_before(&mut self, before: &Snapshot) -> io::Result<()> {
        self.change(|state| state.trial.iter_mut().for_each(|trial| trial.before = before.clone()))
    }

    /// Notes a problem.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn note(&mut self, problem: Problem) -> io::Result<()> {
        // A newer reason tells more, but not one about a document that is older than one that was given up.
        let hides = self.state.problem.as_ref().is_some_and(|known| {
            known.code == ROLLED_BACK && known.serial > problem.serial && known.serial > self.state.serial()
        });
        if hides { Ok(()) } else { self.change(|state| state.problem = Some(problem)) }
    }

    /// Changes the state on disk, or nothing.
    fn change(&mut self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let before = self.state.clone();
        change(&mut self.state);
        let kept = self.keep();
        if kept.is_err() {
            self.state = before;
        }
        kept
    }

    /// The document on trial is good.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn confirm(&mut self, unconfirmed: bool) -> io::Result<()> {
        self.change(|state| {
            if let Some(trial) = state.trial.take() {
                state.previous = state.production.replace(trial.mark);
                (state.unconfirmed, state.problem) = (unconfirmed, None);
            }
        })
    }

    /// The document on trial is given up.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn give_up(&mut self, message: String, now_ms: i64) -> io::Result<()> {
        self.change(|state| {
            if let Some(trial) = state.trial.take() {
                let (serial, code) = (Some(trial.mark.serial), ROLLED_BACK.into());
                state.problem = Some(Problem { serial, code, message, place: None, at_ms: now_ms });
            }
        })
    }

    /// A person wants the document before this one back. Returns its serial, 0 for none.
    ///
    /// # Errors
    /// There is none, or the disk does not take it.
    pub fn back(&mut self) -> io::Result<u64> {
        if self.state.current().is_none() {
            return Err(io::Error::other("no pushed document is in force"));
        }
        self.change(|state| {
            if state.trial.take().is_none() {
                state.production = state.previous.take();
            }
        })?;
        Ok(self.state.production.as_ref().map_or(0, |mark| mark.serial))
    }

    /// The number that the configuration with this effective text has, or gets.
    #[must_use]
    pub fn next(&self, effective: &str) -> u64 {
        let sha256 = digest::sha256(effective.as_bytes());
        self.state.generations.last().map_or(1, |last| last.number + u64::from(last.sha256 != sha256))
    }

    /// The number of the configuration with this effective text: that of the last one if it is the same, else a new
    /// one.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn generation(&mut self, effective: &str, now_ms: i64) -> io::Result<u64> {
        let number = self.next(effective);
        let is_known = self.state.generations.last().is_some_and(|last| last.number == number);
        if is_known { Ok(number) } else { self.begin_generation(number, effective, now_ms) }
    }

    /// Begins a generation with this number, whether its text differs or not: a secret is not in it.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn begin_generation(&mut self, number: u64, effective: &str, now_ms: i64) -> io::Result<u64> {
        let serial = self.state.current().map(|mark| mark.serial);
        put(&self.folder, &text_of(number), effective.as_bytes())?;
        let sha256 = digest::sha256(effective.as_bytes());
        self.change(|state| state.generations.push(Generation { number, at_ms: now_ms, serial, sha256 }))?;
        Ok(number)
    }
}

fn text_of(generation: u64) -> String {
    format!("generation-{generation}.toml")
}

fn name(serial: u64) -> String {
    format!("document-{serial}.toml")
}

fn read(folder: &Path) -> io::Result<State> {
    let path = folder.join(STATE);
    match std::fs::read(&path) {
        Ok(json) => serde_json::from_slice(&json)
            .map_err(|error| io::Error::other(format!("{} cannot be read: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Makes a folder that is its user's alone.
fn private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a file so that a power cut leaves the old or the new one.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    private(folder)?;
    let beside = folder.join(format!("{name}.new"));
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, folder.join(name))?;
    std::fs::File::open(folder)?.sync_all()
}
