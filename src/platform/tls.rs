//! TLS towards brokers and hubs: rustls with ring and the system's roots.

use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No root certificate at all.
    #[error("no root certificates were found on this machine; install ca-certificates or set SSL_CERT_FILE")]
    NoRoots,
    /// rustls refuses.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// A client configuration with the system's roots (`SSL_CERT_FILE` is honoured), TLS 1.2 and 1.3.
///
/// # Errors
/// When there are no roots.
pub fn client() -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(TlsError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
