//! `forebay fleet`: many gateways at once. It pushes documents, shows what became of them, and rolls one out step by
//! step.

mod canary;
mod station;

use super::{fail, runtime};
use crate::control::Report;
use crate::control::document::{Document, Key};
use crate::telemetry::people;
use station::{Reports, Station};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// A broker sends what it keeps without a pause of this length.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Put a signed document where the gateways look
    Push {
        /// The document, with its signature
        document: PathBuf,
        /// The public key of the fleet: its `.pub` file, or the key itself
        #[arg(long)]
        key: String,
        /// For one gateway alone
        #[arg(long)]
        device: Option<String>,
        #[command(flatten)]
        station: station::Where,
    },
    /// Show what the gateways say of their configuration; exit 1 when one refused or rolled back
    Status {
        /// The fleet
        fleet: String,
        /// As JSON, an object for each gateway
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        station: station::Where,
    },
    /// Sign a document and roll it out step by step; stop as soon as a gateway does worse
    Canary(canary::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let done = runtime.block_on(async {
        match &arguments.what {
            What::Push { document, key, device, station } => {
                push(document, key, device.as_deref(), &station.station()?).await.map(|()| true)
            }
            What::Status { fleet, json, station } => status(fleet, *json, &station.station()?).await,
            What::Canary(arguments) => canary::run(arguments).await,
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => fail(2, error),
    }
}

/// A public key from its file or its text.
fn key(given: &str) -> Result<Key, String> {
    let text = std::fs::read_to_string(given).unwrap_or_else(|_| given.into());
    let mut lines = text.lines().filter_map(Key::parse);
    lines.next().ok_or_else(|| "`--key` is no public key of minisign: give the `.pub` file".into())
}

async fn push(path: &Path, given: &str, device: Option<&str>, station: &Station) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let document =
        Document::read(&bytes, &[key(given)?], 1).map_err(|refusal| format!("{}: {refusal}", path.display()))?;
    station.put(&document.header.fleet, device, &document.text).await?;
    let (serial, fleet) = (document.header.serial, &document.header.fleet);
    say!("document {serial} is there for {} of the fleet {fleet}", device.unwrap_or("all gateways"));
    Ok(())
}

async fn status(fleet: &str, json: bool, station: &Station) -> Result<bool, String> {
    let reports = station.reports(fleet, PAUSE).await?;
    if json {
        for report in reports.values() {
            say!("{}", serde_json::to_string(report).map_err(|error| error.to_string())?);
        }
    } else {
        table(&reports);
    }
    Ok(reports.values().all(|report| !is_bad(report)))
}

/// Whether a gateway did not keep the newest document.
fn is_bad(report: &Report) -> bool {
    matches!(report.phase.as_str(), "rolled-back" | "refused")
}

fn why(report: &Report) -> String {
    match (&report.last_error, report.unhealthy.first()) {
        (Some(problem), _) => format!("{}: {}", problem.code, problem.message),
        (None, Some(part)) => part.clone(),
        (None, None) => String::new(),
    }
}

fn table(reports: &Reports) {
    let width = reports.keys().map(String::len).max().unwrap_or(0).max(6);
    say!("{:<width$}  {:<19}  {:>6}  {:>9}  {:>5}  why", "device", "phase", "serial", "backlog", "store");
    for (device, report) in reports {
        let serial = report.production.as_ref().map_or_else(|| "-".into(), |mark| mark.serial.to_string());
        let backlog = people::span(report.backlog_age_s.saturating_mul(1000));
        let (phase, store, why) = (&report.phase, report.buffer_percent, people::visible(&why(report)));
        say!("{device:<width$}  {phase:<19}  {serial:>6}  {backlog:>9}  {store:>4}%  {why}");
    }
    let count = |phase: &str| reports.values().filter(|report| report.phase == phase).count();
    let phases = ["applied", "applied-unconfirmed", "probation", "rolled-back", "refused", "local"];
    let counted = phases.iter().map(|phase| (phase, count(phase))).filter(|(_, count)| *count > 0);
    let counted: Vec<String> = counted.map(|(phase, count)| format!("{count} {phase}")).collect();
    say!("{} gateways: {}", reports.len(), counted.join(", "));
}
