//! `configs/full.toml` and `forebay sample-config`: an example with every key, valid as it is.

use super::{Kind, Reference, Table};
use crate::section::catalog::{Entry, Shape};
use crate::section::nearest;
use std::fmt::Write as _;

const HEAD: &str = "\
#:schema ./forebay.schema.json
# Every key of the kinds that are named, made by `forebay sample-config`. What must be there stands as it is; everything
# else is a comment with its default or an example. docs/configuration.md says what each key means.
";
/// Width of comments, in characters.
const WIDTH: usize = 110;

impl Reference {
    /// A file with the kinds that are named, or with all.
    ///
    /// # Errors
    /// When a kind is not known.
    pub fn sample(&self, kinds: &[String]) -> Result<String, String> {
        let all = || self.sources.iter().chain(&self.sinks);
        for name in kinds {
            if !all().any(|kind| kind.name == name) {
                let names: Vec<&str> = all().map(|kind| kind.name).collect();
                let near = nearest(name, names.iter().copied());
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                return Err(format!("there is no kind `{name}`; {near}there are: {}", names.join(", ")));
            }
        }
        let chosen = |list: &'_ [Kind], usual: &str| -> Vec<usize> {
            let named = |kind: &Kind| kinds.is_empty() || kinds.iter().any(|name| name == kind.name);
            let found: Vec<usize> = (0..list.len()).filter(|at| named(&list[*at])).collect();
            // A file without sources or without sinks is not valid. So the kind `usual` is added where no kind was
            // named.
            if found.is_empty() { (0..list.len()).filter(|at| list[*at].name == usual).collect() } else { found }
        };
        let mut out = String::from(HEAD);
        for table in &self.root {
            // A table that needs a key, or whose tables do, is for those who want it.
            let is_asked = |table: &Table| table.entries.iter().any(|entry| entry.is_required);
            let first = table.place.split('.').next().unwrap_or_default();
            let is_optional = !first.is_empty()
                && self.root.iter().filter(|other| other.place.split('.').next() == Some(first)).any(is_asked);
            let mark = if is_optional { "# " } else { "" };
            if !table.place.is_empty() {
                let _ = write!(out, "\n{mark}[{}]\n", table.place);
            }
            let keys = table.entries.iter().filter(|entry| !matches!(entry.shape, Shape::Table | Shape::Map(_)));
            keys.for_each(|entry| key(&mut out, entry, mark));
        }
        out.push_str("\n# [stream.readings]\n");
        self.stream.iter().flat_map(|table| &table.entries).for_each(|entry| key(&mut out, entry, "# "));
        out.push_str("\n# [alert.my-alert]\n");
        self.alert.iter().flat_map(|table| &table.entries).for_each(|entry| key(&mut out, entry, "# "));
        for at in chosen(&self.sources, "mqtt") {
            Self::section(&mut out, "source", &self.sources[at]);
        }
        for at in chosen(&self.sinks, "directory") {
            Self::section(&mut out, "sink", &self.sinks[at]);
        }
        Ok(out)
    }

    fn section(out: &mut String, what: &str, kind: &Kind) {
        let _ = write!(out, "\n# {}\n[{what}.my-{}]\nkind = \"{}\"\n", kind.doc, kind.name, kind.name);
        let own = format!("{what}.NAME");
        let tables: Vec<&Table> = kind.tables.iter().filter(|table| !table.place.starts_with('[')).collect();
        for table in tables.iter().filter(|table| table.place == own) {
            let simple = |entry: &&Entry| !matches!(entry.shape, Shape::Table | Shape::Tables);
            table.entries.iter().filter(simple).for_each(|entry| key(out, entry, ""));
            for place in table.groups.iter().map(|group| format!("[{group}]")) {
                let group = kind.tables.iter().find(|table| table.place == place);
                let entries = group.into_iter().flat_map(|table| &table.entries);
                entries.filter(simple).for_each(|entry| key(out, entry, "# "));
            }
            // A Modbus source needs one of `tcp` and `path`. The example has the simpler one.
            out.push_str(match kind.name {
                "modbus" => "tcp = \"10.0.0.5:502\"\n",
                _ => "",
            });
        }
        for table in kind.tables.iter().filter(|table| table.place != own && table.place.contains('.')) {
            let is_list = |table: &Table| {
                let name = table.place.rsplit('.').next().unwrap_or_default();
                let entries = kind.tables.iter().flat_map(|table| &table.entries);
                entries.filter(|entry| entry.key == name).any(|entry| entry.shape == Shape::Tables)
            };
            let place = table.place.trim_start_matches('[').replacen("NAME", &format!("my-{}", kind.name), 1);
            let place = match place.split_once("].") {
                Some((_, inner)) => format!("{what}.my-{}.{inner}", kind.name),
                None => place,
            };
            let last = place.rsplit('.').next().unwrap_or_default();
            let needed = kind.name == "modbus" && ["slave", "registers"].contains(&last);
            let (comment, heading) = (
                if needed { "" } else { "# " },
                if is_list(table) { format!("[[{place}]]") } else { format!("[{place}]") },
            );
            let _ = write!(out, "\n{comment}{heading}\n");
            let simple = |entry: &&Entry| !matches!(entry.shape, Shape::Table | Shape::Tables);
            table.entries.iter().filter(simple).for_each(|entry| key(out, entry, comment));
        }
    }
}

/// Writes a key with its meaning. A key that is not required is written as a comment.
fn key(out: &mut String, entry: &Entry, comment: &str) {
    let mut line = String::new();
    for word in entry.doc.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() >= WIDTH {
            let _ = writeln!(out, "# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "# {line}");
    if let Shape::Choice(choices) = &entry.shape {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let _ = writeln!(out, "# One of: {}.", words.join(", "));
    }
    let is_toml = |text: &&String| {
        text.starts_with(['"', '\'', '[', '{'])
            || matches!(text.as_str(), "true" | "false")
            || text.parse::<f64>().is_ok()
    };
    let default = entry.default.as_ref().filter(|_| !entry.is_required);
    let value = default.filter(is_toml).or(entry.example.as_ref());
    let value = value.cloned().unwrap_or_else(|| example(&entry.shape));
    let comment = if entry.is_required { comment } else { "# " };
    let _ = writeln!(out, "{comment}{} = {value}", entry.key);
}

fn example(shape: &Shape) -> String {
    let example = match shape {
        Shape::Choice(choices) => return format!("\"{}\"", choices.first().map_or("..", |(word, _)| word)),
        Shape::Text => "\"..\"",
        Shape::Span => "\"10s\"",
        Shape::Bytes => "\"1MiB\"",
        Shape::Integer | Shape::Number => "1",
        Shape::Bool => "true",
        Shape::Secret => "{ env = \"NAME\" }",
        Shape::Either(one, _) => return example(one),
        Shape::List(_) | Shape::Tables => "[]",
        Shape::Map(_) | Shape::Table => "{}",
    };
    example.into()
}
