//! `forebay bench`: costs as counts and ratios. `docs/design/measurements.md` has figures and commands.

mod agent;
mod drain;
mod fill;
mod fleet;
mod load;
mod rig;

use super::fail;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// An agent of its own process at a steady rate through a real mosquitto
    Agent(agent::Arguments),
    /// A backlog on its way to a hub that is far, with data that comes meanwhile
    Drain(drain::Arguments),
    /// Thousands of agents in one process whose hub vanishes and returns
    Fleet(fleet::Arguments),
    /// Fill a store with readings that nobody has delivered
    Fill(fill::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.what {
        What::Agent(arguments) => agent::run(arguments),
        What::Drain(arguments) => drain::run(arguments),
        What::Fleet(arguments) => fleet::run(arguments),
        What::Fill(arguments) => fill::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, error),
    }
}

/// A reading of about 120 bytes.
fn reading(number: u64, now_ms: i64) -> String {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    format!(
        "{{\"t\":{now_ms},\"device\":\"press-{:02}\",\"n\":{number},\"temperature\":{}.{:02},\"pressure\":{},\"flow\":{}.{:03},\"status\":\"ok\"}}",
        number % 50,
        20 + mixed % 5,
        mixed % 100,
        101_000 + mixed % 900,
        mixed % 9,
        mixed % 1000
    )
}
