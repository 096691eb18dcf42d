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
use crate::platform::memory;
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
    /// Show what the files of a source have already; without it, what comes from now on
    #[arg(long)]
    from_beginning: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (found, rule) = match arguments.source.load() {
        Ok(found) => found,
        Err(code) => return code,
    };
    if arguments.from_beginning && found.kind != "file" {
        return fail(2, format_args!("source `{}`: only files can be read from their beginning", found.name));
    }
    let tapped = match found.settings.for_tap(arguments.from_beginning) {
        Ok(tapped) => tapped,
        Err(why) => return fail(2, format_args!("source `{}` cannot be tapped: {why}", found.name)),
    };
    match runtime() {
        Ok(runtime) => {
            let mut shown = 0;
            let mut all = |stream: &str, record: &Record| {
                shown += 1;
                show(stream, shown, record) && arguments.limit != Some(shown)
            };
            let done = runtime.block_on(async {
                let stop_requested = signals::stop_requested()?;
                if arguments.limit != Some(0) {
                    tap(&*tapped, rule, stop_requested, &mut all).await;
                }
                Ok(())
            });
            // The end does not wait for a read of a silent terminal.
            runtime.shutdown_background();
            done.map_or_else(|error: std::io::Error| fail(1, error), |()| ExitCode::SUCCESS)
        }
        Err(error) => fail(1, error),
    }
}

/// Reads a source until `stop_requested` ends, or until `take`, which gets each record and its stream, says `false`.
pub(super) async fn tap(
    tapped: &dyn source::Source,
    rule: Rule,
    stop_requested: impl Future<Output = ()>,
    take: &mut dyn FnMut(&str, &Record) -> bool,
) {
    let mut stop_requested = std::pin::pin!(stop_requested);
    let (clock, metrics) = (Clock::system(), Metrics::new());
    let (sender, stopped) = stop();
    let (giver, mut taker) = handover(HELD);
    let name = rule.source.clone();
    let mut preview = Preview::new(rule, metrics.clone());
    let context = source::Context {
        name,
        giver,
        positions: Vec::new(),
        stop: stopped,
        metrics,
        health: Reporter::default(),
        memory: memory::limit(),
    };
    let running = tokio::spawn(tapped.run(context));
    'all: loop {
        let held = tokio::select! {
            held = taker.next() => held,
            () = &mut stop_requested => break,
        };
        let Some(held) = held else { break };
        // No peer waits for this settlement: sources are tapped without acknowledgements.
        taker.settle(held.id);
        for (stream, record) in preview.records(held.frame, &clock) {
            if !take(stream, &record) {
                break 'all;
            }
        }
    }
    sender.stop();
    running.abort();
}

/// Shows a record; false when nobody reads the output.
pub(super) fn show(stream: &str, number: u64, record: &Record) -> bool {
    let mut line = format!("{stream} ").into_bytes();
    ndjson::line(&mut line, number, &record.as_ref());
    std::io::stdout().write_all(&line).is_ok()
}
