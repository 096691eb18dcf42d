//! The request to stop that all parts share, and the reason why a task ended.

use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;

/// The sender of the request to stop; its holder may ask for the stop.
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

/// The receiver of the request to stop. Every part holds a clone; clones are cheap.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Makes a connected sender and receiver.
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

/// The error of a part that was asked to stop; `?` carries it up to the end of the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("asked to stop")]
pub struct Stopped;

impl Stop {
    /// Waits for a future, unless the stop is asked for first.
    ///
    /// # Errors
    /// When the stop was asked for first.
    pub async fn or<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            done = future => Ok(done),
            () = self.requested() => Err(Stopped),
        }
    }

    /// Waits for the time `wait`, unless the stop is asked for first.
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
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Why a task did not end by itself: the text of its panic.
#[must_use]
pub fn reason(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cancelled".into() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "it panicked".into())
}
