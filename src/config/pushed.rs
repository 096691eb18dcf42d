//! A pushed document over the local file: its sources, sinks, streams and alerts take the place of the local ones.
//!
//! Everything else stays what the local file says: who the device is, where its store and its secrets are, who may push,
//! and what a document may use. A document names no variable and no file of the device.

use super::include::Table;
use crate::control::document::{FLEET, split};
use crate::section::value::parse;
use crate::section::{Data, Problem, Texts, Value};
use std::path::PathBuf;

/// What a document may have, besides `[fleet]`. What it has takes the place of all of its kind.
const ALLOWED: [&str; 7] = ["source", "sink", "stream", "alert", "alerts", "heartbeat", "otlp"];
/// Words that name something on the device.
const REFERENCES: [&str; 3] = ["env", "file", "credential"];
/// The name of the document in messages.
pub const NAME: &str = "the pushed document";

/// Puts a document's tables into the table of the local file. The error has the problems, and whether the text is not
/// TOML.
pub(super) fn lay(root: &mut Table, document: &str, texts: &mut Texts) -> Result<(), (Vec<Problem>, bool)> {
    let body = split(document).0;
    let base = texts.add(Some(NAME.into()), body);
    let table = parse(body, base).map_err(|problems| (problems, true))?;
    let mut problems = Vec::new();
    for (key, value) in &table {
        if key.name != FLEET && !ALLOWED.contains(&key.name.as_str()) {
            let hint = format!("a document may have: {}", ALLOWED.join(", "));
            let message = format!("`{}` stands in the local file only, and cannot be pushed", key.name);
            problems.push(Problem { span: key.span.clone(), message, hint: Some(hint) });
        }
        references(value, &mut problems);
    }
    if !problems.is_empty() {
        return Err((problems, false));
    }
    for (key, value) in table.into_iter().filter(|(key, _)| key.name != FLEET) {
        root.retain(|(local, _)| local.name != key.name);
        root.push((key, value));
    }
    Ok(())
}

/// Finds values that would come from a variable or a file of the device.
fn references(value: &Value, problems: &mut Vec<Problem>) {
    match &value.data {
        Data::Table(table) => {
            let names: Vec<&str> = table.iter().map(|(key, _)| key.name.as_str()).collect();
            let is_reference = |name: &str| {
                REFERENCES.contains(&name) && names.iter().all(|other| *other == name || *other == "default")
            };
            // A table of this name, such as `[source.file]`, refers to nothing.
            let is_value =
                |name: &str| table.iter().any(|(key, value)| key.name == name && !matches!(value.data, Data::Table(_)));
            if let Some(name) = names.iter().find(|name| is_reference(name) && is_value(name)) {
                let message = format!("a pushed document cannot name `{name}` of the device");
                let hint = "secrets: { secret = \"NAME\" }, with [secret.NAME] in the local file";
                problems.push(Problem { span: value.span.clone(), message, hint: Some(hint.into()) });
            }
            for (_, value) in table {
                references(value, problems);
            }
        }
        Data::List(list) => {
            for value in list {
                references(value, problems);
            }
        }
        _ => {}
    }
}

/// Keys whose values are files that hold something secret.
const FILES: [&str; 4] = ["file", "key", "token_file", "password_file"];

/// The files that a local file names as secrets and keys.
pub(super) fn own_files(root: &Table) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (key, value) in root {
        files(&key.name, value, &mut found);
    }
    found
}

fn files(key: &str, value: &Value, found: &mut Vec<PathBuf>) {
    match &value.data {
        Data::Text(path) if FILES.contains(&key) => found.push(path.into()),
        Data::Table(table) => {
            for (key, value) in table {
                files(&key.name, value, found);
            }
        }
        Data::List(list) => {
            for value in list {
                files(key, value, found);
            }
        }
        _ => {}
    }
}
