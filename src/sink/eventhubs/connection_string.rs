//! Event Hubs connection strings, as Azure's portal gives them.
//!
//! `Endpoint=sb://NAMESPACE/;SharedAccessKeyName=..;SharedAccessKey=..;EntityPath=..`; also
//! `SharedAccessSignature=` instead of a key. `UseDevelopmentEmulator=true` means plain TCP and lets
//! the endpoint have a port (`docs/reference/event-hubs.md`, "What Microsoft's clients need of a server").

use crate::section::{Host, Place, Secret};
use crate::sink::entra::Entra;

/// The address of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name or IP address of the host.
    pub host: String,
    /// The AMQP port: 5671 in Azure; 5672 with the emulator unless the endpoint names another port.
    pub port: u16,
    /// Whether TLS is used; false only with the emulator.
    pub tls: bool,
    /// The port that the endpoint names. Without TLS it is part of the address that tokens are made for.
    pub named_port: Option<u16>,
}

impl Endpoint {
    /// The address of an entity, for tokens and links.
    #[must_use]
    pub fn address(&self, scheme: &str, entity: &str) -> String {
        match self.named_port.filter(|_| !self.tls) {
            Some(port) => format!("{scheme}://{}:{port}/{entity}", Host(&self.host)),
            None => format!("{scheme}://{}/{entity}", Host(&self.host)),
        }
    }
}

/// The credential that proves who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A policy's name and key: tokens are made from them.
    Key {
        /// The name of the policy.
        name: String,
        /// The key of the policy, as text (not decoded).
        key: Secret,
    },
    /// A token that was made elsewhere.
    Signature(Secret),
    /// An identity of Microsoft Entra.
    Entra(Entra),
}

/// A connection string in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionString {
    /// The address of the hub.
    pub endpoint: Endpoint,
    /// The credential for sending.
    pub credential: Credential,
    /// The event hub, if the connection string names one.
    pub entity: Option<String>,
    /// The secret that the connection string came from, if there is one.
    pub whole: Option<Secret>,
}

/// The error in a connection string; the message never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// A part that is no `Name=value`.
    #[error("part {0} of the connection string is not `Name=value`")]
    Part(usize),
    /// A part that must be there is missing.
    #[error("the connection string has no `{0}`")]
    Missing(&'static str),
    /// The connection string is for the devices or services of an IoT hub.
    #[error(
        "this connection string is for an IoT Hub; take the one of its Event Hub-compatible endpoint, or of an Event Hubs namespace"
    )]
    IotHub,
    /// The endpoint is not an address such as `sb://NAMESPACE/`.
    #[error("`Endpoint={0}` is not an address like sb://NAMESPACE.servicebus.windows.net/")]
    Endpoint(String),
}

impl ConnectionString {
    /// Makes the parts from the host of a namespace and an Entra identity, without a connection string.
    #[must_use]
    pub fn of(host: &str, entra: Entra) -> Self {
        let endpoint = Endpoint { host: host.into(), port: 5671, tls: true, named_port: None };
        Self { endpoint, credential: Credential::Entra(entra), entity: None, whole: None }
    }

