//! The signals that ask the agent to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT or SIGTERM and says which came.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn stop_requested() -> std::io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}
