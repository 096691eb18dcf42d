//! The settings of `credential = { .. }`: how Forebay gets tokens of Microsoft Entra.

use crate::section::{At, Claim, Secret, Section};
use std::path::PathBuf;

/// The login address of Azure's public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// The address of the instance metadata service on Azure's machines.
const IMDS: &str = "http://169.254.169.254";
const ID: &str = "\"00000000-0000-0000-0000-000000000000\"";

/// The way to get a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entra {
    /// An application with a secret.
    ClientSecret {
        /// The application, and the directory that it asks.
        application: Application,
        /// The secret of the application.
        secret: Secret,
    },
    /// An application with a certificate.
    ClientCertificate {
        /// The application, and the directory that it asks.
        application: Application,
        /// The PEM file of the application's certificate.
        certificate: PathBuf,
        /// The PEM file of the certificate's RSA key.
        key: PathBuf,
    },
    /// An application that proves itself by a token of another issuer; the token's file is written again and again.
    WorkloadIdentity {
        /// The application, and the directory that it asks.
        application: Application,
        /// The file with the other issuer's token.
        token_file: PathBuf,
    },
    /// A managed identity, which Azure gives to this machine or service.
    ManagedIdentity {
        /// The client id that selects one of several identities.
        client_id: Option<String>,
        /// The service that gives the token.
        giver: Giver,
    },
    /// The output of a program (with its arguments): a token, or JSON with `accessToken` or `access_token`.
    Command(Vec<String>),
}

impl Entra {
    /// The files that the next token is made from.
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

impl Entra {
    /// What it uses of the machine and of the network.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        let host = |application: &Application| {
            let url = reqwest::Url::parse(&application.authority).ok();
            url.and_then(|url| url.host_str().map(|host| Claim::Host(host.into())))
        };
        match self {
            Self::ClientSecret { application, .. } => host(application).into_iter().collect(),
            Self::ClientCertificate { application, key, .. } => {
                host(application).into_iter().chain([Claim::File(key.clone())]).collect()
            }
            Self::WorkloadIdentity { application, token_file } => {
                host(application).into_iter().chain([Claim::File(token_file.clone())]).collect()
            }
            Self::ManagedIdentity { .. } => Vec::new(),
            Self::Command(command) => command.first().cloned().map(Claim::Program).into_iter().collect(),
        }
    }
}

/// An application in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The login address: `https://login.microsoftonline.com`, or the address of another cloud.
    pub authority: String,
    /// The id of the directory (tenant).
    pub tenant: String,
    /// The id of the application (client).
    pub client_id: String,
}

/// The service that gives the tokens of a managed identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Giver {
    /// The instance metadata service, at this address.
    Imds(String),
    /// App Service: its endpoint, and the value of the header that it requires.
    AppService(String, Secret),
    /// Azure Arc: the address of its agent on this machine.
    Arc(String),
}

#[derive(Clone, Copy, PartialEq)]
enum EntraKind {
    ClientSecret,
    ClientCertificate,
    WorkloadIdentity,
    ManagedIdentity,
    Command,
}

impl EntraKind {
    /// The configuration keys of this kind of credential.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::ClientSecret => &["tenant", "client_id", "secret", "authority"],
            Self::ClientCertificate => &["tenant", "client_id", "certificate", "key", "authority"],
            Self::WorkloadIdentity => &["tenant", "client_id", "token_file", "authority"],
            Self::ManagedIdentity => &["client_id"],
            Self::Command => &["command"],
        }
    }
}

/// All keys but `kind`.
const KEYS: [&str; 8] = ["tenant", "client_id", "secret", "certificate", "key", "token_file", "command", "authority"];

