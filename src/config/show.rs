//! The configuration as it counts, written as TOML: the local file with what it includes, and the pushed document over
//! it. Nothing that looks like a secret is shown.

use super::{Environment, Gathered, Options, Report, gathered};
use crate::section::{Data, Key, Value, redact};
use std::fmt::Write;

/// The effective configuration.
///
/// # Errors
/// The problems, when a text cannot be read.
pub fn effective(text: &str, environment: &dyn Environment, options: Options<'_>) -> Result<String, Report> {
    let Gathered { root, .. } = gathered(text, environment, options)?;
    let mut out = String::new();
    table(&mut out, "", &root);
    Ok(redact::text(out.trim_start()))
}

/// A table: its own values first, then the tables below it under their full names.
fn table(out: &mut String, path: &str, entries: &[(Key, Value)]) {
    let is_section = |value: &Value| match &value.data {
        // Below a part, a table of texts alone is one value: a reference to a value outside, or a few names.
        Data::Table(entries) => {
            !path.contains('.') || !entries.iter().all(|(_, value)| matches!(value.data, Data::Text(_)))
        }
        Data::List(list) => !list.is_empty() && list.iter().all(|value| matches!(value.data, Data::Table(_))),
        _ => false,
    };
    let (sections, values): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, value)| is_section(value));
    for (name, value) in values {
        let shown = match &value.data {
            // The address of a hook is often the secret itself.
            Data::Text(url) if name.name == "url" && (path.starts_with("alerts") || path.starts_with("otlp")) => {
                quoted(&place_of(url))
            }
            data => inline(data),
        };
        // Text always takes more text.
        let _ = writeln!(out, "{} = {shown}", key(&name.name));
    }
    for (name, value) in sections {
        let path = if path.is_empty() { key(&name.name) } else { format!("{path}.{}", key(&name.name)) };
        match &value.data {
            Data::Table(entries) => {
                // A table of tables alone needs no line of its own.
                if entries.iter().any(|(_, value)| !matches!(value.data, Data::Table(_))) || entries.is_empty() {
                    let _ = writeln!(out, "\n[{path}]");
                }
                table(out, &path, entries);
            }
            Data::List(list) => {
                for value in list {
                    let _ = writeln!(out, "\n[[{path}]]");
                    if let Data::Table(entries) = &value.data {
                        table(out, &path, entries);
                    }
                }
            }
            _ => {}
        }
    }
}

/// An address without what stands behind its host.
fn place_of(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    match rest.split_once('/') {
        Some((host, path)) if !path.is_empty() => format!("{scheme}://{host}/..."),
        _ => url.into(),
    }
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare { name.into() } else { quoted(name) }
}

fn inline(data: &Data) -> String {
    match data {
        Data::Text(text) => quoted(text),
        Data::Integer(number) => number.to_string(),
        Data::Float(number) => format!("{number:?}"),
        Data::Bool(truth) => truth.to_string(),
        // No setting has a time without quotes.
        Data::Time => "\"(a time)\"".into(),
        Data::List(list) => {
            format!("[{}]", list.iter().map(|value| inline(&value.data)).collect::<Vec<_>>().join(", "))
        }
        Data::Table(entries) => {
            let entry = |(name, value): &(Key, Value)| format!("{} = {}", key(&name.name), inline(&value.data));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A text as a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{System, load_with};

    #[test]
    fn what_is_shown_can_be_read_and_is_the_same() {
        let text = r#"
device = "hall-3"
heartbeat = "5m"
[store]
cap = "64MiB"
[secret.hub]
env = "HUB"
[source.a]
kind = "file"
path = "/a\\b/*.log"
decoder = "csv"
constants = { site = "n\"1" }
reduce = { deadband = { t = 0.5 } }
[[source.m.slave]]
unit = 1
registers = [{ name = "t", address = 3, type = "i16" }]
[source.m]
kind = "modbus"
tcp = "127.0.0.1:502"
[sink.d]
kind = "directory"
path = "/d"
[alert.x]
stream = "readings"
field = "t"
above = 3
"#;
        let options = Options { without_secrets: true, ..Options::default() };
        let shown = effective(text, &System, options).unwrap();
        let read = |text: &str| load_with(text, &System, options).map(|(config, _)| config);
        match (read(text), read(&shown)) {
            (Ok(one), Ok(other)) => assert!(one == other, "{shown}"),
            (one, other) => panic!(
                "{:?}\n{shown}\n{:?}",
                one.map_err(|e| e.to_string()).err(),
                other.map_err(|e| e.to_string()).err()
            ),
        }
        assert!(shown.contains("[secret.hub]\nenv = \"HUB\""), "{shown}");
    }

    #[test]
    fn the_address_of_a_hook_is_not_shown() {
        let text = "[alerts]\nwebhook = { url = \"https://hooks.example.com/T0/B0/abcdefgh\" }\n[otlp]\nurl = \"https://o.example.com\"\n";
        let shown = effective(text, &System, Options::default()).unwrap();
        assert!(shown.contains("https://hooks.example.com/...") && !shown.contains("abcdefgh"), "{shown}");
        assert!(shown.contains("\"https://o.example.com\""), "{shown}");
    }
}
