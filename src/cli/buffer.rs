//! `forebay buffer`: shows a store, also beside a running agent; repairs a stopped store.

use super::{fail, place};
use crate::encode::ndjson;
use crate::flow::hex::hex;
use crate::platform::clock;
use crate::section::Span;
use crate::store::inspect::{self, Section, View};
use crate::store::{OpenError, Store};
use crate::telemetry::people::{age, size, visible};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// With more positions of a source than this, only their number is shown.
const SHOWN: usize = 8;

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List streams, ranges, sizes, cursors; exit 1 when something was found to be wrong
    Ls {
        /// The state directory, or a configuration that names it; else the usual configuration
        dir: Option<PathBuf>,
    },
    /// Show decoded records
    Show {
        /// The state directory, or a configuration that names it
        dir: PathBuf,
        /// Only this stream
        stream: Option<String>,
        /// From this sequence on
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// At most so many records
        #[arg(long, default_value_t = 20)]
        limit: u64,
    },
    /// Write records to standard output as NDJSON, one JSON object a line
    Export {
        /// The state directory, or a configuration that names it
        dir: PathBuf,
        /// Only this stream (default: every stream that is not Forebay's own)
        stream: Option<String>,
        /// From this sequence on
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Up to this sequence
        #[arg(long, default_value_t = u64::MAX)]
        to: u64,
    },
    /// Read every record back; exit 1 when something does not read
    Verify {
        /// The state directory, or a configuration that names it; else the usual configuration
        dir: Option<PathBuf>,
    },
    /// Write damaged segments anew without the damage, make the index again; the agent must be stopped
    Repair {
        /// The state directory, or a configuration that names it; else the usual configuration
        dir: Option<PathBuf>,
    },
    /// Forget where a reader stands that is not configured any more; the agent must be stopped
    Forget {
        /// The state directory, or a configuration that names it
        dir: PathBuf,
        /// The reader: the name of a sink
        reader: String,
    },
    /// Give up a stream's oldest records for good; the agent must be stopped
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Trim {
        /// The state directory, or a configuration that names it
        dir: PathBuf,
        /// The stream
        stream: String,
        /// Records below this sequence
        #[arg(long, group = "which")]
        before: Option<u64>,
        /// Records that arrived longer ago than this, such as 7d or 12h; whole commits at a time
        #[arg(long, group = "which")]
        older_than: Option<Span>,
    },
}