impl Entra {
    /// Reads `credential`.
    #[must_use]
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let kind = section
            .choice(
                "kind",
                &[
                    ("client-secret", EntraKind::ClientSecret, "An application with a secret."),
                    ("client-certificate", EntraKind::ClientCertificate, "An application with a certificate."),
                    (
                        "workload-identity",
                        EntraKind::WorkloadIdentity,
                        "An application that another issuer vouches for (Kubernetes).",
                    ),
                    (
                        "managed-identity",
                        EntraKind::ManagedIdentity,
                        "The identity of an Azure machine, App Service or Azure Arc.",
                    ),
                    ("command", EntraKind::Command, "The token that a program prints."),
                ],
            )
            .doc("Where tokens come from.")
            .example("\"managed-identity\"")
            .need();
        let is = |wanted: EntraKind| kind == Some(wanted);
        let needs_id = is(EntraKind::ClientSecret) || is(EntraKind::ClientCertificate);
        let tenant = section.text("tenant").doc("The directory (tenant) id.").example(ID);
        let tenant = if needs_id { tenant.need() } else { tenant.get() };
        let client_id = section
            .text("client_id")
            .doc("The application (client) id, or which of several managed identities.")
            .example(ID);
        let client_id = if needs_id { client_id.need() } else { client_id.get() };
        let secret_doc = "The application's secret.";
        let secret = if is(EntraKind::ClientSecret) {
            section.need_secret("secret", secret_doc, "{ env = \"AZURE_CLIENT_SECRET\" }")
        } else {
            section.secret("secret", secret_doc)
        };
        let certificate = section.text("certificate").doc("PEM file of the application's certificate.");
        let certificate = certificate.example("\"/etc/forebay/application.pem\"");
        let certificate = if is(EntraKind::ClientCertificate) { certificate.need() } else { certificate.get() };
        let key = section.text("key").doc("PEM file of the certificate's RSA key, where it is not in the same file.");
        let key = key.example("\"/etc/forebay/application.key\"").get_or("the file of `certificate`");
        let token_file = section.text("token_file").doc("File with the other issuer's token.");
        let token_file = token_file
            .example("\"/var/run/secrets/azure/tokens/azure-identity-token\"")
            .get_or("`AZURE_FEDERATED_TOKEN_FILE`");
        let command = section
            .texts("command")
            .doc("A program and its arguments. It prints a token, or JSON with `accessToken` or `access_token`.")
            .example("[\"/usr/local/bin/token\"]")
            .check(|command| {
                let is_empty = command.first().is_none_or(|program| program.value.is_empty());
                is_empty.then(|| ("`command` is empty".into(), None))
            });
        let command = if is(EntraKind::Command) { command.need() } else { command.get() };
        let authority = section
            .text("authority")
            .doc("Address of another cloud's login.")
            .check(|text| (!is_address(text)).then(|| ("`authority` is an https:// address".into(), None)))
            .get_or("`\"https://login.microsoftonline.com\"`");
        let read = kind.and_then(|kind| {
            for key in KEYS.iter().filter(|key| section.has(key) && !kind.keys().contains(key)) {
                let hint = format!("it has: {}", kind.keys().join(", "));
                section.wrong_because(key, format!("`{key}` does not go with this kind of credential"), hint);
            }
            let certificate = certificate.map(|certificate| {
                let key = key.unwrap_or_else(|| certificate.clone());
                (PathBuf::from(certificate), PathBuf::from(key))
            });
            let given = Given { tenant, client_id, secret, certificate, token_file, command, authority };
            given.of_kind(kind, &mut section)
        });
        section.end();
        read
    }
}

/// What a section says, whatever its kind.
struct Given {
    tenant: Option<String>,
    client_id: Option<String>,
    secret: Option<Secret>,
    certificate: Option<(PathBuf, PathBuf)>,
    token_file: Option<String>,
    command: Option<Vec<At<String>>>,
    authority: Option<String>,
}

impl Given {
    fn of_kind(self, kind: EntraKind, section: &mut Section<'_>) -> Option<Entra> {
        // The variables that Kubernetes and others set for a workload identity.
        let session = section.session();
        let inherited = |name: &str| session.variable(name).filter(|_| kind == EntraKind::WorkloadIdentity);
        let authority =
            self.authority.or_else(|| inherited("AZURE_AUTHORITY_HOST")).unwrap_or_else(|| AUTHORITY.into());
        let application = |tenant: Option<String>, client_id: Option<String>| {
            Some(Application { authority, tenant: tenant?, client_id: client_id? })
        };
        match kind {
            EntraKind::ManagedIdentity => {
                Some(Entra::ManagedIdentity { client_id: self.client_id, giver: Giver::of(section) })
            }
            EntraKind::Command => Some(Entra::Command(self.command?.into_iter().map(|part| part.value).collect())),
            EntraKind::ClientSecret => {
                let application = application(self.tenant, self.client_id);
                Some(Entra::ClientSecret { application: application?, secret: self.secret? })
            }
            EntraKind::ClientCertificate => {
                let application = application(self.tenant, self.client_id);
                let (certificate, key) = self.certificate?;
                Some(Entra::ClientCertificate { application: application?, certificate, key })
            }
            EntraKind::WorkloadIdentity => {
                let mut found = |given: Option<String>, name: &'static str, variable: &str| {
                    let found = given.or_else(|| inherited(variable));
                    if found.is_none() && !section.has(name) {
                        section.missing(name, format!("`{name}` is missing, and {variable} is not set"), "");
                    }
                    found
                };
                let tenant = found(self.tenant, "tenant", "AZURE_TENANT_ID");
                let client_id = found(self.client_id, "client_id", "AZURE_CLIENT_ID");
                let token_file = found(self.token_file, "token_file", "AZURE_FEDERATED_TOKEN_FILE");
                let application = application(tenant, client_id);
                Some(Entra::WorkloadIdentity { application: application?, token_file: token_file?.into() })
            }
        }
    }
}

impl Giver {
    /// The service that gives tokens to this machine, according to the environment variables.
    fn of(section: &Section<'_>) -> Self {
        let endpoint = section.variable("IDENTITY_ENDPOINT");
        match (endpoint, section.variable("IDENTITY_HEADER")) {
            (Some(place), Some(header)) => Self::AppService(place, Secret::new(header)),
            // Azure Arc's agent sets this variable for services.
            (Some(place), None) if section.variable("IMDS_ENDPOINT").is_some() => Self::Arc(place),
            _ => Self::Imds(section.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| IMDS.into())),
        }
    }
}

/// Whether an address uses TLS, or leads to this machine itself.
fn is_address(text: &str) -> bool {
    let local = ["http://127.0.0.1:", "http://localhost:"];
    text.starts_with("https://") || local.iter().any(|place| text.starts_with(place))
}
