//! TLS: rustls with ring, TLS 1.2 and 1.3, the system's roots or given ones. Files are PEM.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The reason why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No root certificate at all.
    #[error("no root certificates were found on this machine; install ca-certificates or set SSL_CERT_FILE")]
    NoRoots,
    /// A file cannot be read, or is not what it should be.
    #[error("{0}: {1}")]
    File(String, String),
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The roots that a client trusts, and its own certificate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// The file of the roots that are trusted instead of the system's.
    pub ca: Option<&'a Path>,
    /// The files of the client's own certificate and of its key.
    pub identity: Option<(&'a Path, &'a Path)>,
    /// The application protocols that are offered (ALPN).
    pub alpn: &'a [String],
    /// The keys that the server may have, in addition to all other checks: SHA-256 of its `SubjectPublicKeyInfo`.
    /// An empty list allows every key.
    pub pins: &'a [[u8; 32]],
}

/// Accepts a server with a valid certificate and a key that is in `pins`.
#[derive(Debug)]
struct Pinned {
    usual: Arc<WebPkiServerVerifier>,
    pins: Vec<[u8; 32]>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let good = self.usual.verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        match key_of(end_entity) {
            Some(key) if self.pins.contains(&key) => Ok(good),
            Some(key) => {
                let answered = format!("the server's key sha256/{} is not in `pins`", STANDARD.encode(key));
                Err(rustls::Error::General(answered))
            }
            None => Err(rustls::CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// SHA-256 of a certificate's public key, as `pins` names it.
fn key_of(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let key = parsed.tbs_certificate().subject_public_key_info().to_der().ok()?;
    digest(&SHA256, &key).as_ref().try_into().ok()
}

/// A client configuration with the system's roots (`SSL_CERT_FILE` is honoured).
///
/// # Errors
/// When there are no roots.
pub fn client() -> Result<Arc<ClientConfig>, TlsError> {
    client_with(Trust::default())
}

/// A client configuration.
///
/// # Errors
/// When there are no roots, or a file is bad.
pub fn client_with(trust: Trust<'_>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match trust.ca {
        Some(path) => add_roots(&mut roots, path)?,
        None => {
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 {
                return Err(TlsError::NoRoots);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = if trust.pins.is_empty() {
        config.with_root_certificates(roots)
    } else {
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let usual = usual.map_err(|error| TlsError::Rustls(rustls::Error::General(error.to_string())))?;
        // rustls calls every verifier except its own "dangerous". This one makes all checks of that verifier, and
        // one more.
        config.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { usual, pins: trust.pins.to_vec() }))
    };
    let mut config = match trust.identity {
        Some((certificate, key)) => config.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = trust.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// A server configuration. With `client_ca`, clients must have a certificate of one of its roots.
///
/// # Errors
/// When a file is bad.
pub fn server(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = match client_ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            add_roots(&mut roots, path)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.map_err(|error| bad(path, error))?)
        }
        None => config.with_no_client_auth(),
    };
    Ok(Arc::new(config.with_single_cert(certificates(certificate)?, private_key(key)?)?))
}

/// The names and the end date in the certificate of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The names that the certificate is for.
    pub names: Vec<String>,
    /// The end of the certificate's validity.
    pub until: String,
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "certificate for {}, good until {}", self.names.join(", "), self.until)
    }
}

/// Reads a certificate; `None` when it cannot be read. The result says nothing about trust.
#[must_use]
pub fn describe(certificate: &CertificateDer<'_>) -> Option<Described> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let parsed = parsed.tbs_certificate();
    let names = parsed.get_extension::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0);
    let name = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    };
    let mut names: Vec<String> = names.iter().flatten().filter_map(name).collect();
    if names.is_empty() {
        names.push(parsed.subject().to_string());
    }
    Some(Described { names, until: parsed.validity().not_after.to_string() })
}

/// When the first certificate in a file ends, in milliseconds since the Unix epoch.
///
/// # Errors
/// The file has no certificate.
pub fn ends(certificate: &Path) -> Result<i64, TlsError> {
    let first = certificates(certificate)?.into_iter().next();
    let parsed = first.and_then(|first| Certificate::from_der(&first).ok());
    let parsed = parsed.ok_or_else(|| bad(certificate, "it has no certificate that can be read"))?;
    let until = parsed.tbs_certificate().validity().not_after.to_unix_duration();
    Ok(i64::try_from(until.as_millis()).unwrap_or(i64::MAX))
}

/// SHA-256 of the first certificate in a file.
///
/// # Errors
/// The file has no certificate.
pub fn fingerprint(certificate: &Path) -> Result<[u8; 32], TlsError> {
    let chain = certificates(certificate)?;
    let first = chain.first().ok_or_else(|| bad(certificate, "there is no certificate in it"))?;
    digest(&SHA256, first).as_ref().try_into().map_err(|_| bad(certificate, "it has no SHA-256"))
}

/// Signs a message with the RSA key in a file: RSASSA-PSS with SHA-256 (PS256 in RFC 7518, section 3.5).
///
/// # Errors
/// When there is no such key.
pub fn sign(key: &Path, message: &[u8]) -> Result<Vec<u8>, TlsError> {
    let loaded = any_supported_type(&private_key(key)?).map_err(|error| bad(key, error))?;
    let signer = loaded.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]);
    Ok(signer.ok_or_else(|| bad(key, "it is no RSA key"))?.sign(message)?)
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| bad(path, error))?;
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(list) if list.is_empty() => Err(bad(path, "there is no certificate in it")),
        Ok(list) => Ok(list),
        Err(error) => Err(bad(path, error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| bad(path, error))
}

fn bad(path: &Path, error: impl std::fmt::Display) -> TlsError {
    TlsError::File(path.display().to_string(), error.to_string())
}
