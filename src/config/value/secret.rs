//! Texts that are never shown: passwords, keys, tokens.
//!
//! They are overwritten when they are let go (`zeroize`), so that memory that is used again does not hold
//! them; copies that libraries make for their own work are theirs. `forebay run` leaves no core dump.

use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: Arc<Zeroizing<String>>,
    file: Option<PathBuf>,
}

impl Secret {
    /// Takes it in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { text: Arc::new(Zeroizing::new(text)), file: None }
    }

    /// What a file held when it was read.
    #[must_use]
    pub fn of_file(text: String, file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::new(text) }
    }

    /// For whoever must use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The file that it came from, which may be written anew while we run.
    #[must_use]
    pub fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// What its file holds now. A file that is gone, empty or in the making leaves it as it is.
    #[must_use]
    pub fn now(&self) -> Self {
        let read = self.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).map(Zeroizing::new);
        match (read, &self.file) {
            (Some(text), Some(file)) if !text.trim().is_empty() => Self::of_file(text.trim().into(), file.clone()),
            _ => self.clone(),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_anew_is_read_anew_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "one\n").unwrap();
        let secret = Secret::of_file("one".into(), file.clone());
        assert_eq!(secret.now(), secret);
        std::fs::write(&file, "two\n").unwrap();
        assert_eq!((secret.expose(), secret.now().expose()), ("one", "two"));
        std::fs::write(&file, " \n").unwrap();
        assert_eq!(secret.now().expose(), "one");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(secret.now().expose(), "one");
        assert_eq!(Secret::new("x".into()).now().expose(), "x");
        assert_eq!(format!("{secret:?}"), "(secret)");
    }
}
