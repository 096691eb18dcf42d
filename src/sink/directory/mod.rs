//! NDJSON files in a folder: air-gapped export, and the simplest example of a sink.
//!
//! Invariants: a batch is accepted only when its file and the folder are synced *and* the path still leads to this
//! file. Programs that collect files may move or remove them at any time.
//! The name of a file that is being written ends in `.writing`; a final name says that nothing will be added.
//!
//! A file is finished at 16 MiB, when it is `roll` old, with a new epoch, and at a stop. Files that a killed
//! process left unfinished are cut to whole lines and finished before a new file is written.

mod file;
mod folder;
mod settings;

use super::{BODY_RAW, DeliverError, Delivery, Limits, Sink};
use crate::flow::batch::Batch;
use crate::flow::receipt::Accepted;
use crate::telemetry::Metrics;
use folder::Folder;
pub use settings::{KIND, Settings};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// The shortest time between two checks of the age of files.
const LEAST_SLEEP: Duration = Duration::from_secs(1);

/// A sink that writes files in a folder.
#[derive(Debug)]
pub struct Directory {
    settings: Settings,
    folder: Arc<Mutex<Folder>>,
    /// Set when the task that finishes files by age was started; the task ends some time after the sink.
    ageing: OnceLock<()>,
    /// Tells that task of each batch.
    written: watch::Sender<()>,
}

impl Directory {
    /// Makes the sink; nothing on the disk is touched yet.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let folder = Arc::new(Mutex::new(Folder::new(settings.clone(), metrics)));
        Self { settings, folder, ageing: OnceLock::new(), written: watch::Sender::new(()) }
    }

    fn error(&self, error: impl std::fmt::Display) -> DeliverError {
        DeliverError::transient(format_args!("{}: {error}", self.settings.path.display()))
    }
}

impl Sink for Directory {
    fn limits(&self) -> Limits {
        Limits { batch: 1 << 20, largest: usize::MAX, per_event: 0, raw: BODY_RAW }
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivery<'a> {
        self.ageing.get_or_init(|| {
            drop(tokio::spawn(finish_the_old(Arc::downgrade(&self.folder), self.written.subscribe())));
        });
        let (folder, batch) = (self.folder.clone(), batch.clone());
        Box::pin(async move {
            let written = self.written.clone();
            // The thread goes on when nobody waits for the delivery any more.
            let write = move |folder: &mut Folder| {
                let done = folder.write(&batch.events);
                written.send_replace(());
                done
            };
            match on_thread(folder, write).await {
                Ok(Ok(())) => Ok(Accepted::by_target()),
                Ok(Err(error)) => Err(self.error(error)),
                Err(error) => Err(self.error(error)),
            }
        })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            // If the thread fails, the next start finishes the files.
            let _ = on_thread(self.folder.clone(), Folder::finish_all).await;
        })
    }
}

/// Finishes files by their age, until the sink is gone. It sleeps while no file is being written.
async fn finish_the_old(folder: Weak<Mutex<Folder>>, mut written: watch::Receiver<()>) {
    loop {
        let Some(folder) = folder.upgrade() else { return };
        match on_thread(folder, Folder::finish_old).await {
            Ok(Some(next)) => tokio::time::sleep(next.max(LEAST_SLEEP)).await,
            Ok(None) | Err(_) => {
                if written.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Does work on files in a thread of its own: a slow disk must not delay the network.
async fn on_thread<T: Send + 'static>(
    folder: Arc<Mutex<Folder>>,
    work: impl FnOnce(&mut Folder) -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(move || work(&mut folder.lock().unwrap_or_else(PoisonError::into_inner))).await
}
