//! The command line: one file a command.
//!
//! Exit codes: 0 done, 1 problems were found or the work failed, 2 wrong use or unreadable input.

/// Prints a line for the caller. When nobody reads any more (`forebay check FILE | head -1`), the command ends.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::print(format_args!($($text)*))
    };
}
/// A line on the error output.
macro_rules! complain {
    ($($text:tt)*) => {
        $crate::cli::print_error(format_args!($($text)*))
    };
}

mod ask;
#[cfg(feature = "lab")]
mod bench;
mod buffer;
mod check;
mod config;
#[cfg(feature = "lab")]
mod consumer;
mod decode;
#[cfg(feature = "lab")]
mod demo;
mod doctor;
mod fleet;
#[cfg(feature = "lab")]
mod hub;
mod journal;
mod log;
#[cfg(all(test, feature = "lab"))]
mod pages;
mod place;
mod pushed;
mod run;
mod send_test;
mod status;
mod systemd;
mod tap;
mod top;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// Sensor data from the device to Azure Event Hubs, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, arg_required_else_help = true)]
struct Arguments {
    /// Log more: -v for details, -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Log warnings and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<log::Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent
    Run(run::Arguments),
    /// Check a configuration and say what is assumed; exit 0, 1 (problems) or 2 (cannot read)
    Check(check::Arguments),
    /// The configuration: every key, what counts, what was pushed; check, apply and roll back signed documents
    Config(config::Arguments),
    /// Change the configuration of many gateways: push a signed document, see what became of it, roll it out step by step
    Fleet(fleet::Arguments),
    /// Write an example configuration, of all kinds or of some: `forebay sample-config mqtt eventhubs`
    SampleConfig(config::Sample),
    /// Print what a source brings, decoded, without touching the store
    Tap(tap::Arguments),
    /// Print what a source makes of messages from the standard input
    Decode(decode::Arguments),
    /// Deliver one event and print what happens at each step: names, TCP, TLS, login, limits, outcome
    SendTest(send_test::Arguments),
    /// Ask the running agent how its sources and sinks are; exit 0, 1 (one needs attention) or 2 (no answer)
    Status(status::Arguments),
    /// Look for what breaks in the field, and say what to do; exit 0, 1 (something is bad) or 2 (cannot read)
    Doctor(doctor::Arguments),
    /// Watch the running agent on a terminal, once a second; q ends
    Top(top::Arguments),
    /// Look into a store, also while an agent runs: ls, show, export, verify; mend it: repair, trim
    Buffer(buffer::Arguments),
    #[cfg(feature = "lab")]
    /// A local stand-in for Event Hubs, for development and tests; keeps everything in memory, or with --data on disk
    Hub(hub::Arguments),
    /// Broker, devices, agent and hub on this machine, with no account anywhere
    #[cfg(feature = "lab")]
    Demo(demo::Arguments),
    #[cfg(feature = "lab")]
    /// Measure: cost per reading as counts and ratios; fill a store
    Bench(bench::Arguments),
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    // The demo and the benchmarks cause failures on purpose, so only errors are logged.
    let prints = match arguments.command {
        #[cfg(feature = "lab")]
        Command::Demo(_) => true,
        #[cfg(feature = "lab")]
        Command::Bench(_) => true,
        _ => false,
    };
    let level = if prints && arguments.verbose == 0 { LevelFilter::ERROR } else { level };
    // `send-test` prints the steps to the target instead of log lines.
    if !matches!(arguments.command, Command::SendTest(_)) {
        log::begin(level, arguments.log_format);
    }
    match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Fleet(arguments) => fleet::run(&arguments),
        Command::SampleConfig(arguments) => config::sample(&arguments),
        Command::Tap(arguments) => tap::run(&arguments),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::SendTest(arguments) => send_test::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Buffer(arguments) => buffer::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Hub(arguments) => hub::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Demo(arguments) => demo::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Bench(arguments) => bench::run(&arguments),
    }
}

/// Two threads: one waits for the network, one compresses; a gateway has few cores.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(8).enable_all().build()
}

/// Prints a line on standard output. See `say`.
fn print(text: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        // The output was not written, for example because the disk is full.
        print_error(format_args!("forebay: cannot write the output: {error}"));
        std::process::exit(2);
    }
}

/// Prints a line on the error output. See `complain`.
fn print_error(text: std::fmt::Arguments<'_>) {
    // If nobody reads the error output either, the exit code shows the failure.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints an error for a person, and returns the exit code.
fn fail(code: u8, message: impl std::fmt::Display) -> ExitCode {
    complain!("forebay: {message}");
    ExitCode::from(code)
}
