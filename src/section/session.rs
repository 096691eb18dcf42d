//! The reading of one configuration: the state that all sections share, and the results.

use super::catalog::Entry;
use super::{Held, Key, Problem, Section, Value};
use crate::flow::record::is_own_stream;
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The most bytes of a name. Names go into event properties, whose size is taken into account.
const MOST_NAME_BYTES: usize = 128;

/// Finds secrets and other values from outside the file.
pub trait Environment {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// A file's text.
    ///
    /// # Errors
    /// As the operating system says.
    fn file(&self, path: &Path) -> std::io::Result<String>;
    /// The files that match a pattern, in the order of their names.
    ///
    /// # Errors
    /// The error in the pattern, in words.
    fn files(&self, pattern: &str) -> Result<Vec<PathBuf>, String>;
    /// The host's name.
    fn host_name(&self) -> String;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Environment for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn files(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let paths = glob::glob(pattern).map_err(|error| error.to_string())?;
        paths.map(|path| path.map_err(|error| error.to_string())).collect()
    }

    fn host_name(&self) -> String {
        crate::platform::machine::host_name()
    }
}

/// The results of the reading so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    assumed: Vec<String>,
    pub(super) catalog: Vec<Entry>,
    /// Values from outside the file. They may be secrets, so messages do not repeat them.
    outside: Vec<String>,
}

/// The reading of one configuration; all its sections share it.
pub struct Session<'e> {
    pub(super) environment: &'e dyn Environment,
    pub(super) found: RefCell<Found>,
    pub(super) device: RefCell<String>,
    pub(super) is_catalog: bool,
    pub(super) without_secrets: bool,
    /// Secrets by name.
    secrets: RefCell<Vec<(Key, Value)>>,
}

impl<'e> Session<'e> {
    /// Begins to read. `without_secrets` means that no secret is looked up: for a check on another machine.
    #[must_use]
    pub fn new(environment: &'e dyn Environment, without_secrets: bool) -> Self {
        let (found, device) = (RefCell::default(), RefCell::default());
        Self { environment, found, device, is_catalog: false, without_secrets, secrets: RefCell::default() }
    }

    /// Begins to record questions instead of reading: every table and list is there, and every value is missing.
    #[must_use]
    pub fn for_catalog(environment: &'e dyn Environment) -> Self {
        Self { is_catalog: true, ..Self::new(environment, true) }
    }

    /// The section for a table. `path` names it in the reference, `label` in messages.
    pub fn section(&self, path: &str, label: &str, span: Range<usize>, table: Vec<(Key, Value)>) -> Section<'_> {
        Section {
            session: self,
            path: path.into(),
            label: label.into(),
            span,
            table: table.into_iter().map(|(key, value)| Held { key, value, is_asked: false }).collect(),
            known: Vec::new(),
            bad: Vec::new(),
            absent: Vec::new(),
            group: None,
        }
    }

    /// Reports a problem that must be fixed.
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        let message = self.without_outside(message.into());
        let hint = hint.map(|hint| self.without_outside(hint));
        self.found.borrow_mut().problems.push(Problem { span, message, hint });
    }

    /// Notes a value from outside the file. No message repeats it.
    pub(super) fn hide(&self, text: &str) {
        self.found.borrow_mut().outside.push(text.into());
    }

    fn without_outside(&self, mut message: String) -> String {
        for text in &self.found.borrow().outside {
            message = message.replace(&format!("`{text}`"), "`…`");
        }
        message
    }

    /// Reports a warning: the setting is allowed, but most often a mistake.
    pub fn warn(&self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.found.borrow_mut().warnings.push(Problem { span, message: message.into(), hint });
    }

    /// Notes an assumption about a setting that the configuration leaves open.
    pub fn assume(&self, what: impl Into<String>) {
        self.found.borrow_mut().assumed.push(what.into());
    }

    /// An environment variable that is not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        self.environment.variable(name).filter(|value| !value.is_empty())
    }

    /// Whether no problem was found so far.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.found.borrow().problems.is_empty()
    }

    /// Sets the device's name, which some settings are made of.
    pub fn set_device(&self, name: &str) {
        *self.device.borrow_mut() = name.into();
    }

    /// Sets the secrets that have names.
    pub fn name_secrets(&self, secrets: Vec<(Key, Value)>) {
        for (key, _) in &secrets {
            self.name(key.span.clone(), &key.name);
        }
        *self.secrets.borrow_mut() = secrets;
    }

    /// The place of the secret with this name.
    pub(super) fn named_secret(&self, name: &str) -> Option<Value> {
        self.secrets.borrow().iter().find(|(key, _)| key.name == name).map(|(_, value)| value.clone())
    }

    /// Checks a name that goes into file names, event properties and partition keys.
    pub fn name(&self, span: Range<usize>, name: &str) {
        let is_good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > MOST_NAME_BYTES || !name.chars().all(is_good) {
            let hint = "letters, digits, `.`, `_` and `-`; at most 128";
            self.problem(span, format!("`{name}` cannot be a name"), Some(hint.into()));
        } else if is_own_stream(name) {
            self.problem(span, format!("`{name}`: names that begin with `forebay.` are Forebay's own"), None);
        }
    }

    /// Ends the reading. Returns problems, warnings and assumptions.
    #[must_use]
    pub fn end(self) -> (Vec<Problem>, Vec<Problem>, Vec<String>) {
        let Found { problems, warnings, assumed, .. } = self.found.into_inner();
        (problems, warnings, assumed)
    }

    /// The questions that were asked.
    #[must_use]
    pub fn into_catalog(self) -> Vec<Entry> {
        self.found.into_inner().catalog
    }
}
