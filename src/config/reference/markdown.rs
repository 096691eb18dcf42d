//! `docs/configuration.md`: every key as a page.

use super::{Kind, Reference, Table};
use crate::section::catalog::{Entry, Shape};
use std::fmt::Write as _;

const HEAD: &str = "# Configuration: every key

A configuration is one TOML file. `forebay check FILE` says what is wrong with it, what it leaves open and where
its sinks send. This page is made by `forebay config keys` from the code that reads the keys; `forebay config schema`
prints the same as a JSON Schema, `forebay sample-config [KIND...]` an example.

- **Durations** are text with a unit: `\"250ms\"`, `\"5s\"`, `\"10m\"`, `\"2h\"`, `\"30d\"`. **Sizes** are text with a unit: `\"512B\"`, `\"64KiB\"`, `\"64MiB\"`, `\"2GiB\"`, `\"1MB\"`.
- **Secrets** never stand in the file. `{ env = \"NAME\" }` takes an environment variable, `{ file = \"/path\" }` a file, `{ credential = \"NAME\" }` a credential of systemd. A file is read again when a connection is made: a rotated key counts without a restart.
- **Other values** may come from outside too, so that many gateways share one file: `{ env = \"SITE\", default = \"lab\" }` or `{ file = \"/etc/site\" }` in place of any single value; lists and tables have to stand here.
- **Several files**: `include = [\"conf.d/*.toml\"]` at the top adds the sources, sinks and streams of other files. Paths count from the folder of the first file. Each name stands once in all of them.
- **Names** of devices, sources, sinks and streams have letters, digits, `.`, `_` and `-`, at most 128.
";

impl Reference {
    /// Writes the reference page.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::from(HEAD);
        out.push_str("\n## The whole file\n");
        self.root.iter().filter(|table| table.place.is_empty()).for_each(|table| rows(&mut out, table));
        for table in self.root.iter().filter(|table| !table.place.is_empty()) {
            let _ = write!(out, "\n## `[{}]`\n", table.place);
            rows(&mut out, table);
        }
        out.push_str("\n## `[stream.NAME]`\n");
        self.stream.iter().for_each(|table| rows(&mut out, table));
        out.push_str("\n## `[alert.NAME]`\n");
        self.alert.iter().for_each(|table| rows(&mut out, table));
        for (what, kinds) in [("source", &self.sources), ("sink", &self.sinks)] {
            for kind in kinds {
                section(&mut out, what, kind);
            }
        }
        out.push_str("\n# Keys that several sections have\n");
        for table in self.groups() {
            let depth = if table.place.contains("].") { "###" } else { "##" };
            let _ = write!(out, "\n{depth} {}\n", title(&table.place));
            rows(&mut out, table);
        }
        out
    }
}

fn section(out: &mut String, what: &str, kind: &Kind) {
    let _ = write!(out, "\n## `[{what}.NAME]` with `kind = \"{}\"`\n\n{}\n", kind.name, kind.doc);
    for table in kind.tables.iter().filter(|table| !table.place.starts_with('[')) {
        if table.place.matches('.').count() > 1 {
            let _ = write!(out, "\n### `{}`\n", table.place);
        }
        if !table.groups.is_empty() {
            let links: Vec<String> = table.groups.iter().map(|group| link(group)).collect();
            let _ = write!(out, "\nBesides, all keys of {}.\n", links.join(", "));
        }
        rows(out, table);
    }
}

/// Makes the heading of a table: `time` for `[messages].time`.
fn title(place: &str) -> String {
    match place.split_once("].") {
        Some((_, table)) => format!("`{table}`"),
        None => {
            let name = place.trim_matches(['[', ']']);
            name[..1].to_uppercase() + &name[1..]
        }
    }
}

fn link(group: &str) -> String {
    format!("[{group}](#{})", group.replace(' ', "-"))
}

fn rows(out: &mut String, table: &Table) {
    if table.entries.is_empty() {
        return;
    }
    out.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
    for entry in &table.entries {
        let default = match (&entry.default, entry.is_required) {
            (Some(when), true) if !when.is_empty() => format!("**needed**{}", when.trim_start_matches("needed")),
            (_, true) => "**needed**".to_string(),
            (Some(default), _) if default.starts_with(['"', '[']) || default.parse::<f64>().is_ok() => {
                format!("`{default}`")
            }
            (Some(default), _) if matches!(default.as_str(), "true" | "false") => format!("`{default}`"),
            (Some(default), _) => default.clone(),
            (None, _) => String::new(),
        };
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", entry.key, words(&entry.shape), meaning(entry));
    }
}

fn meaning(entry: &Entry) -> String {
    let mut text = entry.doc.to_string();
    if let Shape::Choice(choices) = &entry.shape {
        for (word, doc) in choices {
            let _ = write!(text, "<br>`\"{word}\"`: {doc}");
        }
    }
    if let Some(range) = &entry.range {
        let _ = write!(text, " Allowed: {range}.");
    }
    if let Some(example) = entry.example.as_ref().filter(|_| entry.default.is_none() || entry.is_required) {
        let _ = write!(text, " Example: `{example}`.");
    }
    text.replace('|', "\\|")
}

fn words(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".into(),
        Shape::Span => "duration".into(),
        Shape::Bytes => "size".into(),
        Shape::Integer => "whole number".into(),
        Shape::Number => "number".into(),
        Shape::Bool => "true or false".into(),
        Shape::Choice(_) => "one of".into(),
        Shape::Secret => "secret".into(),
        Shape::List(of) => format!("list of {}", plural(of)),
        Shape::Map(of) if **of == Shape::Table => "tables by name".into(),
        Shape::Map(of) => format!("table of {}", plural(of)),
        Shape::Either(one, other) => format!("{} or {}", words(one), words(other)),
        Shape::Table => "table".into(),
        Shape::Tables => "list of tables".into(),
    }
}

fn plural(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text => "texts",
        Shape::Choice(_) => "words",
        _ => "values",
    }
}
