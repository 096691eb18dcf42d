//! `forebay check FILE`

use super::{fail, runtime};
use crate::config::{self, Config, System};
use crate::source::probe;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration
    file: PathBuf,
    /// Try to reach what each source reads: brokers, ports, devices, files
    #[arg(long)]
    connect: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let file = arguments.file.display();
    let text = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) => return fail(2, format_args!("cannot read {file}: {error}")),
    };
    match config::load(&text, &System) {
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
                say!("  {}: {}", sink.name, sink.kind);
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

/// Tries every source; exit 1 when one cannot be reached.
fn connect(config: &Config) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let mut good = true;
    say!("sources:");
    for source in &config.sources {
        match runtime.block_on(probe(&source.kind)) {
            Ok(found) => say!("  {}: {found}", source.name),
            Err(error) => {
                good = false;
                say!("  {}: FAILED: {error}", source.name);
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
