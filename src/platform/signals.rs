//! The signals that ask the agent for an action, and the signals that must not end it.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// From the call on, SIGINT and SIGTERM no longer end the process. The returned future waits for the first of them.
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

/// From its creation on, SIGHUP does not end the process but asks for a reload of the configuration.
#[derive(Debug)]
pub struct Reload(Signal);

impl Reload {
    /// Installs the handler.
    ///
    /// # Errors
    /// When it cannot be installed.
    pub fn new() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next SIGHUP; several that come at once are one.
    pub async fn requested(&mut self) {
        // The stream ends with the process.
        let _ = self.0.recv().await;
    }
}

/// From the call on, SIGUSR1, SIGUSR2 and SIGALRM do not end the process any more.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn ignore_others() -> std::io::Result<()> {
    for kind in [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm()] {
        let mut signal = signal(kind)?;
        tokio::spawn(async move { while signal.recv().await.is_some() {} });
    }
    Ok(())
}
