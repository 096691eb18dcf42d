//! The reference of the configuration. The reference page, the JSON Schema and the examples are made of the
//! questions that the reading parts ask (`section::catalog`).

mod markdown;
mod sample;
mod schema;

use super::root::{read_root, read_sink_of, read_source_of};
use super::{Environment, StoreConfig};
use crate::monitor::alert::Alert;
use crate::section::Session;
use crate::section::catalog::Entry;
use crate::sink;
use crate::source;
use crate::store::{StreamRule, WhenFull};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An environment in which nothing is found.
struct Nothing;

impl Environment for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn files(&self, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }

    fn host_name(&self) -> String {
        "gateway".into()
    }
}

/// A table of the configuration and the keys that are asked for in it.
#[derive(Debug)]
struct Table {
    /// The table's path, as `Entry::place` has it.
    place: String,
    /// Every key, in the order in which it is asked for.
    entries: Vec<Entry>,
    /// The groups whose keys may also stand in this table.
    groups: Vec<&'static str>,
}

/// A kind of source or sink, with all tables that its section may have.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    doc: &'static str,
    tables: Vec<Table>,
}

/// Every key there is.
#[derive(Debug)]
pub struct Reference {
    root: Vec<Table>,
    stream: Vec<Table>,
    alert: Vec<Table>,
    sources: Vec<Kind>,
    sinks: Vec<Kind>,
}

impl Reference {
    /// Asks all parts for their keys.
    #[must_use]
    pub fn new() -> Self {
        let root = |session: &Session<'_>| {
            read_root(session.section("", "", 0..0, Vec::new()), &Nothing, (None, None));
        };
        let stream = |session: &Session<'_>| {
            let store = StoreConfig {
                cap: u64::MAX,
                reserve: 0,
                linger: Duration::ZERO,
                max_commits_per_second: 1,
                when_full: WhenFull::Block,
                streams: Vec::new(),
            };
            let section = session.section("stream.NAME", "stream.NAME", 0..0, Vec::new());
            store.read_stream("NAME", section, StreamRule::default());
        };
        let alert = |session: &Session<'_>| {
            let section = session.section("alert.NAME", "alert.NAME", 0..0, Vec::new());
            let _ = Alert::read("NAME", 0..0, section, None);
        };
        let source = |kind: &source::Kind| {
            let tables = asked(|session| {
                let section = session.section("source.NAME", "source.NAME", 0..0, Vec::new());
                read_source_of(kind, "NAME", section);
            });
            Kind { name: kind.name, doc: kind.doc, tables }
        };
        let sink = |kind: &sink::Kind| {
            let tables = asked(|session| {
                let section = session.section("sink.NAME", "sink.NAME", 0..0, Vec::new());
                read_sink_of(kind, "NAME", section);
            });
            Kind { name: kind.name, doc: kind.doc, tables }
        };
        Self {
            root: asked(root),
            stream: asked(stream),
            alert: asked(alert),
            sources: source::KINDS.iter().map(source).collect(),
            sinks: sink::KINDS.iter().map(sink).collect(),
        }
    }

    /// The tables of groups. Each is listed once, even if its keys may stand in several sections.
    fn groups(&self) -> Vec<&Table> {
        let mut known = BTreeSet::new();
        let kinds = self.sources.iter().chain(&self.sinks);
        let tables = kinds.flat_map(|kind| &kind.tables);
        tables.filter(|table| table.place.starts_with('[') && known.insert(&table.place)).collect()
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self::new()
    }
}

