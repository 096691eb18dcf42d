//! The signals that ask the agent to stop, and those that must not end it.

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

/// From the call on, SIGHUP, SIGUSR1, SIGUSR2 and SIGALRM do not end the process any more; `told` is called with
/// the name of each that comes and that somebody may have meant for us.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn ignore_others(told: fn(&'static str)) -> std::io::Result<()> {
    let others = [
        (SignalKind::hangup(), Some("SIGHUP")),
        (SignalKind::user_defined1(), None),
        (SignalKind::user_defined2(), None),
        (SignalKind::alarm(), None),
    ];
    for (kind, name) in others {
        let mut signal = signal(kind)?;
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                name.into_iter().for_each(told);
            }
        });
    }
    Ok(())
}
