//! Asking the parts to stop, and why one has ended.

use std::time::Duration;
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

/// A part was asked to stop: carried by `?` to where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("asked to stop")]
pub struct Stopped;

impl Stop {
    /// Waits for something, unless the stop is asked for.
    ///
    /// # Errors
    /// When the stop was asked for first.
    pub async fn or<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            done = future => Ok(done),
            () = self.requested() => Err(Stopped),
        }
    }

    /// Waits for so long.
    ///
    /// # Errors
    /// When the stop was asked for first.
    pub async fn pause(&mut self, wait: Duration) -> Result<(), Stopped> {
        self.or(tokio::time::sleep(wait)).await
    }

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
