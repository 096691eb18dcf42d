//! How a part reads its own settings: it asks its section of the configuration for keys.
//!
//! Invariants: a key that no part asked for is unknown and refused; every problem is collected with its place; one
//! wrong value gives one problem; secrets come by reference and are never shown. Each question is recorded when a
//! reference is made (`catalog`). So the reference page, the JSON Schema and the full example come from the same
//! calls that read the settings.
//!
//!     let keep_alive = section.duration("keep_alive").doc("..").within(5 s..=1 h).or(60 s);

mod ask;
pub mod catalog;
mod claim;
mod login;
mod place;
pub mod problem;
mod read;
pub mod redact;
mod same;
mod secret;
mod session;
mod size;
mod tls;
pub mod value;

pub use ask::Ask;
pub use claim::Claim;
pub use login::Login;
pub use place::{Host, Place};
pub use problem::{Position, Problem, Report, Texts, nearest};
pub use read::Read;
pub use same::Same;
pub use secret::Secret;
pub use session::{Environment, Session, System};
pub use size::{Bytes, Span};
pub use tls::{ClientTls, Pin, ServerTls, read_ca, read_pins};
pub use value::{Data, Key, Value};

use catalog::{Entry, Shape};
use std::ops::Range;

/// A value with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    /// The place in the text, in bytes.
    pub span: Range<usize>,
    /// The value itself.
    pub value: T,
}

/// A key and its value, until the section ends.
#[derive(Debug)]
struct Held {
    key: Key,
    value: Value,
    is_asked: bool,
}

/// One table of the configuration, read by the part that owns it.
pub struct Section<'c> {
    session: &'c Session<'c>,
    path: String,
    label: String,
    span: Range<usize>,
    table: Vec<Held>,
    /// Every key that was asked for.
    known: Vec<&'static str>,
    /// Keys that are there but could not be read. Rules that depend on these keys report nothing.
    bad: Vec<&'static str>,
    /// Problems of missing keys. Such a problem is left out when an unknown key looks like a misspelling of the
    /// missing key.
    absent: Vec<(&'static str, Problem)>,
    group: Option<&'static str>,
}

impl<'c> Section<'c> {
    /// The reading that this section belongs to.
    #[must_use]
    pub fn session(&self) -> &'c Session<'c> {
        self.session
    }

    /// The section in messages: `source.NAME`.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The place of the section in the text.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The device's name.
    #[must_use]
    pub fn device(&self) -> String {
        self.session.device.borrow().clone()
    }

    /// Whether secrets are not looked up.
    #[must_use]
    pub fn without_secrets(&self) -> bool {
        self.session.without_secrets
    }

