//! The signals that ask the agent to stop.

use tokio::signal::unix::{SignalKind, signal};

/// From the call on, SIGINT and SIGTERM no longer end the process; what is returned waits for the first of them.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_requested() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
