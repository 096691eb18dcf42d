//! `forebay config` and `forebay sample-config`: the configuration described, shown, and changed by signed documents.

use super::fail;
use super::place::Place;
use crate::config::reference::Reference;
use crate::config::{self, Config, Options, System};
use crate::control::carrier::{self, BACK};
use crate::control::document::{self, Document, Key, Who};
use crate::control::ledger::{FOLDER, INBOX, Ledger, Mark, Problem, State};
use crate::platform::clock;
use crate::telemetry::people;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest wait for the agent after `apply` and `rollback`.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every key, as a page in Markdown
    Keys,
    /// The JSON Schema, for editors and for checks in CI
    Schema,
    /// The configuration as it counts: the file, what it includes, and the pushed document over it
    Show(Of),
    /// What was pushed: in force, on trial, refused
    Status {
        #[command(flatten)]
        of: Of,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The configurations that were in force, the newest last
    History(Of),
    /// What changed between two generations; without numbers, by the last change
    Diff {
        /// The older generation, such as 3
        #[arg(long)]
        from: Option<u64>,
        /// The newer generation
        #[arg(long)]
        to: Option<u64>,
        #[command(flatten)]
        of: Of,
    },
    /// Put the signature of minisign at the end of a document, and print the whole
    Seal {
        /// The document
        document: PathBuf,
        /// The signature [default: the document's name with .minisig]
        #[arg(long)]
        signature: Option<PathBuf>,
    },
    /// Check a document: who signed it, who it is for, whether this device could run it
    Verify {
        /// The document, with its signature
        document: PathBuf,
        /// A public key of minisign, instead of `[remote] keys`; the document is then not checked against a device
        #[arg(long)]
        key: Vec<String>,
        #[command(flatten)]
        of: Of,
    },
    /// Give a signed document to the agent of this device, and wait until it is on trial or refused
    Apply {
        /// The document, with its signature
        document: PathBuf,
        #[command(flatten)]
        of: Of,
    },
    /// Go back to the document before the one in force
    Rollback(Of),
}

/// The configuration of a device.
#[derive(Debug, clap::Args)]
struct Of {
    #[command(flatten)]
    place: Place,
    /// Where the store is, instead of what the configuration says
    #[arg(long)]
    state: Option<PathBuf>,
}

impl Of {
    /// The local file without its secrets, and the state directory. What was pushed is not laid over it: that may be
    /// what is wrong.
    fn read(&self) -> Result<(PathBuf, Config, PathBuf), ExitCode> {
        let path = self.place.path()?;
        let state = self.state.as_deref();
        let options = Options { path: Some(&path), without_secrets: true, state, pushed: None };
        let (config, _) = config::load_with(&text_of(&path)?, &System, options)
            .map_err(|report| fail(1, format_args!("{}:\n{report}", path.display())))?;
        let state = config.state.clone();
        Ok((path, config, state))
    }

