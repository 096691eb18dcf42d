//! From text to `Config`: a pure function of the text and the environment.

mod cross;
mod directory;
mod entra;
mod eventhubs;
mod http;
mod kafka;
mod modbus;
mod mqtt;
mod route;
mod secret;
mod serial;
mod sink;
mod source;
mod store;

use super::problem::{Problem, Report, nearest};
use super::{Config, Environment, Notes, StoreConfig};
use crate::store::Selection;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

const STATE: &str = "/var/lib/forebay";
/// Names go into event properties, whose size is reckoned with.
const LONGEST_NAME: usize = 128;
const TOP: [&str; 6] = ["device", "state", "store", "stream", "source", "sink"];

/// A table that is taken apart.
type Table<'i> = DeTable<'i>;

/// What is found on the way.
pub(super) struct Checker<'a> {
    environment: &'a dyn Environment,
    problems: Vec<Problem>,
    assumed: Vec<String>,
    warnings: Vec<Problem>,
    device: String,
    /// Where each table stands, as `source.NAME` or `sink.NAME`.
    places: BTreeMap<String, Range<usize>>,
}

/// See `config::load`.
pub(super) fn check(text: &str, environment: &dyn Environment) -> Result<(Config, Notes), Report> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        let problem = |error: &toml::de::Error| Problem {
            span: error.span().unwrap_or(0..0),
            message: error.message().to_string(),
            hint: Some("this is not TOML; text needs quotes, and each [table] stands once".into()),
        };
        return Err(Report::of_broken(text, syntax.iter().map(problem).collect()));
    }
    let mut checker = Checker {
        environment,
        problems: Vec::new(),
        assumed: Vec::new(),
        warnings: Vec::new(),
        device: String::new(),
        places: BTreeMap::new(),
    };
    let config = checker.root(root.into_inner());
    let Checker { problems, assumed, warnings, .. } = checker;
    if problems.is_empty() {
        Ok((config, Notes { assumed, warnings: Report::new(text, warnings) }))
    } else {
        Err(Report::new(text, problems))
    }
}

