//! `forebay run`

use super::place::Place;
use super::pushed::{self, Begun, Pushed};
use super::systemd::Systemd;
use super::{fail, runtime};
use crate::agent::{Agent, STATUS};
use crate::platform::signals::{self, Reload};
use crate::platform::{clock, process};
use crate::telemetry::event;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The time at the stop for delivering the records that are left.
const DRAIN: Duration = Duration::from_secs(5);
/// The time at the very end for work on files that is still in progress.
const LAST_WORK: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Where the store is, instead of what the configuration says
    #[arg(long)]
    state: Option<PathBuf>,
}

/// The variable that limits glibc's memory arenas. An arena of its own for every thread costs 5 MB here and gains
/// nothing.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Starts the program again with one arena, because the C library reads the setting before `main`. The process id
/// stays.
fn with_one_arena() {
    if std::env::var_os(ARENAS).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        // `exec` returns only when it fails. Then Forebay goes on with a little more memory.
        let _ = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(ARENAS, "1").exec();
    }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    with_one_arena();
    if let Err(error) = process::leave_no_core_dump() {
        tracing::warn!(event = event::STARTED, %error, "a core dump of this process would hold its secrets");
    }
    let state = arguments.state.as_deref();
    let (path, begun) = match arguments.place.path().and_then(|path| {
        let begun = pushed::begin(&path, state)?;
        Ok((path, begun))
    }) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let done = runtime().map_err(|error| error.to_string()).and_then(|runtime| {
        let done = runtime.block_on(serve(begun, &path, state));
        // The end does not wait for a read of a file system that hangs.
        runtime.shutdown_timeout(LAST_WORK);
        done
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // Nothing more can be stored. The service manager must start Forebay again.
        Ok(false) => ExitCode::from(70),
        Err(error) => fail(1, error),
    }
}

/// Runs the agent until a stop is asked for; false when the store has failed.
async fn serve(begun: Begun, path: &Path, state: Option<&Path>) -> Result<bool, String> {
    let text = |error: std::io::Error| error.to_string();
    // The handlers are installed before anything is opened, so that a stop during a long start is orderly, too.
    let mut stop = std::pin::pin!(signals::stop_requested().map_err(text)?);
    let mut reload = Reload::new().map_err(text)?;
    signals::ignore_others().map_err(text)?;
    let (version, shown) = (env!("CARGO_PKG_VERSION"), path.display().to_string());
    tracing::info!(event = event::STARTED, version, config = shown, "forebay starts");
    if !clock::is_credible(clock::wall_ms()) {
        let now = clock::utc(clock::wall_ms());
        tracing::warn!(event = event::STARTED, now, "the clock is not set: times are marked until it is");
    }
    let (mut agent, _) = Agent::start(begun.config).await.map_err(|error| error.to_string())?;
    let mut pushed = Pushed::new(path, state, (begun.ledger, &begun.effective));
    pushed.carry(agent.config());
    let systemd = Systemd::new();
    Systemd::ready(&agent);
    let mut look = tokio::time::interval(systemd.interval());
    let mut status = tokio::time::interval_at(tokio::time::Instant::now() + STATUS, STATUS);
    let is_sound = loop {
        tokio::select! {
            () = &mut stop => break true,
            () = agent.failed() => break false,
            () = reload.requested() => {
                Systemd::reloading();
                for event in systemd.alive_while(Box::pin(pushed.reload(&mut agent))).await {
                    agent.tell(&event);
                }
                Systemd::ready(&agent);
            }
            arrived = pushed.next() => systemd.alive_while(Box::pin(pushed.turn(&mut agent, arrived))).await,
            _ = look.tick() => systemd.alive(&agent),
            _ = status.tick() => agent.log_status(),
        }
    };
    Systemd::stopping();
    Ok(is_sound && systemd.alive_while(agent.stop(DRAIN)).await.is_sound)
}