/// The questions of one reading, by table.
fn asked(read: impl FnOnce(&Session<'_>)) -> Vec<Table> {
    let session = Session::for_catalog(&Nothing);
    read(&session);
    let mut tables: Vec<Table> = Vec::new();
    for entry in session.into_catalog() {
        // The table that asked for keys of a group notes the group.
        if let Some(group) = entry.group {
            let table = table_of(&mut tables, &entry.path);
            if !table.groups.contains(&group) {
                table.groups.push(group);
            }
        }
        let place = entry.place();
        let table = table_of(&mut tables, &place);
        if !table.entries.iter().any(|known| known.key == entry.key) {
            table.entries.push(entry);
        }
    }
    tables
}

fn table_of<'t>(tables: &'t mut Vec<Table>, place: &str) -> &'t mut Table {
    let at = tables.iter().position(|table| table.place == place).unwrap_or_else(|| {
        tables.push(Table { place: place.into(), entries: Vec::new(), groups: Vec::new() });
        tables.len() - 1
    });
    &mut tables[at]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_with;
    use crate::config::{Options, System};
    use crate::section::catalog::Shape;

    /// The files that are made of the reference, or made again with `FOREBAY_BLESS=1`.
    #[test]
    fn the_reference_files_are_those_that_the_code_gives() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let reference = Reference::new();
        for (path, made) in [
            ("docs/configuration.md", reference.markdown()),
            ("configs/full.toml", reference.sample(&[]).unwrap()),
            ("configs/forebay.schema.json", reference.schema()),
        ] {
            if std::env::var_os("FOREBAY_BLESS").is_some() {
                std::fs::write(root.join(path), &made).unwrap();
            }
            let is = std::fs::read_to_string(root.join(path)).unwrap_or_default();
            assert!(is == made, "{path} is not what the code gives: run the test again with FOREBAY_BLESS=1");
        }
    }

    #[test]
    fn every_key_has_words_and_every_needed_one_an_example() {
        let reference = Reference::new();
        let kinds = reference.sources.iter().chain(&reference.sinks).flat_map(|kind| &kind.tables);
        let mut keys = 0;
        for entry in reference
            .root
            .iter()
            .chain(&reference.stream)
            .chain(&reference.alert)
            .chain(kinds)
            .flat_map(|table| &table.entries)
        {
            assert!(entry.doc.ends_with(['.', ')']), "{}.{}: {:?}", entry.path, entry.key, entry.doc);
            let has_example = entry.example.is_some() || entry.shape == Shape::Tables;
            assert!(!entry.is_required || has_example, "{}.{}", entry.path, entry.key);
            keys += 1;
        }
        assert!(keys > 200, "{keys}");
    }

    /// Every commented key of the full example is one that the parts know, with a value of its type.
    #[test]
    fn every_key_of_the_full_example_is_read() {
        let full = Reference::new().sample(&[]).unwrap();
        let is_key = |line: &str| {
            line.split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()))
        };
        let bare = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if is_key(rest) || rest.starts_with('[') => rest.to_string(),
            _ => line.to_string(),
        };
        let all: String = full.lines().map(|line| bare(line) + "\n").collect();
        // Tables stand below as well.
        let all: String =
            all.lines().filter(|line| !line.ends_with(" = {}")).map(|line| line.to_string() + "\n").collect();
        let options = Options { without_secrets: true, ..Options::default() };
        let report = load_with(&all, &System, options).expect_err("all keys at once contradict each other");
        for problem in report.problems() {
            let message = &problem.message;
            let is_bad = ["unknown", "stands here", "not TOML"].iter().any(|bad| message.contains(bad));
            assert!(!is_bad, "{report}");
        }
        assert!(all.lines().filter(|line| is_key(line)).count() > 300);
    }

    #[test]
    fn samples_of_single_kinds_are_good() {
        let reference = Reference::new();
        for kind in reference.sources.iter().chain(&reference.sinks) {
            let sample = reference.sample(&[kind.name.to_string()]).unwrap();
            let options = Options { without_secrets: true, ..Options::default() };
            if let Err(report) = load_with(&sample, &System, options) {
                panic!("{}:\n{report}", kind.name);
            }
        }
        let error = reference.sample(&["mqt".to_string()]).unwrap_err();
        assert!(error.contains("mqtt"), "{error}");
    }
}
