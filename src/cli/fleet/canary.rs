//! `forebay fleet canary`: a document is signed for a few gateways, then for more, as long as their reports are good.

use super::station::{self, Reports, Station};
use super::{PAUSE, is_bad, why};
use crate::control::Report;
use crate::control::document::{Document, Header, Who, sealed};
use crate::telemetry::people;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The pause between two looks at the reports.
const LOOK: Duration = Duration::from_secs(1);
/// At most so many gateways are named.
const NAMED: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The document, without a signature; `serial` and `rollout` in it are set for each step
    document: PathBuf,
    /// The secret key of the fleet; minisign asks for its password at each step
    #[arg(long, value_name = "FILE")]
    secret_key: PathBuf,
    /// The public key of the fleet: its `.pub` file, or the key itself
    #[arg(long)]
    key: String,
    /// The share of the gateways at each step, in percent
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 50, 100])]
    steps: Vec<u8>,
    /// The longest wait for the gateways of a step, in minutes
    #[arg(long, default_value_t = 30)]
    patience: u64,
    /// The key has no password
    #[arg(long)]
    no_password: bool,
    #[command(flatten)]
    station: station::Where,
}

/// Rolls a document out; false when a gateway did worse or did not answer.
pub(super) async fn run(arguments: &Arguments) -> Result<bool, String> {
    let station = arguments.station.station()?;
    let key = super::key(&arguments.key)?;
    let path = &arguments.document;
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let first = Header::of_text(&text)?;
    let is_share = |step: &u8| (1..=100).contains(step);
    if !arguments.steps.iter().all(is_share) || !arguments.steps.is_sorted() || arguments.steps.is_empty() {
        return Err("`--steps` are rising shares from 1 to 100".into());
    }
    let known = station.reports(&first.fleet, PAUSE).await?;
    if known.is_empty() {
        return Err(format!(
            "no gateway of the fleet `{}` has reported: without reports nothing is rolled out",
            first.fleet
        ));
    }
    let highest = known.values().filter_map(|report| report.highest_serial).max().unwrap_or(0);
    for (serial, share) in (first.serial.max(highest + 1)..).zip(&arguments.steps) {
        let whole = signed(&set(&text, serial, *share)?, arguments).await?;
        // Nothing leaves this desk that the gateways would refuse.
        let document =
            Document::read(whole.as_bytes(), std::slice::from_ref(&key), 1).map_err(|refusal| refusal.to_string())?;
        let reports = station.reports(&first.fleet, PAUSE).await?;
        let wanted: Vec<String> = meant(&document.header, &reports);
        if wanted.is_empty() {
            say!("{share} %: no gateway yet");
            continue;
        }
        station.put(&first.fleet, None, &document.text).await?;
        say!("document {serial} for {share} %: {} of {} gateways", wanted.len(), reports.len());
        if !watched(&station, &first.fleet, (serial, &wanted), arguments.patience).await? {
            return Ok(false);
        }
    }
    let reports = station.reports(&first.fleet, PAUSE).await?;
    let has_kept = |report: &Report| report.production.as_ref().is_some_and(|mark| mark.serial > highest);
    if !reports.values().any(has_kept) {
        return Err("the document is for none of the gateways that report".into());
    }
    say!("rolled out");
    Ok(true)
}

/// The gateways that a document is for, as far as they report.
fn meant(header: &Header, reports: &Reports) -> Vec<String> {
    let is_meant = |report: &&Report| {
        let labels: Vec<(String, String)> = report.labels.clone().into_iter().collect();
        header.is_for(Who { device: &report.device, fleet: &header.fleet, labels: &labels }).is_ok()
    };
    reports.values().filter(is_meant).map(|report| report.device.clone()).collect()
}

