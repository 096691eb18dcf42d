//! `forebay check FILE`

use super::place::{self, Place};
use super::{fail, runtime};
use crate::config::Config;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Try to reach what each source reads: brokers, ports, devices, files
    #[arg(long)]
    connect: bool,
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
            if arguments.connect { connect(&config) } else { ExitCode::SUCCESS }
        }
        Err(report) => {
            let count = report.problems().len();
            say!("{report}\n{file}: {count} problem{}", if count == 1 { "" } else { "s" });
            ExitCode::from(1)
        }
    }
}

/// Tries to reach every source. The exit code is 1 when one cannot be reached.
fn connect(config: &Config) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let mut good = true;
    say!("sources:");
    for source in &config.sources {
        match runtime.block_on(source.settings.probe()) {
            Ok(found) => say!("  {}: {found}", source.name),
            Err(error) => {
                good = false;
                say!("  {}: FAILED: {error}", source.name);
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