impl Checker<'_> {
    fn root(&mut self, mut root: Table<'_>) -> Config {
        for (key, _) in root.iter().filter(|(key, _)| !TOP.contains(&key.get_ref().as_ref())) {
            let hint = nearest(key.get_ref(), TOP).map(|word| format!("did you mean `{word}`?"));
            let all = || format!("known here: {}", TOP.join(", "));
            self.problem(key.span(), format!("unknown key `{}`", key.get_ref()), hint.or_else(|| Some(all())));
        }
        self.device = self.device_name(root.remove("device"));
        let state = match self.top_text(root.remove("state"), "state") {
            Some(state) => PathBuf::from(state.into_inner()),
            None => {
                self.assume(format!("state = \"{STATE}\""));
                PathBuf::from(STATE)
            }
        };
        let mut store = self.store(root.remove("store"));
        let mut sources = Vec::new();
        for (name, span, body) in self.named(root.remove("source"), "source") {
            sources.extend(self.source(&name, span, body));
        }
        let mut sinks = Vec::new();
        for (name, span, body) in self.named(root.remove("sink"), "sink") {
            sinks.extend(self.sink(&name, span, body));
        }
        let produced: BTreeSet<String> =
            sources.iter().flat_map(|source| &source.routes).map(|route| route.stream.clone()).collect();
        self.streams(root.remove("stream"), &mut store, &produced);
        if sources.is_empty() && self.problems.is_empty() {
            self.problem(
                0..0,
                "there is no source".into(),
                Some("add a [source.NAME] with kind = \"mqtt\", \"file\" or \"serial\"".into()),
            );
        }
        if sinks.is_empty() && self.problems.is_empty() {
            let hint = "add a [sink.NAME] with kind = \"eventhubs\" or \"directory\"";
            self.problem(0..0, "there is no sink".into(), Some(hint.into()));
        }
        if self.problems.is_empty() {
            self.unread(&produced, &sinks, &store);
            self.unknown_streams(&produced, &sinks, &store);
            self.shared_names(&sources);
            self.folders(&state, &sources, &sinks);
            self.overlaps(&sources);
        }
        Config { device: self.device.clone(), state, store, sources, sinks, generation: 1 }
    }

    fn device_name(&mut self, value: Option<Spanned<DeValue<'_>>>) -> String {
        match self.top_text(value, "device") {
            Some(device) => {
                self.name(device.span(), device.get_ref());
                device.into_inner()
            }
            None => {
                let device = self.environment.host_name();
                self.assume(format!("device = \"{device}\" (the host's name)"));
                device
            }
        }
    }

    fn top_text(&mut self, value: Option<Spanned<DeValue<'_>>>, key: &str) -> Option<Spanned<String>> {
        let value = value?;
        let span = value.span();
        match value.get_ref().as_str() {
            Some(text) if !text.is_empty() => Some(Spanned::new(span, text.to_string())),
            _ => {
                self.problem(span, format!("`{key}` must be text, and not empty"), None);
                None
            }
        }
    }

    /// A stream that nobody reads would fill the store.
    fn unread(&mut self, produced: &BTreeSet<String>, sinks: &[super::Sink], store: &StoreConfig) {
        for stream in produced {
            let read = sinks.iter().any(|sink| match &sink.reader.streams {
                Selection::All => true,
                Selection::Named(names) => names.contains(stream),
            });
            let kept = store.streams.iter().any(|(name, rule)| name == stream && rule.keep.is_some());
            if !read && !kept {
                let hint = format!("name it in a sink's `from`, or set `keep` in [stream.{stream}]");
                self.problem(
                    0..0,
                    format!("no sink reads the stream `{stream}`, and nothing says how much to keep"),
                    Some(hint),
                );
            }
        }
    }

    /// The tables of `[source]`, `[sink]`, `[stream]`: name, where, body.
    fn named<'i>(&mut self, value: Option<Spanned<DeValue<'i>>>, what: &str) -> Vec<(String, Range<usize>, Table<'i>)> {
        let Some((_, tables)) = value.and_then(|value| self.table(value, what)) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        for (name, body) in tables {
            if what != "stream" || !crate::flow::record::is_own_stream(name.get_ref()) {
                self.name(name.span(), name.get_ref());
            }
            let label = format!("{what}.{}", name.get_ref());
            self.places.insert(label.clone(), name.span());
            if let Some((span, body)) = self.table(body, &label) {
                out.push((name.get_ref().to_string(), span, body));
            }
        }
        out
    }

    fn table<'i>(&mut self, value: Spanned<DeValue<'i>>, what: &str) -> Option<(Range<usize>, Table<'i>)> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some((span, table)),
            other => {
                let hint = format!("write it as [{what}] on a line of its own");
                self.problem(span, format!("`{what}` is a {} and must be a table", other.type_str()), Some(hint));
                None
            }
        }
    }

    /// Takes the `kind` out of a table, and says when it is missing or unknown.
    fn kind(&mut self, span: &Range<usize>, table: &mut Table<'_>, kinds: &[&str]) -> Option<String> {
        let hint = format!("one of: {}", kinds.join(", "));
        let Some(kind) = table.remove("kind") else {
            self.problem(span.clone(), "`kind` is missing".into(), Some(hint));
            return None;
        };
        let text = kind.get_ref().as_str().unwrap_or_default().to_string();
        if kinds.contains(&text.as_str()) {
            return Some(text);
        }
        let near = nearest(&text, kinds.iter().copied()).map(|word| format!("did you mean \"{word}\"?"));
        self.problem(kind.span(), format!("unknown kind `{text}`"), near.or(Some(hint)));
        None
    }

    /// Reads a struct. Each bad field is reported and taken out, then the rest is read again, so
    /// that nothing is left unsaid.
    fn fields<T: DeserializeOwned + Default>(&mut self, span: Range<usize>, mut table: Table<'_>) -> T {
        for _ in 0..=table.len() {
            let value = Spanned::new(span.clone(), DeValue::Table(table.clone()));
            let error = match T::deserialize(ValueDeserializer::from(value)) {
                Ok(fields) => return fields,
                Err(error) => error,
            };
            let at = error.span().unwrap_or_else(|| span.clone());
            let covers = |range: Range<usize>| range.start <= at.start && at.end <= range.end;
            let bad = table.iter().find(|(key, value)| covers(key.span()) || covers(value.span()));
            let key = bad.map(|(key, _)| key.get_ref().to_string());
            let (message, hint) = explain(error.message());
            self.problem(at, message, hint);
            match key {
                Some(key) => drop(table.remove(key.as_str())),
                None => break,
            }
        }
        T::default()
    }

    /// A required field, or a problem at its table.
    fn need<T>(&mut self, field: Option<T>, span: &Range<usize>, name: &str, example: &str) -> Option<T> {
        if field.is_none() {
            self.problem(
                span.clone(),
                format!("`{name}` is missing"),
                Some(format!("for example: {name} = {example}")),
            );
        }
        field
    }

    /// Names go into file names, event properties and partition keys.
    fn name(&mut self, span: Range<usize>, name: &str) {
        let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(good) {
            let hint = "letters, digits, `.`, `_` and `-`; at most 128";
            self.problem(span, format!("`{name}` cannot be a name"), Some(hint.into()));
        } else if crate::flow::record::is_own_stream(name) {
            self.problem(span, format!("`{name}`: names that begin with `forebay.` are Forebay's own"), None);
        }
    }

    fn problem(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        self.problems.push(Problem { span, message, hint });
    }

    fn warn(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        self.warnings.push(Problem { span, message, hint });
    }

    fn assume(&mut self, what: String) {
        self.assumed.push(what);
    }
}

