//! `forebay check FILE`

use super::fail;
use crate::config::{self, System};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let file = arguments.file.display();
    let text = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) => return fail(2, format_args!("cannot read {file}: {error}")),
    };
    match config::load(&text, &System) {
        Ok((config, assumed)) => {
            println!("{file}: good; {} source(s), {} sink(s)", config.sources.len(), config.sinks.len());
            if !assumed.is_empty() {
                println!("assumed:");
            }
            for line in assumed {
                println!("  {line}");
            }
            ExitCode::SUCCESS
        }
        Err(report) => {
            let count = report.problems().len();
            print!("{report}");
            println!("\n{file}: {count} problem{}", if count == 1 { "" } else { "s" });
            ExitCode::from(1)
        }
    }
}
