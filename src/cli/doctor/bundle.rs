//! `--bundle`: an archive for support. No secret is in it: those of the configuration are not in its file, and what looks
//! like one is masked.

use super::Desk;
use crate::config::Config;
use crate::section::redact;
use crate::store::inspect;
use crate::telemetry::people;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

/// The newest lines of the journal that are taken.
const LINES: &str = "2000";

/// Lists what goes into the archive, and writes it.
pub fn write(
    file: &Path,
    config_file: &Path,
    config: Option<&Config>,
    findings: &str,
    running: Option<&Desk>,
) -> io::Result<()> {
    let mut contents = vec![
        ("findings.txt", "what is printed above", findings.to_string()),
        ("version.txt", "the version, the kernel, the machine's kind", version()),
        ("config.toml", "the configuration, with what looks like a secret masked", configuration(config_file)),
        ("system.txt", "mounts, memory, limits of this machine", system()),
    ];
    if let Some(config) = config {
        contents.push(("store.txt", "streams and readers of the store, and no record", store(&config.state)));
    }
    if let Some(desk) = running {
        let answer = |path: &str| desk.ask(path).unwrap_or_else(|why| why);
        contents.push(("status.json", "the state of the running agent", answer("/api/v1/status")));
        contents.push(("metrics.txt", "its numbers", answer("/metrics")));
        contents.push(("log.json", "its last 200 log lines", answer("/api/v1/log")));
        contents.push(("history.json", "what waited over the last day", answer("/api/v1/history")));
    }
    if let Some(journal) = journal() {
        contents.push(("journal.txt", "the last 2000 lines of the service in the journal", journal));
    }
    say!("{} will have:", file.display());
    for (name, about, text) in &contents {
        say!("  {name:13} {:>9}  {about}", people::size(text.len() as u64));
    }
    // What is there already is not overwritten, and only the owner may read it.
    let out: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    for (name, _, text) in &contents {
        let text = redact::text(&without_paths(text));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, format!("forebay-support/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.sync_all()?;
    say!("written; look into it before you send it: tar xzf {}", file.display());
    Ok(())
}

/// Masks what stands behind the host in addresses of the web: the path of a webhook is its secret.
fn without_paths(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = |c: char| c.is_whitespace() || c.is_control() || "\"'<>`\\".contains(c);
        let address = &after[..after.find(end).unwrap_or(after.len())];
        let host = address.find(['/', '?', '#']).unwrap_or(address.len());
        out.push_str(&address[..host]);
        if host < address.len() {
            out.push_str("/***");
        }
        rest = &after[address.len()..];
    }
    out + rest
}

fn version() -> String {
    let system = rustix::system::uname();
    let [kernel, release, kind] =
        [system.sysname(), system.release(), system.machine()].map(|text| text.to_string_lossy().into_owned());
    let release_file = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    format!("forebay {}\n{kernel} {release} {kind}\n{release_file}", env!("CARGO_PKG_VERSION"))
}

fn configuration(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| error.to_string());
    text.lines().map(|line| redact::line(line, false) + "\n").collect()
}

fn system() -> String {
    let mut out = String::new();
    for path in ["/proc/self/mounts", "/proc/meminfo", "/proc/self/limits", "/proc/loadavg", "/proc/uptime"] {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
        // Text always takes more text.
        let _ = write!(out, "== {path}\n{text}\n");
    }
    out
}

fn store(state: &Path) -> String {
    match inspect::view(state) {
        Ok(Some(view)) => {
            let mut out = format!(
                "{} segments, {} bytes; {} spare, {} damaged; closed in order: {}\n",
                view.segments, view.segment_bytes, view.spares, view.damaged, view.clean
            );
            for stream in &view.streams {
                let readers: Vec<String> =
                    stream.readers.iter().map(|reader| format!("{} at {}", reader.name, reader.next)).collect();
                let _ = writeln!(
                    out,
                    "{}: {} to {}, {} bytes; {}",
                    stream.name,
                    stream.first,
                    stream.last,
                    stream.bytes,
                    readers.join(", ")
                );
            }
            for finding in &view.findings {
                let _ = writeln!(out, "{finding}");
            }
            out
        }
        Ok(None) => "there is no store yet\n".into(),
        Err(error) => format!("{error}\n"),
    }
}

/// The journal of the service, where there is one.
fn journal() -> Option<String> {
    let done = Command::new("journalctl")
        .args(["-u", "forebay", "-n", LINES, "--no-pager", "-o", "short-iso"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    (done.status.success() && !text.trim().is_empty() && !text.contains("-- No entries --")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_address_is_masked_and_its_host_is_not() {
        for (text, expected) in [
            (
                "url = \"https://hooks.slack.com/services/T0/B1/abcDEF\" # x",
                "url = \"https://hooks.slack.com/***\" # x",
            ),
            ("a http://h:1?key=s b mqtt://b/x", "a http://h:1/*** b mqtt://b/***"),
            ("https://h", "https://h"),
            ("no address: /etc/x", "no address: /etc/x"),
        ] {
            assert_eq!(without_paths(text), expected);
        }
    }
}