    /// An environment variable that is not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        self.session.variable(name)
    }

    /// Whether a key stands in the section.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.iter().any(|held| held.key.name == key)
    }

    /// The place of a key's value; the place of the section when the key is not there.
    #[must_use]
    pub fn at(&self, key: &str) -> Range<usize> {
        let found = self.table.iter().find(|held| held.key.name == key);
        found.map_or_else(|| self.span.clone(), |held| held.value.span.clone())
    }

    /// Reports that the value of a key is wrong.
    pub fn wrong(&self, key: &str, message: impl Into<String>) {
        self.session.problem(self.at(key), message, None);
    }

    /// Reports that the value of a key is wrong, with advice.
    pub fn wrong_because(&self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.session.problem(self.at(key), message, Some(hint.into()));
    }

    /// Reports keys that are there but belong to another choice.
    pub fn only_for(&self, keys: &[&str], choice: &str) {
        for key in keys.iter().filter(|key| self.has(key)) {
            self.wrong(key, format!("this belongs to {choice}"));
        }
    }

    /// Notes an assumption about a setting that the configuration leaves open.
    pub fn assume(&self, what: impl std::fmt::Display) {
        self.session.assume(format!("{}: {what}", self.label));
    }

    /// Puts the keys that `read` asks for under the name of a group in the reference, once for all sections.
    pub fn grouped<T>(&mut self, group: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.group.replace(group);
        let done = read(self);
        self.group = before;
        done
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        let held = self.table.iter_mut().find(|held| held.key.name == key)?;
        held.is_asked = true;
        Some(held.value.clone())
    }

    /// Whether a key is there and could not be read.
    #[must_use]
    pub fn is_bad(&self, key: &str) -> bool {
        self.bad.contains(&key)
    }

    /// Reports that a key is missing, unless an unknown key looks like a misspelling of it.
    pub fn missing(&mut self, key: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self.absent.push((key, Problem { span: self.span(), message: message.into(), hint }));
    }

    /// Says for the reference when a key must be there.
    pub fn note_needed(&self, key: &str, when: &str) {
        let mut found = self.session.found.borrow_mut();
        if let Some(entry) = found.catalog.iter_mut().rfind(|entry| entry.key == key && entry.path == self.path) {
            (entry.is_required, entry.default) = (true, Some(when.into()));
        }
    }

    /// Marks a key as known without reading it. The code that refuses the key reports the reason.
    pub fn not_read(&mut self, key: &'static str) {
        self.take(key);
    }

    fn record(&self, entry: Entry) {
        if self.session.is_catalog {
            self.session.found.borrow_mut().catalog.push(entry);
        }
    }

    fn entry(&self, key: &'static str, shape: Shape, doc: &'static str) -> Entry {
        Entry::new(&self.path, self.group, key, shape, doc)
    }

    fn sub(&self, key: &str, label: &str, span: Range<usize>, table: Vec<(Key, Value)>) -> Section<'c> {
        let path = self.group.map_or_else(|| self.path.clone(), |group| format!("[{group}]"));
        let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        self.session.section(&path, label, span, table)
    }

    /// A table below this one, if it is there.
    pub fn table(&mut self, key: &'static str, doc: &'static str) -> Option<Section<'c>> {
        self.record(self.entry(key, Shape::Table, doc));
        let label = format!("{}.{key}", self.label);
        match self.take(key) {
            None if self.session.is_catalog => Some(self.sub(key, &label, 0..0, Vec::new())),
            None => None,
            Some(Value { span, data: Data::Table(table) }) => Some(self.sub(key, &label, span, table)),
            Some(value) => {
                self.bad.push(key);
                let found = value.data.words(true);
                self.session.problem(value.span, format!("{found} stands here, and a table is wanted"), None);
                None
            }
        }
    }

    /// The tables of `[source]`, `[sink]`, `[stream]`, each under a name that the user chooses.
    pub fn tables_by_name(&mut self, key: &'static str, doc: &'static str) -> Vec<(Key, Value)> {
        self.record(self.entry(key, Shape::Map(Box::new(Shape::Table)), doc));
        match self.take(key) {
            None => Vec::new(),
            Some(Value { data: Data::Table(table), .. }) => table,
            Some(value) => {
                let message = format!("{} stands here, and a table is wanted", value.data.words(true));
                let hint = Some(format!("write it as [{key}.NAME] on a line of its own"));
                self.session.problem(value.span, message, hint);
                Vec::new()
            }
        }
    }

    /// A section without any key.
    #[must_use]
    pub fn empty(&self, key: &str) -> Section<'c> {
        self.sub(key, key, self.span(), Vec::new())
    }

    /// Whether questions are recorded instead of values being read.
    #[must_use]
    pub fn is_catalog(&self) -> bool {
        self.session.is_catalog
    }

    /// The list of tables below this one, such as `[[source.NAME.slave]]`; `None` when the key is not there.
    pub fn tables(&mut self, key: &'static str, doc: &'static str) -> Option<Vec<Section<'c>>> {
        self.record(self.entry(key, Shape::Tables, doc));
        let Some(value) = self.take(key) else {
            let label = format!("{}.{key}", self.label);
            return self.session.is_catalog.then(|| vec![self.sub(key, &label, 0..0, Vec::new())]);
        };
        let Data::List(list) = value.data else {
            let hint = format!("write it as [[{}.{key}]] on a line of its own", self.label);
            self.bad.push(key);
            self.session.problem(value.span, format!("`{key}` must be a list of tables"), Some(hint));
            return Some(Vec::new());
        };
        let mut sections = Vec::new();
        for (n, value) in list.into_iter().enumerate() {
            let label = format!("{}.{key} {}", self.label, n + 1);
            match value.data {
                Data::Table(table) => sections.push(self.sub(key, &label, value.span, table)),
                other => {
                    self.bad.push(key);
                    let found = other.words(true);
                    self.session.problem(value.span, format!("{found} stands here, and a table is wanted"), None);
                }
            }
        }
        Some(sections)
    }

    /// A table whose keys are names that the user chooses: name, and value.
    pub fn map<T: Read>(&mut self, key: &'static str, doc: &'static str) -> Option<Vec<(At<String>, T)>> {
        self.record(self.entry(key, Shape::Map(T::shape()), doc));
        let table = match self.take(key)? {
            Value { data: Data::Table(table), .. } => table,
            value => {
                let found = value.data.words(true);
                self.session.problem(value.span, format!("{found} stands here, and a table is wanted"), None);
                return None;
            }
        };
        let mut entries = Vec::new();
        for (name, value) in table {
            if let Some(read) = read::read(self.session, &value, T::read, &T::wanted()) {
                entries.push((At { span: name.span, value: name.name }, read));
            }
        }
        Some(entries)
    }

    /// Ends the reading. Reports keys that no part asked for, and missing keys.
    pub fn end(self) {
        let mut explained: Vec<&str> = Vec::new();
        for held in self.table.iter().filter(|held| !held.is_asked) {
            let name = &held.key.name;
            let near = nearest(name, self.known.iter().copied());
            explained.extend(near);
            let all = || format!("known here: {}", self.known.join(", "));
            let hint = near.map_or_else(all, |word| format!("did you mean `{word}`?"));
            self.session.problem(held.key.span.clone(), format!("unknown key `{name}`"), Some(hint));
        }
        for (key, problem) in self.absent {
            if !explained.contains(&key) {
                self.session.problem(problem.span, problem.message, problem.hint);
            }
        }
    }
}