/// Waits until all gateways of a step have kept the document; false when one has not.
async fn watched(
    station: &Station,
    fleet: &str,
    (serial, wanted): (u64, &[String]),
    minutes: u64,
) -> Result<bool, String> {
    let began = Instant::now();
    loop {
        let reports = station.reports(fleet, PAUSE).await?;
        let of_step: Vec<&Report> = wanted.iter().filter_map(|device| reports.get(device)).collect();
        let about = |report: &&Report| report.last_error.as_ref().is_some_and(|problem| problem.serial == Some(serial));
        let bad: Vec<&Report> = of_step.iter().copied().filter(|report| is_bad(report) && about(report)).collect();
        if !bad.is_empty() {
            say!("stopped: {} gateways did not keep document {serial}", bad.len());
            for report in bad.iter().take(NAMED) {
                say!("  {}: {}", report.device, people::visible(&why(report)));
            }
            return Ok(false);
        }
        let has_kept = |report: &&&Report| report.production.as_ref().is_some_and(|mark| mark.serial >= serial);
        let kept = of_step.iter().filter(has_kept).count();
        if kept == wanted.len() {
            let unconfirmed = of_step.iter().filter(|report| report.phase == "applied-unconfirmed").count();
            let words = if unconfirmed > 0 { format!(", {unconfirmed} of them unconfirmed") } else { String::new() };
            say!("  {kept} gateways keep it{words}");
            return Ok(true);
        }
        if began.elapsed() > Duration::from_secs(minutes.saturating_mul(60)) {
            let silent: Vec<&str> = wanted
                .iter()
                .filter(|device| !reports.get(*device).is_some_and(|report| has_kept(&&report)))
                .take(NAMED)
                .map(String::as_str)
                .collect();
            say!("stopped: no answer within {minutes} min from {}", silent.join(", "));
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The document with another serial and another share.
fn set(text: &str, serial: u64, share: u8) -> Result<String, String> {
    let mut out = String::new();
    let mut is_fleet = false;
    for line in text.lines() {
        let bare = line.trim();
        let is_key = |name: &str| bare.split_once('=').is_some_and(|(key, _)| key.trim() == name);
        if bare.starts_with('[') {
            is_fleet = bare.split('#').next().is_some_and(|table| table.trim() == "[fleet]");
            out.extend([line, "\n"]);
            if is_fleet {
                // Text always takes more text.
                let _ = writeln!(out, "serial = {serial}\nrollout = {share}");
            }
        } else if !(is_fleet && (is_key("serial") || is_key("rollout"))) {
            out.extend([line, "\n"]);
        }
    }
    let header = Header::of_text(&out)?;
    if (header.serial, header.rollout) == (serial, share) {
        Ok(out)
    } else {
        Err("write `serial` on a line of its own below [fleet]".into())
    }
}

/// The document with the signature that minisign makes.
async fn signed(text: &str, arguments: &Arguments) -> Result<String, String> {
    let file = path_beside(&arguments.document);
    let signature = PathBuf::from(format!("{}.minisig", file.display()));
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut minisign = tokio::process::Command::new("minisign");
    minisign.arg("-S").args(arguments.no_password.then_some("-W"));
    minisign.arg("-s").arg(&arguments.secret_key).arg("-m").arg(&file).stdout(std::process::Stdio::null());
    let ended = minisign.status().await.map_err(|error| format!("minisign cannot be run: {error}; install it"))?;
    let made = std::fs::read_to_string(&signature);
    // They are of no use any more.
    let _ = (std::fs::remove_file(&file), std::fs::remove_file(&signature));
    match made {
        Ok(made) if ended.success() => Ok(sealed(text, &made)),
        _ => Err("minisign did not sign the document".into()),
    }
}

fn path_beside(document: &Path) -> PathBuf {
    PathBuf::from(format!("{}.{}.part", document.display(), std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_and_the_share_are_set_and_nothing_else() {
        let text = "[fleet] # x\nfleet = \"f\"\nserial = 3\nrollout=50\n[source.a]\nserial = \"/dev/ttyUSB0\"\n";
        let set = set(text, 9, 10).unwrap();
        assert_eq!(
            set,
            "[fleet] # x\nserial = 9\nrollout = 10\nfleet = \"f\"\n[source.a]\nserial = \"/dev/ttyUSB0\"\n"
        );
        assert!(super::set("fleet = { serial = 1, fleet = \"f\" }\n", 2, 10).unwrap_err().contains("below [fleet]"));
        assert!(super::set("[source.a]\n", 2, 10).is_err());
    }
}
