//! Reads lines of files: one file, or all files that match a pattern.
//!
//! Invariants: a line enters the store exactly once, because its position is in the same commit;
//! a file is known by device, inode and the CRC of its beginning, not by its name; a renamed
//! file is read to its end.

mod content;
mod rules;
mod saved;
mod settings;
mod tail;
#[cfg(test)]
mod tests;
mod track;

use super::Context;
use crate::flow::pulse::Work;
use crate::platform::watch::Watch;
use crate::telemetry::event;
pub use settings::{KIND, Settings, WhenDone};
use std::path::Path;
use std::time::Duration;
pub use tail::Tail;
use tokio::time::Instant;

/// A watched folder in which nothing changes is looked at this often.
const REST: Duration = Duration::from_secs(10);

/// Says which files match the path, and whether they can be read.
pub(super) fn probe(settings: &Settings) -> Result<String, String> {
    let paths = glob::glob(&settings.path).map_err(|error| error.to_string())?;
    let files: Vec<_> = paths.filter_map(Result::ok).filter(|path| path.is_file()).collect();
    let bad = files.iter().find_map(|path| Some((path, std::fs::File::open(path).err()?)));
    match bad {
        Some((path, error)) => Err(format!("{}: {error}", path.display())),
        None if files.is_empty() => Ok(format!("no file matches {} yet", settings.path)),
        None => Ok(format!("{} file(s) can be read", files.len())),
    }
}

/// Waits for a change of the folder, if it is watched, and at least until `not_before`. So the folder is never
/// looked at more often than without a watch.
async fn changed(watch: Option<&Watch>, not_before: Instant) -> std::io::Result<()> {
    match watch {
        Some(watch) => watch.changed().await?,
        None => std::future::pending().await,
    }
    tokio::time::sleep_until(not_before).await;
    Ok(())
}

pub(super) async fn run(settings: Settings, context: Context) {
    let Context { name, mut giver, positions, mut stop, metrics, health, .. } = context;
    let poll = settings.poll;
    let mut watch = Watch::new().ok();
    let folder = saved::folder(Path::new(&settings.path)).to_path_buf();
    let pattern = settings.path.clone();
    let mut had_files = settings.when_done != WhenDone::Keep;
    let mut tail = Tail::new(settings, &positions, metrics);
    let reading = health.pulse("a read of files", Work::Apart);
    tracing::info!(event = event::SOURCE_UP, source = %name, "reading files");
    loop {
        let looked = Instant::now();
        // Every change from here on wakes the loop below.
        let is_watched = watch.as_ref().is_some_and(|watch| watch.folder(&folder));
        // Files may be on slow cards: another thread reads them, so that the network never waits.
        let settled = giver.settled();
        let reading = reading.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _busy = reading.begin();
            let frames = tail.poll(settled);
            (tail, frames)
        });
        let frames;
        (tail, frames) = match read.await {
            Ok(done) => done,
            // The supervisor starts the source again from its saved positions.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        had_files |= tail.has_files();
        match (tail.has_files(), had_files) {
            (true, _) => health.up(),
            // The files that were there are read and put away.
            (false, true) => health.idle(),
            (false, false) => health.waiting(format_args!("no file matches {pattern} yet")),
        }
        let idle = frames.is_empty();
        for frame in frames {
            tokio::select! {
                pushed = giver.push(frame) => if pushed.is_none() { return },
                () = stop.requested() => return,
            }
        }
        if idle {
            let longest = if is_watched && tail.is_at_rest() { poll.max(REST) } else { poll };
            tokio::select! {
                () = tokio::time::sleep(longest) => {}
                woken = changed(watch.as_ref(), looked + poll) => if woken.is_err() { watch = None },
                () = stop.requested() => return,
            }
        } else if stop.is_requested() {
            return;
        }
    }
}
