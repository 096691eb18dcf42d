//! `forebay check FILE`

use super::place::{self, Place};
use super::tap::{show, tap};
use super::{fail, runtime};
use crate::config::Config;
use crate::flow::record::Record;
use crate::intake::Rule;
use crate::source::Source;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Try to reach what each source reads: brokers, ports, devices, files; and show one reading of each
    #[arg(long)]
    connect: bool,
    /// How many seconds `--connect` waits for a reading of each source
    #[arg(long, default_value_t = 5, value_name = "SECONDS", requires = "connect")]
    wait: u64,
    /// Look up no secret: for a check on a machine that has none of them
    #[arg(long, conflicts_with = "connect")]
    no_secrets: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (path, loaded) = match arguments.place.path().and_then(|path| {
        let loaded = place::read(&path, arguments.no_secrets)?;
        Ok((path, loaded))
    }) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let file = path.display();
    match loaded {
        Ok((config, notes)) => {
            say!("{file}: good; {} source(s), {} sink(s)", config.sources.len(), config.sinks.len());
            if !notes.assumed.is_empty() {
                say!("assumed:");
            }
            for line in notes.assumed {
                say!("  {line}");
            }
            say!("sinks:");
            for sink in &config.sinks {
                say!("  {}: {}", sink.name, sink.settings);
            }
            if !notes.warnings.problems().is_empty() {
                say!("warnings:\n{}", notes.warnings);
            }
            if arguments.connect { connect(&config, Duration::from_secs(arguments.wait)) } else { ExitCode::SUCCESS }
        }
        Err(report) => {
            let count = report.problems().len();
            say!("{report}\n{file}: {count} problem{}", if count == 1 { "" } else { "s" });
            ExitCode::from(1)
        }
    }
}

/// Tries to reach every source, and shows a reading of each. The exit code is 1 when one cannot be reached. A source
/// that is silent meanwhile is no failure.
fn connect(config: &Config, wait: Duration) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let mut good = true;
    say!("sources:");
    for source in &config.sources {
        match runtime.block_on(source.settings.probe()) {
            Ok(found) => {
                say!("  {}: {found}", source.name);
                if let Ok(tapped) = source.settings.for_tap(true)
                    && !wait.is_zero()
                {
                    let is_heard = runtime.block_on(hear(&*tapped, source.rule(config.generation), wait));
                    if !is_heard {
                        say!("    no reading within {} s", wait.as_secs());
                    }
                }
            }
            Err(error) => {
                good = false;
                say!("  {}: FAILED: {error}", source.name);
            }
        }
    }
    // The end does not wait for a read of a silent terminal.
    runtime.shutdown_background();
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Shows the first reading that a source has; false when none comes in time.
async fn hear(tapped: &dyn Source, rule: Rule, wait: Duration) -> bool {
    let mut is_heard = false;
    let mut first = |stream: &str, record: &Record| {
        is_heard = true;
        show(&format!("    {stream}"), 1, record);
        false
    };
    tap(tapped, rule, tokio::time::sleep(wait), &mut first).await;
    is_heard
}
