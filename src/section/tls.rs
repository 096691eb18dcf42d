//! TLS settings of a client: the roots that it trusts, and its own certificate.

use super::{At, Section};
use crate::platform::tls::Trust;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::PathBuf;

/// SHA-256 of a public key (`SubjectPublicKeyInfo`, DER; RFC 7469, section 2.4).
pub type Pin = [u8; 32];

/// The roots that a client trusts, and its own certificate. All files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Roots that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// The files of the client's own certificate and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Application protocols that are offered (ALPN).
    pub alpn: Vec<String>,
    /// The public keys that the server may have, in addition to all other checks. An empty list allows every key.
    pub pins: Vec<Pin>,
}

impl ClientTls {
    /// What a connection is made with.
    #[must_use]
    pub fn trust(&self) -> Trust<'_> {
        let identity = self.identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        Trust { ca: self.ca.as_deref(), identity, alpn: &self.alpn, pins: &self.pins }
    }

    /// Reads `tls = { .. }`, if it is there.
    pub fn read(section: &mut Section<'_>, doc: &'static str) -> Option<Self> {
        let mut tls = section.table("tls", doc)?;
        let ca = read_ca(&mut tls);
        let certificate = tls.text("certificate").doc("PEM file of the client's certificate. It goes with `key`.");
        let certificate = certificate.example("\"/etc/forebay/client.pem\"").get();
        let key = tls.text("key").doc("PEM file of the client's private key. It goes with `certificate`.");
        let key = key.example("\"/etc/forebay/client.key\"").get();
        let alpn = tls.texts("alpn").doc("Application protocols that are offered (ALPN).");
        let alpn = alpn.get().unwrap_or_default();
        let pins = read_pins(&mut tls);
        if tls.has("certificate") != tls.has("key") {
            tls.session().problem(tls.span(), "`certificate` and `key` go together", None);
        }
        tls.end();
        let identity = certificate.zip(key).map(|(certificate, key)| (certificate.into(), key.into()));
        Some(Self { ca, identity, alpn: alpn.into_iter().map(|at| at.value).collect(), pins })
    }
}

/// Reads `ca`.
pub fn read_ca(section: &mut Section<'_>) -> Option<PathBuf> {
    let ca = section.text("ca").doc("PEM file of the roots to trust instead of the system's.");
    ca.example("\"/etc/forebay/ca.pem\"").get().map(PathBuf::from)
}

/// Reads `pins`: keys that a server may have.
pub fn read_pins(section: &mut Section<'_>) -> Vec<Pin> {
    let pins: Option<Vec<At<String>>> = section
        .texts("pins")
        .doc("SHA-256 of public keys that the server may have. A connection to any other key fails, and the error names the key that was found.")
        .example("[\"sha256/k2v657xBsOVe1PQRwOsHsw3bsGT2VzIqz5K+59sNQws=\"]")
        .get();
    let mut read = Vec::new();
    for pin in pins.into_iter().flatten() {
        let text = pin.value.strip_prefix("sha256/").and_then(|text| STANDARD.decode(text).ok());
        match text.and_then(|bytes| bytes.try_into().ok()) {
            Some(key) => read.push(key),
            None => {
                let hint = "\"sha256/\" and 44 characters of base64; a connection that fails names the key it found";
                section.session().problem(pin.span, format!("`{}` is no pin", pin.value), Some(hint.into()));
            }
        }
    }
    read
}

/// The certificate that a server shows, and the clients that it lets in. All files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The server's certificate, and the certificates that lead to the root.
    pub certificate: PathBuf,
    /// The private key of the server.
    pub key: PathBuf,
    /// Roots: a client must show a certificate of one of them.
    pub client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// Reads `tls = { .. }` of a listener.
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let certificate =
            section.text("certificate").doc("PEM file of the server's certificate and those that lead to the root.");
        let certificate = certificate.example("\"/etc/forebay/server.pem\"").need();
        let key = section.text("key").doc("PEM file of the server's private key.");
        let key = key.example("\"/etc/forebay/server.key\"").need();
        let client_ca =
            section.text("client_ca").doc("PEM file of roots: a client must show a certificate of one of them.");
        let client_ca = client_ca.example("\"/etc/forebay/devices.pem\"").get().map(PathBuf::from);
        section.end();
        Some(Self { certificate: certificate?.into(), key: key?.into(), client_ca })
    }
}
