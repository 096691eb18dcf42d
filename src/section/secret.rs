//! Texts that are never shown: passwords, keys, tokens.
//!
//! They are overwritten when they are dropped (`zeroize`), so that reused memory does not hold them. Libraries may
//! make copies for their own work. `forebay run` leaves no core dump.

use super::catalog::Shape;
use super::{Data, Section, Session, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

const WANTED: &str = "a secret does not stand in this file: { env = \"NAME\" }, { file = \"/path\" } or \
                      { credential = \"NAME\" } says where it is";

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: Arc<Zeroizing<String>>,
    file: Option<PathBuf>,
}

impl Secret {
    /// Creates a secret from a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { text: Arc::new(Zeroizing::new(text)), file: None }
    }

    /// Creates a secret from the text that a file had when it was read.
    #[must_use]
    pub fn of_file(text: String, file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::new(text) }
    }

    /// The text of the secret, for the code that must use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The file that the secret came from. The file may be written anew while Forebay runs.
    #[must_use]
    pub fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// Reads the file of the secret again. A file that is missing, unreadable or empty leaves the secret as it is.
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

impl Section<'_> {
    /// Asks for a secret. The configuration has only its place.
    pub fn secret(&mut self, key: &'static str, doc: &'static str) -> Option<Secret> {
        self.record(self.entry(key, Shape::Secret, doc));
        let value = self.take(key)?;
        find(self.session(), &value)
    }

    /// Asks for a secret that must be there.
    pub fn need_secret(&mut self, key: &'static str, doc: &'static str, example: &str) -> Option<Secret> {
        let mut entry = self.entry(key, Shape::Secret, doc);
        (entry.is_required, entry.example) = (true, Some(example.into()));
        self.record(entry);
        match self.take(key) {
            Some(value) => find(self.session(), &value),
            None => {
                self.missing(key, format!("`{key}` is missing"), format!("for example: {key} = {example}"));
                None
            }
        }
    }
}

/// Reads the secret that a value refers to.
fn find(session: &Session<'_>, value: &Value) -> Option<Secret> {
    let problem = |message: String, hint: Option<String>| session.problem(value.span.clone(), message, hint);
    let Data::Table(table) = &value.data else {
        // The text here may be the secret itself, so the message does not repeat it.
        let found = value.data.words(false);
        problem(format!("{found} stands here, and the place of a secret is wanted"), Some(WANTED.into()));
        return None;
    };
    let place = match &table[..] {
        [(key, Value { data: Data::Text(text), .. })] => Some((key.name.as_str(), text)),
        _ => None,
    };
    let found = match place {
        Some(("env" | "file" | "credential" | "secret", _)) if session.without_secrets => {
            return Some(Secret::new(String::new()));
        }
        Some(("secret", name)) => match session.named_secret(name) {
            Some(Value { data: Data::Table(table), .. }) if table.iter().any(|(key, _)| key.name == "secret") => {
                Err(format!("[secret.{name}] names another secret: give it `env`, `file` or `credential`"))
            }
            // What is wrong is told at its own place.
            Some(named) => return find(session, &named),
            None => Err(format!("there is no [secret.{name}] in the local file")),
        },
        Some(("env", name)) => variable(session, name),
        Some(("file", path)) => file(session, path.into()),
        Some(("credential", name)) => match session.environment.variable("CREDENTIALS_DIRECTORY") {
            Some(folder) => file(session, Path::new(&folder).join(name)),
            None => Err("systemd gave no credentials; set LoadCredential= in the unit".into()),
        },
        _ => {
            Err("give exactly one of `env`, `file`, `credential`, `secret`, as text; a secret has no `default`".into())
        }
    };
    match found.map(|(text, file)| (Zeroizing::new(text.trim().to_string()), file)) {
        Ok((text, _)) if text.is_empty() => {
            problem("the secret is empty".into(), None);
            None
        }
        Ok((text, Some(file))) => Some(Secret::of_file(text.to_string(), file)),
        Ok((text, None)) => Some(Secret::new(text.to_string())),
        Err(message) => {
            problem(message, None);
            None
        }
    }
}

type Found = Result<(Zeroizing<String>, Option<PathBuf>), String>;

fn variable(session: &Session<'_>, name: &str) -> Found {
    let found = session.environment.variable(name).map(|text| (Zeroizing::new(text), None));
    // A user may write the secret in place of the name. The output must not show it.
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let shown = if is_name(name) { name } else { "that is named here" };
    found.ok_or_else(|| format!("the environment variable {shown} is not set"))
}

fn file(session: &Session<'_>, path: PathBuf) -> Found {
    match session.environment.file(&path) {
        Ok(text) => Ok((text.into(), Some(path))),
        Err(error) => {
            // For the same reason, only a text with a slash is shown as a path.
            let path = path.display().to_string();
            let shown = if path.contains('/') { &path } else { "the file that is named here" };
            Err(format!("cannot read {shown}: {error}"))
        }
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
