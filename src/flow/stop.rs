//! Asking the parts to stop, and why one has ended.

use tokio::sync::watch;
use tokio::task::JoinError;

/// Held by whoever may ask for the stop.
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

/// Given to every part; cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A pair.
#[must_use]
pub fn stop() -> (StopSender, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopSender(sender), Stop(receiver))
}

impl StopSender {
    /// Asks every holder of a `Stop` to end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns when the stop was asked for, or when nobody can ask any more.
    pub async fn requested(&mut self) {
        // An error means that the sender is gone, which asks for the stop as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether the stop was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

/// Why a task did not end by itself: the text of its panic.
#[must_use]
pub fn reason(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cancelled".into() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "it panicked".into())
}