impl What {
    fn given(&self) -> Option<&PathBuf> {
        match self {
            Self::Ls { dir } | Self::Verify { dir } | Self::Repair { dir } => dir.as_ref(),
            Self::Show { dir, .. } | Self::Export { dir, .. } | Self::Forget { dir, .. } | Self::Trim { dir, .. } => {
                Some(dir)
            }
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let dir = &match place::state(arguments.what.given()) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    let view = match inspect::view(dir) {
        Ok(Some(view)) => view,
        Ok(None) => return fail(2, format_args!("{} has no store", dir.display())),
        Err(error) => return fail(2, format_args!("cannot read {}: {error}", dir.display())),
    };
    let done = match &arguments.what {
        What::Ls { .. } => list(&view),
        What::Show { stream, from, limit, .. } => show(dir, &view, stream.as_deref(), *from, *limit),
        What::Export { stream, from, to, .. } => export(dir, &view, stream.as_deref(), *from, *to),
        What::Verify { .. } => verify(dir),
        What::Repair { .. } => repair(dir),
        What::Forget { reader, .. } => forget(dir, &view, reader),
        What::Trim { stream, before, older_than, .. } => trim(dir, &view, stream, *before, *older_than),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // The reader of the output has closed it: it has seen enough.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => fail(2, format_args!("{failure}")),
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read or write: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0}")]
    Wrong(String),
}

fn list(view: &View) -> Result<bool, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let stop = if view.clean { "closed in order" } else { "in use, or not closed in order" };
    writeln!(out, "store {}, epoch {}, {stop}", hex(&view.id), view.epoch >> 32)?;
    writeln!(out, "{} segments ({}), {} spare files", view.segments, size(view.segment_bytes), view.spares)?;
    if view.damaged > 0 {
        writeln!(out, "{} files with damaged bytes in damaged/", view.damaged)?;
    }
    writeln!(out, "\n{:<28} {:>12} {:>12} {:>10} {:>8}", "stream", "first", "last", "stored", "age")?;
    for stream in &view.streams {
        let age = stream.oldest_ms.map_or("-".into(), age_of);
        let (first, last, bytes) = (stream.first, stream.last, size(stream.bytes));
        writeln!(out, "{:<28} {first:>12} {last:>12} {bytes:>10} {age:>8}", stream.name)?;
        for reader in &stream.readers {
            let behind = (stream.last + 1).saturating_sub(reader.next.max(stream.first));
            let state = match (reader.is_configured, reader.has_begun) {
                (true, true) => format!("{behind} not delivered"),
                (true, false) => format!("{behind} not delivered: it has delivered nothing yet"),
                // Records that wait for a reader that is not configured are no backlog.
                (false, _) => "not configured: holds nothing back (`buffer forget` takes it off this list)".into(),
            };
            writeln!(out, "  reader {:<19} next {:>7}, {state}", reader.name, reader.next)?;
        }
    }
    let mut sources: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for (source, part, bytes) in &view.positions {
        sources.entry(source).or_default().push((part, *bytes));
    }
    for (source, parts) in sources {
        if parts.len() > SHOWN {
            let bytes: usize = parts.iter().map(|(part, bytes)| part.len() + bytes).sum();
            writeln!(out, "source {source}: {} positions ({})", parts.len(), size(bytes as u64))?;
        } else {
            for (part, bytes) in parts {
                writeln!(out, "source {source}: position of {part} ({bytes} bytes)")?;
            }
        }
    }
    for finding in &view.findings {
        writeln!(out, "found: {finding}")?;
    }
    out.flush()?;
    Ok(view.findings.is_empty())
}

/// A stream's name as it was given, if there is such a stream.
fn known<'a>(view: &View, stream: Option<&'a str>) -> Result<Option<&'a str>, Failure> {
    let Some(name) = stream else { return Ok(None) };
    if view.streams.iter().any(|stream| stream.name == name) {
        return Ok(Some(name));
    }
    let names: Vec<&str> = view.streams.iter().map(|stream| stream.name.as_str()).collect();
    Err(Failure::Wrong(format!("there is no stream `{name}`; there are: {}", names.join(", "))))
}

fn show(dir: &Path, view: &View, stream: Option<&str>, from: u64, limit: u64) -> Result<bool, Failure> {
    let stream = known(view, stream)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = limit;
    inspect::sections(
        dir,
        |name| stream.is_none_or(|wanted| wanted == name),
        from,
        |name, section| {
            let generation = section.head.generation;
            for (sequence, record) in section.records() {
                if left == 0 {
                    return Ok(false);
                }
                left -= 1;
                let age = age_of(record.arrival_ms);
                write!(out, "{name} {sequence}  {age} ago, generation {generation}, key {}", record.key)?;
                for (attribute, value) in &record.attributes {
                    write!(out, ", {attribute}={value}")?;
                }
                match std::str::from_utf8(record.payload) {
                    Ok(text) => writeln!(out, "\n    {}", visible(text.trim_end()))?,
                    Err(_) => writeln!(out, "\n    {} bytes: {}", record.payload.len(), hex(first(record.payload)))?,
                }
            }
            Ok(left > 0)
        },
    )?;
    out.flush()?;
    Ok(true)
}

fn first(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(64)]
}

fn export(dir: &Path, view: &View, stream: Option<&str>, from: u64, to: u64) -> Result<bool, Failure> {
    let stream = known(view, stream)?;
    let wanted = |name: &str| stream.map_or(!crate::flow::record::is_own_stream(name), |wanted| wanted == name);
    let mut out = BufWriter::new(io::stdout().lock());
    inspect::sections(dir, wanted, from, |name, section| {
        let head = serde_json::json!({ "stream": name, "epoch": section.head.epoch }).to_string();
        let mut line = Vec::new();
        for (sequence, record) in section.records().filter(|(sequence, _)| *sequence <= to) {
            line.clear();
            ndjson::line(&mut line, sequence, &record);
            // One JSON object: the stream and the epoch come before the members of a body's line.
            out.write_all(&head.as_bytes()[..head.len() - 1])?;
            out.write_all(b",")?;
            out.write_all(&line[1..])?;
        }
        // With one stream, no more records follow its last sequence. With several, the next stream follows.
        Ok(stream.is_none() || section.head.last() < to)
    })?;
    out.flush()?;
    Ok(true)
}

