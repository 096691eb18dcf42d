//! Microsoft Entra: how a token for Event Hubs is had.

use super::Secret;
use std::path::PathBuf;

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entra {
    /// An application with a secret.
    ClientSecret {
        /// Where it asks.
        application: Application,
        /// Its secret.
        secret: Secret,
    },
    /// An application with a certificate.
    ClientCertificate {
        /// Where it asks.
        application: Application,
        /// Its certificate, PEM.
        certificate: PathBuf,
        /// Its RSA key, PEM.
        key: PathBuf,
    },
    /// An application that another issuer vouches for, by a token in a file that is written anew.
    WorkloadIdentity {
        /// Where it asks.
        application: Application,
        /// The other issuer's token.
        token_file: PathBuf,
    },
    /// What Azure gives to its own machines.
    ManagedIdentity {
        /// Which of several.
        client_id: Option<String>,
        /// Who gives it.
        giver: Giver,
    },
    /// What a program prints: a token, or JSON with `accessToken` or `access_token`.
    Command(Vec<String>),
}

impl Entra {
    /// Files that count with the next token.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::ClientSecret { secret, .. } => secret.file().cloned().into_iter().collect(),
            Self::ClientCertificate { certificate, key, .. } => vec![certificate.clone(), key.clone()],
            Self::WorkloadIdentity { token_file, .. } => vec![token_file.clone()],
            Self::ManagedIdentity { .. } | Self::Command(_) => Vec::new(),
        }
    }
}

/// An application in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// `https://login.microsoftonline.com`, or that of another cloud.
    pub authority: String,
    /// The directory.
    pub tenant: String,
    /// The application.
    pub client_id: String,
}

/// Who gives a managed identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Giver {
    /// The instance metadata service, at this address.
    Imds(String),
    /// App Service: its endpoint and the header that it wants.
    AppService(String, Secret),
    /// Azure Arc: its agent on this machine.
    Arc(String),
}