    /// Takes a connection string apart.
    ///
    /// # Errors
    /// When the text is not a connection string of Event Hubs.
    pub fn parse(text: &str) -> Result<Self, ConnectionError> {
        let mut parts = Vec::new();
        // Files of variables keep the quotes that a shell would take away.
        let text = text.trim();
        let bare = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let text = bare('"').or(bare('\'')).unwrap_or(text);
        for (i, part) in text.split(';').enumerate().filter(|(_, part)| !part.trim().is_empty()) {
            let (name, value) = part.split_once('=').ok_or(ConnectionError::Part(i + 1))?;
            parts.push((name.trim(), value.trim()));
        }
        let find =
            |wanted: &str| parts.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value);
        let need =
            |wanted: &'static str| find(wanted).filter(|v| !v.is_empty()).ok_or(ConnectionError::Missing(wanted));
        if find("HostName").is_some() && find("Endpoint").is_none() {
            return Err(ConnectionError::IotHub);
        }
        let emulator = find("UseDevelopmentEmulator").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let credential = match find("SharedAccessSignature") {
            Some(token) => Credential::Signature(Secret::new(token.into())),
            None => Credential::Key {
                name: need("SharedAccessKeyName")?.into(),
                key: Secret::new(need("SharedAccessKey")?.into()),
            },
        };
        Ok(Self {
            endpoint: endpoint(need("Endpoint")?, emulator)?,
            credential,
            entity: find("EntityPath").filter(|entity| !entity.is_empty()).map(String::from),
            whole: None,
        })
    }

    /// The credential that the file of the connection string has now: a key that was rotated is used at once. The
    /// address of the hub does not change while we run.
    #[must_use]
    pub fn credential_now(&self) -> Credential {
        let whole = self.whole.as_ref().map(Secret::now);
        let read = whole.and_then(|whole| Self::parse(whole.expose()).ok());
        read.map_or_else(|| self.credential.clone(), |read| read.credential)
    }
}

fn endpoint(text: &str, emulator: bool) -> Result<Endpoint, ConnectionError> {
    let bad = || ConnectionError::Endpoint(text.into());
    let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
    if !["sb", "amqp", "amqps"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(bad());
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let named = Place::parse(authority, None);
    let named_port = named.as_ref().map(|place| place.port);
    let host = named.or_else(|| Place::parse(authority, Some(5671))).ok_or_else(bad)?.host;
    // Azure's own clients use a port only with the emulator.
    let port = if emulator { named_port.unwrap_or(5672) } else { 5671 };
    Ok(Endpoint { host, port, tls: !emulator, named_port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azures_and_the_emulators_forms_are_read() {
        let azure = ConnectionString::parse(
            "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=a=b+/=;EntityPath=eh",
        )
        .unwrap();
        assert_eq!((azure.endpoint.port, azure.endpoint.tls), (5671, true));
        assert_eq!(azure.endpoint.address("sb", "eh"), "sb://ns.servicebus.windows.net/eh");
        assert_eq!(azure.entity.as_deref(), Some("eh"));
        assert_eq!(azure.credential, Credential::Key { name: "send".into(), key: Secret::new("a=b+/=".into()) });
        let local = "Endpoint=sb://localhost:5700;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true;";
        let local = ConnectionString::parse(local).unwrap();
        assert_eq!((local.endpoint.port, local.endpoint.tls, local.entity), (5700, false, None));
        assert_eq!(local.endpoint.address("amqps", "eh1"), "amqps://localhost:5700/eh1");
    }

    #[test]
    fn a_rotated_key_is_taken_from_the_file_and_nonsense_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("connection");
        let text = |key: &str| format!("Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey={key}");
        let mut connection = ConnectionString::parse(&text("one")).unwrap();
        connection.whole = Some(Secret::of_file(text("one"), file.clone()));
        let key = |key: &str| Credential::Key { name: "k".into(), key: Secret::new(key.into()) };
        assert_eq!(connection.credential_now(), key("one"), "the file is not there");
        std::fs::write(&file, text("two")).unwrap();
        assert_eq!(connection.credential_now(), key("two"));
        std::fs::write(&file, "Endpoint=").unwrap();
        assert_eq!(connection.credential_now(), key("one"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let error = |text: &str| ConnectionString::parse(text).unwrap_err().to_string();
        assert!(error("hunter2").contains("part 1"));
        let iot = "HostName=h.azure-devices.net;SharedAccessKeyName=a;SharedAccessKey=hunter2";
        assert!(error(iot).contains("IoT Hub") && !error(iot).contains("hunter2"));
        let quoted = "\"Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey=s\"";
        assert_eq!(ConnectionString::parse(quoted).unwrap().endpoint.host, "x");
        assert!(error("Endpoint=sb://x/;SharedAccessKeyName=k").contains("SharedAccessKey"));
        assert!(error("Endpoint=http://x/;SharedAccessKeyName=k;SharedAccessKey=hunter2").contains("sb://"));
        let shown =
            format!("{:?}", ConnectionString::parse("Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey=hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
