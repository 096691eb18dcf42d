//! `forebay run`

use super::place::{self, Place};
use super::{fail, runtime};
use crate::agent::Agent;
use crate::platform::{clock, process, signals};
use crate::telemetry::event;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What is left at stop is delivered if it takes no longer.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Where the store is, instead of what the configuration says
    #[arg(long)]
    state: Option<PathBuf>,
}

/// glibc gives every thread an arena of its own, which costs 5 MB here and gains nothing.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Begins again with one arena: the C library reads the setting before `main`. Same process id.
fn with_one_arena() {
    if std::env::var_os(ARENAS).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        // It returns only when it fails; then we go on with a little more memory.
        let _ = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(ARENAS, "1").exec();
    }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    with_one_arena();
    if let Err(error) = process::leave_no_core_dump() {
        tracing::warn!(event = event::STARTED, %error, "a core dump of this process would hold its secrets");
    }
    let (path, mut config) = match arguments.place.path().and_then(|path| {
        let config = place::load(&path)?;
        Ok((path, config))
    }) {
        Ok(read) => read,
        Err(code) => return code,
    };
    if let Some(state) = &arguments.state {
        config.state.clone_from(state);
    }
    let done = runtime().map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            // Before anything is opened: a stop during a long start is one in order, too.
            let stop = signals::stop_requested().map_err(|error| error.to_string())?;
            signals::ignore_others(|name| {
                tracing::warn!(
                    event = event::STARTED,
                    signal = name,
                    "ignored: a configuration is read at the start only; restart to take a changed one"
                );
            })
            .map_err(|error| error.to_string())?;
            let (version, shown) = (env!("CARGO_PKG_VERSION"), path.display().to_string());
            tracing::info!(event = event::STARTED, version, config = shown, "forebay starts");
            if !clock::is_credible(clock::wall_ms()) {
                let now = clock::utc(clock::wall_ms());
                tracing::warn!(event = event::STARTED, now, "the clock is not set: times are marked until it is");
            }
            let (agent, _) = Agent::start(config).await.map_err(|error| error.to_string())?;
            stop.await;
            agent.stop(DRAIN).await;
            Ok(())
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, error),
    }
}
