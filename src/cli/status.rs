//! `forebay status`

use super::fail;
use super::place::{self, Place};
use crate::config::Config;
use crate::dashboard::Settings;
use crate::monitor::view::{Kind, PartView, View};
use crate::telemetry::people;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The agent must answer within this time.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print the answer of the agent as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let asked = arguments.place.path().and_then(|path| {
        let settings = settings(&path)?;
        ask(&settings).map_err(|why| fail(2, why))
    });
    let json = match asked {
        Ok(json) => json,
        Err(code) => return code,
    };
    let view: View = match serde_json::from_str(&json) {
        Ok(view) => view,
        Err(error) => return fail(2, format_args!("this is no answer of an agent of this version: {error}")),
    };
    if arguments.json {
        say!("{json}");
    } else {
        show(&view);
    }
    ExitCode::from(u8::from(!view.parts.iter().all(|part| part.is_good)))
}

/// Where the agent of a configuration answers. Secrets are looked up only if a token is needed.
fn settings(path: &Path) -> Result<Settings, ExitCode> {
    let load = |without_secrets| {
        place::read(path, without_secrets)?.map(|(config, _): (Config, _)| config.page).map_err(|report| {
            complain!("{}:\n{report}", path.display());
            ExitCode::from(2)
        })
    };
    let page = match load(true)? {
        Some(page) if page.token.is_some() => load(false)?,
        page => page,
    };
    page.ok_or_else(|| {
        let hint = "add a section [page] and start the agent again; without it nothing listens";
        fail(2, format_args!("{} has no [page]: {hint}", path.display()))
    })
}

/// The state of the agent as JSON, or the obstacle and what to do.
fn ask(settings: &Settings) -> Result<String, String> {
    let mut address = settings.listen;
    if address.ip().is_unspecified() {
        let local = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
        address = SocketAddr::new(local, address.port());
    }
    let token = settings.token.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.expose()));
    let answer = exchange(address, &token.unwrap_or_default())
        .map_err(|error| format!("no agent answers at {address} ({error}): does it run, with this configuration?"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.into()),
        _ => Err(format!("{address} answers `{status}`: {}", body.trim())),
    }
}

fn exchange(address: SocketAddr, more: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Of HTTP 1.0: the answer ends with the connection.
    write!(stream, "GET /api/v1/status HTTP/1.0\r\nHost: {address}\r\n{more}\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn show(view: &View) {
    let clock = if view.clock_is_set { "" } else { "; the clock is not set" };
    let uptime = people::span(view.uptime_s.saturating_mul(1000));
    say!("{}: forebay {}, up for {uptime}, configuration {}{clock}", view.device, view.version, view.generation);
    let width = view.parts.iter().map(|part| part.name.chars().count()).max().unwrap_or(0);
    for part in &view.parts {
        let since = people::span(part.since_s.saturating_mul(1000));
        let (kind, name, health) = (part.kind.label(), &part.name, &part.health);
        say!("  {kind:6}  {name:width$}  {health:8}  {since:>6}  {}", facts(part, view));
    }
}

/// What a part has to say besides its health.
fn facts(part: &PartView, view: &View) -> String {
    let ago = |at: i64| people::age(view.now_ms.saturating_sub(at));
    let mut facts = Vec::new();
    if part.kind == Kind::Source {
        facts.push(part.last_frame_ms.map_or_else(|| "no reading yet".into(), |at| format!("last {} ago", ago(at))));
    }
    for waits in part.waits.iter().filter(|waits| waits.records > 0) {
        let oldest = waits.oldest_ms.map(|at| format!(", the oldest {} old", ago(at))).unwrap_or_default();
        facts.push(format!("{} of {} wait{oldest}", waits.records, waits.stream));
    }
    if part.kind == Kind::Sink && facts.is_empty() {
        facts.push("nothing waits".into());
    }
    if !part.is_good {
        facts.push(part.state.clone());
    }
    people::visible(&facts.join("; "))
}
