//! NDJSON files in a folder: air-gapped export, and the simplest example of a sink.
//!
//! A file is `<stream>.<epoch>.<first sequence>.ndjson`; a new one begins with every start, every
//! epoch and every 16 MiB. A batch is accepted after its file and the folder were synced. What a
//! crash tore off at the end of a file is in the next file again: readers skip a last line
//! without newline, and drop by sequence what they have.

use super::{BODY_RAW, DeliverError, Delivery, Limits, Sink};
pub use crate::config::value::Directory as Settings;
use crate::flow::batch::{Batch, Event};
use crate::flow::receipt::Accepted;
use flate2::read::GzDecoder;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// A new file begins behind this many bytes.
const FILE_BYTES: u64 = 16 << 20;

/// See the module.
#[derive(Debug)]
pub struct Directory {
    settings: Settings,
    files: Arc<Mutex<HashMap<String, Open>>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    epoch: u64,
    length: u64,
}

impl Directory {
    /// Touches nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, files: Arc::default() }
    }
}

impl Sink for Directory {
    fn limits(&self) -> Limits {
        Limits { batch: 1 << 20, largest: usize::MAX, per_event: 0, raw: BODY_RAW }
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivery<'a> {
        let (folder, files, batch) = (self.settings.path.clone(), self.files.clone(), batch.clone());
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                batch.events.iter().try_for_each(|event| append(&folder, &mut files, event))?;
                for event in &batch.events {
                    if let Some(open) = files.get(&*event.envelope.stream) {
                        open.file.sync_data()?;
                    }
                }
                File::open(&folder)?.sync_all()
            });
            match written.await {
                Ok(Ok(())) => Ok(Accepted::by_target()),
                Ok(Err(error)) => {
                    Err(DeliverError::transient(format_args!("{}: {error}", self.settings.path.display())))
                }
                Err(error) => Err(DeliverError::transient(error)),
            }
        })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

fn append(folder: &std::path::Path, files: &mut HashMap<String, Open>, event: &Event) -> io::Result<()> {
    let envelope = &event.envelope;
    let stream = envelope.stream.to_string();
    let fits = |open: &Open| open.epoch == envelope.epoch && open.length < FILE_BYTES;
    if !files.get(&stream).is_some_and(fits) {
        if !folder.is_dir() {
            std::fs::create_dir_all(folder)?;
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        let name = format!("{}.{:016x}.{:020}.ndjson", file_name(&stream), envelope.epoch, envelope.first);
        // An older file of the same name is of the same records: a batch that was tried before.
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(folder.join(name))?;
        files.insert(stream.clone(), Open { file, epoch: envelope.epoch, length: 0 });
    }
    let Some(open) = files.get_mut(&stream) else {
        return Ok(());
    };
    let mut body = Vec::new();
    match envelope.content_encoding {
        Some(_) => GzDecoder::new(&event.body[..]).read_to_end(&mut body)?,
        None => Read::read_to_end(&mut &event.body[..], &mut body)?,
    };
    if let Err(error) = open.file.write_all(&body) {
        // The batch is tried again in a file of its own; this one keeps whole lines.
        let _ = open.file.set_len(open.length);
        files.remove(&stream);
        return Err(error);
    }
    open.length += body.len() as u64;
    Ok(())
}

/// A stream's name may have characters that a file's name may not.
fn file_name(stream: &str) -> String {
    stream.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}
