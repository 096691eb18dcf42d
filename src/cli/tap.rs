//! `forebay tap SOURCE`

use super::place::SourcePlace;
use super::{fail, runtime};
use crate::encode::ndjson;
use crate::flow::handover::handover;
use crate::flow::health::Reporter;
use crate::flow::record::Record;
use crate::flow::stop::stop;
use crate::intake::{Preview, Rule};
use crate::platform::clock::Clock;
use crate::platform::signals;
use crate::source;
use crate::telemetry::Metrics;
use std::io::Write;
use std::process::ExitCode;

/// Bytes that may wait to be shown.
const HELD: usize = 4 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: SourcePlace,
    /// End after so many records
    #[arg(long)]
    limit: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (found, rule) = match arguments.source.load() {
        Ok(found) => found,
        Err(code) => return code,
    };
    let tapped = match found.settings.for_tap() {
        Ok(tapped) => tapped,
        Err(why) => return fail(2, format_args!("source `{}` cannot be tapped: {why}", found.name)),
    };
    match runtime() {
        Ok(runtime) => {
            let done = runtime.block_on(tap(&*tapped, rule, arguments.limit));
            // The end does not wait for a read of a silent terminal.
            runtime.shutdown_background();
            done.map_or_else(|error| fail(1, error), |()| ExitCode::SUCCESS)
        }
        Err(error) => fail(1, error),
    }
}

/// Shows records until the limit, until Ctrl-C, or until nobody reads the output.
async fn tap(tapped: &dyn source::Source, rule: Rule, limit: Option<u64>) -> std::io::Result<()> {
    let mut stop_requested = std::pin::pin!(signals::stop_requested()?);
    let (clock, metrics) = (Clock::system(), Metrics::new());
    let (sender, stopped) = stop();
    let (giver, mut taker) = handover(HELD);
    let name = rule.source.clone();
    let mut preview = Preview::new(rule, metrics.clone());
    let context =
        source::Context { name, giver, positions: Vec::new(), stop: stopped, metrics, health: Reporter::default() };
    let running = tokio::spawn(tapped.run(context));
    let mut shown = 0;
    'all: while limit.is_none_or(|limit| shown < limit) {
        let held = tokio::select! {
            held = taker.next() => held,
            () = &mut stop_requested => break,
        };
        let Some(held) = held else { break };
        // No peer waits for this settlement: sources are tapped without acknowledgements.
        taker.settle(held.id);
        for (stream, record) in preview.records(held.frame, &clock) {
            shown += 1;
            if !show(stream, shown, &record) || limit == Some(shown) {
                break 'all;
            }
        }
    }
    sender.stop();
    running.abort();
    Ok(())
}

/// Shows a record; false when nobody reads the output.
pub(super) fn show(stream: &str, number: u64, record: &Record) -> bool {
    let mut line = format!("{stream} ").into_bytes();
    ndjson::line(&mut line, number, &record.as_ref());
    std::io::stdout().write_all(&line).is_ok()
}
