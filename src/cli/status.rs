//! `forebay status`

use super::ask::Desk;
use super::fail;
use super::place::Place;
use crate::monitor::view::{Kind, PartView, View};
use crate::telemetry::people;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print the answer of the agent as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let asked = Desk::of(&arguments.place).and_then(|desk| desk.view().map_err(|why| fail(2, why)));
    let (json, view) = match asked {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    if arguments.json {
        say!("{json}");
    } else {
        show(&view);
    }
    ExitCode::from(u8::from(!view.parts.iter().all(|part| part.is_good)))
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
