//! `forebay config` and `forebay sample-config`: the configuration described by the parts that read it.

use super::fail;
use crate::config::reference::Reference;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every key, as a page in Markdown
    Keys,
    /// The JSON Schema, for editors and for checks in CI
    Schema,
}

#[derive(Debug, clap::Args)]
pub(super) struct Sample {
    /// Kinds of sources and sinks; all when none is given
    kinds: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let reference = Reference::new();
    match arguments.what {
        What::Keys => say!("{}", reference.markdown().trim_end()),
        What::Schema => say!("{}", reference.schema().trim_end()),
    }
    ExitCode::SUCCESS
}

pub(super) fn sample(arguments: &Sample) -> ExitCode {
    match Reference::new().sample(&arguments.kinds) {
        Ok(sample) => {
            say!("{}", sample.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => fail(2, error),
    }
}
