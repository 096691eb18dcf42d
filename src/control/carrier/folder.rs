//! Documents that are dropped into a folder on the device (`forebay config apply`).

use super::{Around, Handled, Wish};
use crate::control::document::LONGEST;
use crate::telemetry::event;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A document that the agent looks at has this ending.
const TAKEN: &str = "taken";
/// A file of this name asks for the document before.
pub const BACK: &str = "rollback";
/// So many different errors are told once each.
const MOST_TOLD: usize = 64;
/// The interval of looking into the folder.
const LOOK: Duration = Duration::from_secs(2);

pub async fn run(inbox: PathBuf, mut around: Around) {
    let mut told = BTreeSet::new();
    while around.stop.pause(LOOK).await.is_ok() {
        for file in files(&inbox) {
            if let Err(error) = brought(&inbox, &file, &around).await
                && told.insert(error.clone())
            {
                tracing::warn!(event = event::CONTROL_DOWN, by = "file", error, "a document cannot be taken");
            }
        }
        if told.len() > MOST_TOLD {
            told.clear();
        }
    }
}

/// The name of a document while the agent looks at it.
#[must_use]
pub fn taken(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(TAKEN);
    name.into()
}

/// Hands a file over, and removes it. A document goes when it was taken; the wish to go back goes before, so that it
/// counts once, also over a power cut.
async fn brought(inbox: &Path, file: &Path, around: &Around) -> Result<(), String> {
    let words = |error: std::io::Error| format!("{}: {error}", file.display());
    if file.ends_with(BACK) {
        std::fs::remove_file(file).and_then(|()| std::fs::File::open(inbox)?.sync_all()).map_err(words)?;
        around.hand_over(Wish::Back, "file").await;
        return Ok(());
    }
    // Somebody may put another document into its place meanwhile.
    let own = if file.extension().is_some_and(|extension| extension == TAKEN) {
        file.to_path_buf()
    } else {
        let own = taken(file);
        std::fs::rename(file, &own).map_err(words)?;
        own
    };
    if around.hand_over(Wish::Take(read(&own).map_err(words)?), "file").await == Handled::Done {
        std::fs::remove_file(own).map_err(words)?;
    }
    Ok(())
}

/// The documents in the order of their names. A name that does not end in `.toml` is still being written.
fn files(inbox: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(inbox).into_iter().flatten().flatten();
    let is_document = |path: &PathBuf| {
        path.ends_with(BACK) || path.extension().is_some_and(|extension| extension == "toml" || extension == TAKEN)
    };
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
