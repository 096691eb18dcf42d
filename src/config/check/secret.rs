//! Whom to trust and how to prove who we are: certificates, pinned keys, secrets by reference.

use super::Checker;
use crate::config::raw;
use crate::config::value::{ClientTls, Pin, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use toml::Spanned;
use zeroize::Zeroizing;

impl Checker<'_> {
    /// Whom a client trusts, and who it is.
    pub(super) fn client_tls(&mut self, tls: Spanned<raw::mqtt::Tls>) -> ClientTls {
        let span = tls.span();
        let raw::mqtt::Tls { ca, certificate, key, alpn, pins } = tls.into_inner();
        let pins = self.pins(pins);
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate.into_inner().into(), key.into_inner().into())),
            (None, None) => None,
            _ => {
                self.problem(span, "`certificate` and `key` go together".into(), None);
                None
            }
        };
        ClientTls { ca: ca.map(Into::into), identity, alpn: alpn.unwrap_or_default(), pins }
    }

    /// Keys that a server may have, as RFC 7469 writes them.
    pub(super) fn pins(&mut self, pins: Option<Vec<Spanned<String>>>) -> Vec<Pin> {
        let mut read = Vec::new();
        for pin in pins.into_iter().flatten() {
            let text = pin.get_ref().strip_prefix("sha256/").and_then(|text| STANDARD.decode(text).ok());
            match text.and_then(|bytes| bytes.try_into().ok()) {
                Some(key) => read.push(key),
                None => {
                    let hint =
                        "\"sha256/\" and 44 characters of base64; a connection that fails names the key it found";
                    self.problem(pin.span(), format!("`{}` is no pin", pin.get_ref()), Some(hint.into()));
                }
            }
        }
        read
    }

    /// The text behind a reference.
    pub(super) fn secret(&mut self, reference: &Spanned<raw::Reference>) -> Option<Secret> {
        let raw::Reference { env, file, credential } = reference.get_ref();
        let found = match (env, file, credential) {
            (Some(name), None, None) => {
                let found = self.environment.variable(name).map(|text| (Zeroizing::new(text), None));
                // Whoever writes the secret in place of the name finds it in no output.
                let is_name =
                    |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
                let shown = if is_name(name) { name } else { "that is named here" };
                found.ok_or_else(|| format!("the environment variable {shown} is not set"))
            }
            (None, Some(path), None) => self.secret_file(path.into()),
            (None, None, Some(name)) => match self.environment.variable("CREDENTIALS_DIRECTORY") {
                Some(folder) => self.secret_file(Path::new(&folder).join(name)),
                None => Err("systemd gave no credentials; set LoadCredential= in the unit".into()),
            },
            _ => Err("give exactly one of `env`, `file`, `credential`".into()),
        };
        match found.map(|(text, file)| (text.trim().to_string(), file)) {
            Ok((text, _)) if text.is_empty() => {
                self.problem(reference.span(), "the secret is empty".into(), None);
                None
            }
            Ok((text, Some(file))) => Some(Secret::of_file(text, file)),
            Ok((text, None)) => Some(Secret::new(text)),
            Err(message) => {
                self.problem(reference.span(), message, None);
                None
            }
        }
    }

    fn secret_file(&self, path: PathBuf) -> Result<(Zeroizing<String>, Option<PathBuf>), String> {
        match self.environment.file(&path) {
            Ok(text) => Ok((text.into(), Some(path))),
            Err(error) => {
                // The same: a path is one with a slash.
                let path = path.display().to_string();
                let shown = if path.contains('/') { &path } else { "the file that is named here" };
                Err(format!("cannot read {shown}: {error}"))
            }
        }
    }
}
