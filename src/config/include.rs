//! `include = ["conf.d/*.toml"]`: several files read as one.

use super::Environment;
use crate::section::value::parse;
use crate::section::{Data, Key, Problem, Texts, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The tables whose members may be spread over all files.
const SHARED: [&str; 3] = ["source", "sink", "stream"];
const INCLUDE: &str = "include";

pub(super) type Table = Vec<(Key, Value)>;

/// The whole configuration as one table. The error has the problems, and whether a text is not TOML.
pub(super) fn gather(
    text: &str,
    texts: &mut Texts,
    environment: &dyn Environment,
    path: Option<&Path>,
) -> Result<Table, (Vec<Problem>, bool)> {
    let mut root = parse(text, 0).map_err(|problems| (problems, true))?;
    let Some(at) = root.iter().position(|(key, _)| key.name == INCLUDE) else { return Ok(root) };
    let (_, include) = root.remove(at);
    let mut problems = Vec::new();
    let mut read: BTreeSet<PathBuf> = path.map(whole).into_iter().collect();
    for (pattern, span) in patterns(&include, &mut problems) {
        let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let problem = |message: String| Problem { span: span.clone(), message, hint: None };
        // The folder is escaped: only the text of the configuration is a pattern.
        let escaped = glob::Pattern::escape(&folder.to_string_lossy());
        let files = match environment.files(&Path::new(&escaped).join(&pattern).to_string_lossy()) {
            Ok(files) => files,
            Err(error) => {
                problems.push(problem(format!("`{pattern}` cannot be read: {error}")));
                continue;
            }
        };
        // A pattern may match no file yet. A file that is named without wildcards must be there.
        if files.is_empty() && !pattern.contains(['*', '?', '[']) {
            problems.push(problem(format!("there is no file {}", folder.join(&pattern).display())));
        }
        for file in files {
            if !read.insert(whole(&file)) {
                continue;
            }
            let included = match environment.file(&file) {
                Ok(included) => included,
                Err(error) => {
                    problems.push(problem(format!("cannot read {}: {error}", file.display())));
                    continue;
                }
            };
            let base = texts.add(Some(file.display().to_string()), &included);
            match parse(&included, base) {
                Ok(table) => merge(&mut root, table, &mut problems),
                Err(found) => return Err((found, true)),
            }
        }
    }
    if problems.is_empty() { Ok(root) } else { Err((problems, false)) }
}

/// The canonical path of a file, which is the same however the path is written.
fn whole(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.into())
}

fn patterns(include: &Value, problems: &mut Vec<Problem>) -> Vec<(String, std::ops::Range<usize>)> {
    let mut wrong = |value: &Value| {
        let message = format!("{} stands here, and a list of paths is wanted", value.data.words(true));
        let hint = Some("for example: include = [\"conf.d/*.toml\"]".into());
        problems.push(Problem { span: value.span.clone(), message, hint });
    };
    let Data::List(list) = &include.data else {
        wrong(include);
        return Vec::new();
    };
    let mut patterns = Vec::new();
    for value in list {
        match &value.data {
            Data::Text(text) => patterns.push((text.clone(), value.span.clone())),
            _ => wrong(value),
        }
    }
    patterns
}

/// Adds the tables of an included file.
fn merge(root: &mut Table, included: Table, problems: &mut Vec<Problem>) {
    for (key, value) in included {
        let twice = |key: &Key| Problem {
            span: key.span.clone(),
            message: format!("`{}` stands in another file too", key.name),
            hint: Some("each name and each key stands once in all files together".into()),
        };
        if key.name == INCLUDE {
            let message = "an included file includes no others".into();
            problems.push(Problem { span: key.span, message, hint: None });
            continue;
        }
        let Some((_, known)) = root.iter_mut().find(|(known, _)| known.name == key.name) else {
            root.push((key, value));
            continue;
        };
        match (&mut known.data, value.data) {
            (Data::Table(known), Data::Table(more)) if SHARED.contains(&key.name.as_str()) => {
                for (name, value) in more {
                    if known.iter().any(|(known, _)| known.name == name.name) {
                        problems.push(twice(&name));
                    } else {
                        known.push((name, value));
                    }
                }
            }
            _ => problems.push(twice(&key)),
        }
    }
}
