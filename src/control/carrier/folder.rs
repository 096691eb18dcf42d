//! Documents that are dropped into a folder on the device (`forebay config apply`).

use super::{Around, Handled, Wish};
use crate::control::document::LONGEST;
use crate::telemetry::event;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file of this name asks for the document before.
pub const BACK: &str = "rollback";
/// The interval of looking into the folder.
const LOOK: Duration = Duration::from_secs(2);

pub async fn run(inbox: PathBuf, mut around: Around) {
    while around.stop.pause(LOOK).await.is_ok() {
        for file in files(&inbox) {
            let wish = if file.ends_with(BACK) { Wish::Back } else { Wish::Take(read(&file).unwrap_or_default()) };
            if around.hand_over(wish, "file").await == Handled::Done
                && let Err(error) = std::fs::remove_file(&file)
            {
                tracing::warn!(event = event::CONTROL_DOWN, file = %file.display(), %error, "cannot remove a document that was taken");
            }
        }
    }
}

/// The documents in the order of their names. A name that does not end in `.toml` is still being written.
fn files(inbox: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(inbox).into_iter().flatten().flatten();
    let is_document =
        |path: &PathBuf| path.ends_with(BACK) || path.extension().is_some_and(|extension| extension == "toml");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_document).collect();
    files.sort();
    files
}

/// A document, as far as it may be long: a longer one is refused whole.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
