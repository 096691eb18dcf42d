//! `credential = { .. }`: Microsoft Entra

use super::Checker;
use crate::config::raw::{self, EntraKind};
use crate::config::value::{Application, Entra, Giver, Secret};
use std::path::PathBuf;
use toml::Spanned;

/// Azure's public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// The instance metadata service of Azure's machines.
const IMDS: &str = "http://169.254.169.254";

impl Checker<'_> {
    pub(super) fn entra(&mut self, entra: Spanned<raw::Entra>) -> Option<Entra> {
        let span = entra.span();
        let raw::Entra { kind, tenant, client_id, secret, certificate, key, token_file, command, authority } =
            entra.into_inner();
        let kind = self.need(kind, &span, "kind", "\"managed-identity\"")?.into_inner();
        let meant: &[&str] = match kind {
            EntraKind::ClientSecret => &["tenant", "client_id", "secret", "authority"],
            EntraKind::ClientCertificate => &["tenant", "client_id", "certificate", "key", "authority"],
            EntraKind::WorkloadIdentity => &["tenant", "client_id", "token_file", "authority"],
            EntraKind::ManagedIdentity => &["client_id"],
            EntraKind::Command => &["command"],
        };
        let keys = [
            ("tenant", tenant.as_ref().map(Spanned::span)),
            ("client_id", client_id.as_ref().map(Spanned::span)),
            ("secret", secret.as_ref().map(Spanned::span)),
            ("certificate", certificate.as_ref().map(Spanned::span)),
            ("key", key.as_ref().map(Spanned::span)),
            ("token_file", token_file.as_ref().map(Spanned::span)),
            ("command", command.as_ref().map(Spanned::span)),
            ("authority", authority.as_ref().map(Spanned::span)),
        ];
        for (name, at) in keys {
            if let Some(at) = at.filter(|_| !meant.contains(&name)) {
                let hint = format!("it has: {}", meant.join(", "));
                self.problem(at, format!("`{name}` does not go with this kind of credential"), Some(hint));
            }
        }
        // What Kubernetes and others set for a workload identity.
        let variable = |name: &str| self.environment.variable(name).filter(|value| !value.is_empty());
        let is_workload = kind == EntraKind::WorkloadIdentity;
        let inherited = |name: &str| is_workload.then(|| variable(name)).flatten();
        let (own_tenant, own_id, own_file) =
            (inherited("AZURE_TENANT_ID"), inherited("AZURE_CLIENT_ID"), inherited("AZURE_FEDERATED_TOKEN_FILE"));
        let own_authority = inherited("AZURE_AUTHORITY_HOST");
        let endpoint = variable("IDENTITY_ENDPOINT");
        let app_service = endpoint.clone().zip(variable("IDENTITY_HEADER"));
        // What Azure Arc's agent sets for services.
        let arc = endpoint.filter(|_| variable("IMDS_ENDPOINT").is_some());
        let imds = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| IMDS.into());
        if let Some(authority) = authority.as_ref().filter(|authority| !is_address(authority.get_ref())) {
            self.problem(authority.span(), "`authority` is an https:// address".into(), None);
        }
        let authority = authority.map(Spanned::into_inner).or(own_authority).unwrap_or_else(|| AUTHORITY.into());
        match kind {
            EntraKind::ManagedIdentity => {
                let client_id = client_id.map(Spanned::into_inner);
                let giver = match (app_service, arc) {
                    (Some((place, header)), _) => Giver::AppService(place, Secret::new(header)),
                    (None, Some(place)) => Giver::Arc(place),
                    (None, None) => Giver::Imds(imds),
                };
                Some(Entra::ManagedIdentity { client_id, giver })
            }
            EntraKind::Command => {
                let command = self.need(command, &span, "command", "[\"/usr/local/bin/token\"]")?;
                if command.get_ref().first().is_none_or(String::is_empty) {
                    self.problem(command.span(), "`command` is empty".into(), None);
                }
                Some(Entra::Command(command.into_inner()))
            }
            EntraKind::ClientSecret | EntraKind::ClientCertificate => {
                let id = "\"00000000-0000-0000-0000-000000000000\"";
                let tenant = self.need(tenant, &span, "tenant", id);
                let client_id = self.need(client_id, &span, "client_id", id);
                let application = tenant.zip(client_id).map(|(tenant, client_id)| Application {
                    authority,
                    tenant: tenant.into_inner(),
                    client_id: client_id.into_inner(),
                });
                if kind == EntraKind::ClientCertificate {
                    let certificate = self.need(certificate, &span, "certificate", "\"/etc/forebay/application.pem\"");
                    let certificate = PathBuf::from(certificate?.into_inner());
                    let key = key.map_or_else(|| certificate.clone(), |key| key.into_inner().into());
                    return Some(Entra::ClientCertificate { application: application?, certificate, key });
                }
                let secret = self.need(secret, &span, "secret", "{ env = \"AZURE_CLIENT_SECRET\" }")?;
                let secret = self.secret(&secret);
                Some(Entra::ClientSecret { application: application?, secret: secret? })
            }
            EntraKind::WorkloadIdentity => {
                let mut found = |given: Option<Spanned<String>>, own: Option<String>, name: &str, variable: &str| {
                    let found = given.map(Spanned::into_inner).or(own);
                    if found.is_none() {
                        self.problem(span.clone(), format!("`{name}` is missing, and {variable} is not set"), None);
                    }
                    found
                };
                let tenant = found(tenant, own_tenant, "tenant", "AZURE_TENANT_ID");
                let client_id = found(client_id, own_id, "client_id", "AZURE_CLIENT_ID");
                let token_file = found(token_file, own_file, "token_file", "AZURE_FEDERATED_TOKEN_FILE");
                let application = Application { authority, tenant: tenant?, client_id: client_id? };
                Some(Entra::WorkloadIdentity { application, token_file: token_file?.into() })
            }
        }
    }
}

/// Over TLS, or to this machine itself.
fn is_address(text: &str) -> bool {
    let local = ["http://127.0.0.1:", "http://localhost:"];
    text.starts_with("https://") || local.iter().any(|place| text.starts_with(place))
}