/// serde's message in our words, with a hint. What stands in the file is not repeated: it may be a secret.
fn explain(message: &str) -> (String, Option<String>) {
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(String::from).collect::<Vec<_>>();
    if message.starts_with("unknown field") {
        let words = quoted(message);
        let (wrong, known) = words.split_first().map_or(("", &[][..]), |(wrong, known)| (wrong.as_str(), known));
        let near = nearest(wrong, known.iter().map(String::as_str)).map(|word| format!("did you mean `{word}`?"));
        let all = || format!("known here: {}", known.join(", "));
        return (format!("unknown key `{wrong}`"), Some(near.unwrap_or_else(all)));
    }
    if message.starts_with("unknown variant") {
        let words = quoted(message);
        let (wrong, known) = words.split_first().map_or(("", &[][..]), |(wrong, known)| (wrong.as_str(), known));
        return (format!("unknown value `{wrong}`"), Some(format!("one of: {}", known.join(", "))));
    }
    if let Some((found, wanted)) = message.split_once(", expected ") {
        let is_secret = wanted.contains("struct Reference");
        let found = match found.rsplit_once(": ").map_or("", |(_, found)| found) {
            found if found.starts_with("string") => "text stands here".to_string(),
            found if found.starts_with("integer") && !is_secret => {
                format!("{} stands here", quoted(found).first().map_or("a number", String::as_str))
            }
            found if found.starts_with("integer") => "a number stands here".to_string(),
            found if found.starts_with("floating") => "a number with a fraction stands here".to_string(),
            found if found.starts_with("boolean") => "true or false stands here".to_string(),
            found if found.starts_with("sequence") => "a list stands here".to_string(),
            found if found.starts_with("map") => "a table stands here".to_string(),
            _ => "something else stands here".to_string(),
        };
        let hint = is_secret.then(|| {
            "a secret does not stand in this file: { env = \"NAME\" }, { file = \"/path\" } or \
             { credential = \"NAME\" } says where it is"
                .to_string()
        });
        return (format!("{found}, and {} is wanted", wanted_in_words(wanted)), hint);
    }
    (message.to_string(), None)
}

/// A type of the reader as a person knows it.
fn wanted_in_words(wanted: &str) -> &'static str {
    match wanted.split_whitespace().next().unwrap_or_default() {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i64" | "isize" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        _ if wanted.contains("struct Reference") => "the place of a secret",
        _ if wanted.contains("string") => "text in quotes",
        _ if wanted.contains("boolean") => "true or false",
        _ if wanted.contains("sequence") => "a list in brackets",
        _ if wanted.contains("map") || wanted.contains("struct") => "a table",
        _ => "another value",
    }
}