fn verify(dir: &Path) -> Result<bool, Failure> {
    let verified = inspect::verify(dir)?.unwrap_or_default();
    let (records, sections) = (verified.records, verified.sections);
    say!("{records} records in {sections} sections read back, {}", size(verified.bytes));
    if verified.given_up > 0 {
        say!("{} records had been given up for want of room", verified.given_up);
    }
    for problem in &verified.problems {
        say!("bad: {problem}");
    }
    for (stream, from, to) in &verified.missing {
        say!("missing: stream {stream}, sequences {from} to {to} ({} records)", to - from + 1);
    }
    Ok(verified.problems.is_empty() && verified.missing.is_empty())
}

fn repair(dir: &Path) -> Result<bool, Failure> {
    let (repaired, findings) = Store::repair(dir)?;
    for finding in &findings {
        say!("found: {finding}");
    }
    for problem in &repaired.problems {
        say!("bad: {problem}");
    }
    say!("{} segments written anew without their bad bytes, which are in damaged/", repaired.rewritten);
    let verified = inspect::verify(dir)?.unwrap_or_default();
    for (stream, from, to) in &verified.missing {
        say!("lost: stream {stream}, sequences {from} to {to} ({} records)", to - from + 1);
    }
    Ok(verified.problems.is_empty())
}

fn forget(dir: &Path, view: &View, reader: &str) -> Result<bool, Failure> {
    let mut all = view.streams.iter().flat_map(|stream| &stream.readers);
    if !all.clone().any(|known| known.name == reader) {
        let mut names: Vec<&str> = all.map(|known| known.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        return Err(Failure::Wrong(format!("there is no reader `{reader}`; there are: {}", names.join(", "))));
    }
    if all.any(|known| known.name == reader && known.is_configured) {
        let problem = format!("`{reader}` was configured when the agent ran last: it would send everything again");
        return Err(Failure::Wrong(format!("{problem}; take it out of the configuration and start the agent once")));
    }
    let streams = Store::forget(dir, reader)?;
    say!("reader {reader}: forgotten in {streams} stream(s)");
    Ok(true)
}

fn trim(dir: &Path, view: &View, stream: &str, before: Option<u64>, older: Option<Span>) -> Result<bool, Failure> {
    known(view, Some(stream))?;
    let below = match (before, older) {
        (Some(sequence), _) => sequence,
        (None, Some(span)) => {
            let now = clock::wall_ms();
            if !clock::is_credible(now) {
                let problem = format!("this machine's clock says {}: ages are not known", clock::utc(now));
                return Err(Failure::Wrong(format!("{problem}; set it, or use --before SEQUENCE")));
            }
            let cutoff = now - i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX);
            let (mut below, mut unknown) = (0, 0);
            inspect::sections(
                dir,
                |name| name == stream,
                0,
                |_, section: Section| {
                    // A record that arrived before the clock was set is old if a later record is old.
                    if !clock::was_credible(section.head.arrival_max) {
                        unknown += u64::from(section.head.count);
                        return Ok(true);
                    }
                    let old = section.head.arrival_max < cutoff;
                    if old {
                        (below, unknown) = (section.head.last() + 1, 0);
                    }
                    Ok(old)
                },
            )?;
            if unknown > 0 {
                say!("{unknown} records arrived before the clock was set: their age is not known, they stay");
            }
            below
        }
        (None, None) => 0,
    };
    let lost = Store::trim(dir, stream, below)?;
    say!("stream {stream}: records below {below} are given up, {lost} of them were not delivered");
    Ok(true)
}

/// The age of a record; `?` when this machine's clock was not set at the arrival, or is not set now.
fn age_of(arrival_ms: i64) -> String {
    let now = clock::wall_ms();
    if clock::is_credible(now) && clock::was_credible(arrival_ms) { age(now - arrival_ms) } else { "?".into() }
}