    fn state(&self) -> Result<(PathBuf, State), ExitCode> {
        let (_, _, dir) = self.read()?;
        let state = Ledger::look(&dir).map_err(|error| fail(2, error))?;
        Ok((dir, state))
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Sample {
    /// Kinds of sources and sinks; all when none is given
    kinds: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.what {
        What::Keys => {
            say!("{}", Reference::new().markdown().trim_end());
            Ok(())
        }
        What::Schema => {
            say!("{}", Reference::new().schema().trim_end());
            Ok(())
        }
        What::Show(of) => show(of),
        What::Status { of, json } => status(of, *json),
        What::History(of) => history(of),
        What::Diff { from, to, of } => diff(of, *from, *to),
        What::Seal { document, signature } => seal(document, signature.as_deref()),
        What::Verify { document, key, of } => verify(document, key, of),
        What::Apply { document, of } => apply(document, of),
        What::Rollback(of) => rollback(of),
    };
    done.map_or_else(|code| code, |()| ExitCode::SUCCESS)
}

pub(super) fn sample(arguments: &Sample) -> ExitCode {
    match Reference::new().sample(&arguments.kinds) {
        Ok(sample) => {
            say!("{}", sample.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => fail(2, error),
    }
}

fn text_of(path: &Path) -> Result<String, ExitCode> {
    std::fs::read_to_string(path).map_err(|error| fail(2, format_args!("cannot read {}: {error}", path.display())))
}

fn show(of: &Of) -> Result<(), ExitCode> {
    let (path, config, state) = of.read()?;
    let document = match config.remote {
        Some(_) => Ledger::document(&state).map_err(|error| fail(2, error))?,
        None => None,
    };
    let options =
        Options { path: Some(&path), without_secrets: true, pushed: document.as_deref(), state: Some(&state) };
    let effective = config::effective(&text_of(&path)?, &System, options).map_err(|report| fail(1, report))?;
    say!("{}", effective.trim_end());
    Ok(())
}

fn status(of: &Of, json: bool) -> Result<(), ExitCode> {
    let (_, state) = of.state()?;
    if json {
        let text = serde_json::to_string_pretty(&state).map_err(|error| fail(2, error))?;
        say!("{text}");
    } else {
        say!("{}", words(&state).trim_end());
    }
    Ok(())
}

fn history(of: &Of) -> Result<(), ExitCode> {
    let (_, state) = of.state()?;
    for generation in &state.generations {
        let by = generation.serial.map_or_else(|| "the local file".into(), |serial| format!("document {serial}"));
        say!("{:>4}  {}  {}  {by}", generation.number, clock::utc(generation.at_ms), &generation.sha256[..12]);
    }
    Ok(())
}

fn diff(of: &Of, from: Option<u64>, to: Option<u64>) -> Result<(), ExitCode> {
    let (dir, state) = of.state()?;
    let newest = state.generations.last().map_or(0, |last| last.number);
    let to = to.unwrap_or(newest);
    let from = from.unwrap_or_else(|| to.saturating_sub(1));
    let shown = Ledger::diff(&dir, from, to).map_err(|error| {
        let known = state.generations.iter().map(|known| known.number.to_string()).collect::<Vec<_>>().join(", ");
        fail(2, format_args!("{error}; there are: {known}"))
    })?;
    say!("{}", shown.trim_end());
    Ok(())
}

fn seal(document: &Path, signature: Option<&Path>) -> Result<(), ExitCode> {
    let usual = PathBuf::from(format!("{}.minisig", document.display()));
    let (text, signature) = (text_of(document)?, text_of(signature.unwrap_or(&usual))?);
    if !text.ends_with('\n') {
        return Err(fail(1, "the document must end with a newline: add one, and sign it again"));
    }
    say!("{}", document::sealed(&text, &signature).trim_end());
    Ok(())
}

/// Reads a document that one of the keys has signed.
fn signed(path: &Path, keys: &[Key], required: usize) -> Result<Document, ExitCode> {
    let bytes =
        std::fs::read(path).map_err(|error| fail(2, format_args!("cannot read {}: {error}", path.display())))?;
    Document::read(&bytes, keys, required).map_err(|refusal| fail(1, format_args!("{}: {refusal}", path.display())))
}

fn verify(path: &Path, keys: &[String], of: &Of) -> Result<(), ExitCode> {
    let say_header = |document: &Document| {
        let header = &document.header;
        let (serial, fleet, target) = (header.serial, &header.fleet, header.target.join(", "));
        let rollout = header.rollout;
        say!("signed; document {serial} for {target} of the fleet {fleet}, {rollout} % of the devices");
        if let Some(at) = header.not_before_ms {
            say!("not before {}", clock::utc(at));
        }
    };
    if !keys.is_empty() {
        let parsed: Option<Vec<Key>> = keys.iter().map(|key| Key::parse(key)).collect();
        let parsed = parsed.ok_or_else(|| fail(2, "`--key` needs the second line of a `.pub` file of minisign"))?;
        say_header(&signed(path, &parsed, 1)?);
        return Ok(());
    }
    let (local_path, config, state) = of.read()?;
    let remote = config.remote.ok_or_else(|| fail(1, "this device has no [remote]: give `--key`"))?;
    let document = signed(path, &remote.keys, remote.required)?;
    say_header(&document);
    let who = Who { device: &config.device, fleet: &remote.fleet, labels: &remote.labels };
    if let Err(why) = document.header.is_for(who) {
        return Err(fail(1, why));
    }
    let options =
        Options { path: Some(&local_path), without_secrets: true, pushed: Some(&document.text), state: Some(&state) };
    config::load_with(&text_of(&local_path)?, &System, options).map_err(|report| fail(1, report))?;
    say!("this device could run it");
    Ok(())
}

/// Puts a file into the folder that the agent looks into, whole or not at all.
fn drop_in(state: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, ExitCode> {
    let inbox = state.join(FOLDER).join(INBOX);
    let (beside, file) = (inbox.join(format!("{name}.part")), inbox.join(name));
    let written = std::fs::write(&beside, bytes)
        // The agent is often another user.
        .and_then(|()| std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o644)))
        .and_then(|()| std::fs::rename(&beside, &file));
    let why = |error| format!("cannot write to {}: {error}; does an agent with [remote] run?", inbox.display());
    written.map_err(|error| fail(2, why(error)))?;
    Ok(file)
}

/// Waits until the agent has taken a file.
fn taken(file: &Path) -> Result<(), ExitCode> {
    let began = Instant::now();
    while file.exists() || carrier::taken(file).exists() {
        if began.elapsed() > PATIENCE {
            let what = "the agent has not taken it yet: it does not run, another document is on trial, or its time has not come";
            return Err(fail(1, what));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn apply(path: &Path, of: &Of) -> Result<(), ExitCode> {
    let (_, config, dir) = of.read()?;
    let remote = config.remote.ok_or_else(|| fail(1, "this device has no [remote]: it takes no documents"))?;
    let document = signed(path, &remote.keys, remote.required)?;
    taken(&drop_in(&dir, &format!("{:020}.toml", document.header.serial), document.text.as_bytes())?)?;
    let state = Ledger::look(&dir).map_err(|error| fail(2, error))?;
    say!("{}", words(&state).trim_end());
    let is_in = state.current().is_some_and(|mark| mark.sha256 == document.sha256);
    if is_in { Ok(()) } else { Err(ExitCode::from(1)) }
}

fn rollback(of: &Of) -> Result<(), ExitCode> {
    let (dir, state) = of.state()?;
    if state.current().is_none() {
        return Err(fail(1, "no pushed document is in force"));
    }
    let file = drop_in(&dir, BACK, b"")?;
    if let Err(code) = taken(&file) {
        // It must not act at some later start.
        let _ = std::fs::remove_file(&file);
        return Err(code);
    }
    // The file goes before the change is made.
    let began = Instant::now();
    while Ledger::look(&dir).is_ok_and(|now| now.current() == state.current()) && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    let state = Ledger::look(&dir).map_err(|error| fail(2, error))?;
    say!("{}", words(&state).trim_end());
    Ok(())
}

/// How it stands, for people.
fn words(state: &State) -> String {
    let mark =
        |what: &str, mark: &Mark| format!("{what}: document {} since {}", mark.serial, clock::utc(mark.since_ms));
    let mut lines = vec![format!("phase: {}", state.phase())];
    lines.extend(state.production.iter().map(|production| mark("in force", production)));
    lines.extend(state.trial.iter().map(|trial| mark("on trial", &trial.mark)));
    lines.extend(state.previous.iter().map(|previous| mark("before", previous)));
    if let Some(Problem { serial, code, message, place, at_ms }) = &state.problem {
        let serial = serial.map_or_else(String::new, |serial| format!("document {serial}: "));
        let place = place.map_or_else(String::new, |(line, column)| format!("line {line}, column {column}: "));
        let ago = people::age(clock::wall_ms().saturating_sub(*at_ms));
        lines.push(format!("last problem: {serial}{code}, {ago} ago: {place}{message}"));
    }
    lines.join("\n")
}
