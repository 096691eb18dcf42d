//! Makes the client of one connection from the settings. Nothing is sent yet.

use super::Settings;
use super::wire::{Client, Events};
use crate::platform::tls;
use crate::section::Login;
use crate::source::mqtt::settings::Broker;
use std::pin::Pin;

/// At most this many acknowledgements wait to be written.
const ACKS: usize = 1 << 16;
const CONNECT_TIMEOUT_S: u64 = 15;
/// The version of the format in which the library saves a session.
const SESSION_FORMAT: u16 = 1;
/// The limit of own messages in flight. This client publishes only its status.
const OUTGOING: u16 = 10;

/// The client and the event loop of one connection. The first `next` connects. A packet has at most `largest` bytes.
///
/// # Errors
/// When the settings or the certificates cannot be used.
pub fn open(settings: &Settings, broker: &Broker, largest: usize) -> Result<(Client, Events), String> {
    if settings.v5 { open5(settings, broker, largest) } else { open4(settings, broker, largest) }
}

fn tls(settings: &Settings) -> Result<rumqttc::TlsConfiguration, String> {
    let config = tls::client_with(settings.tls.trust()).map_err(|error| error.to_string())?;
    Ok(rumqttc::TlsConfiguration::Rustls(config))
}

fn open4(settings: &Settings, broker: &Broker, largest: usize) -> Result<(Client, Events), String> {
    use rumqttc::{AckMode, AsyncClient, Broker as Place, LastWill, MqttOptions, NetworkOptions, QoS, Transport};
    let id = settings.client_id.clone();
    let mut options = match (broker.websocket_url(), broker.tls) {
        (None, _) => MqttOptions::new(id, Place::tcp(broker.host.clone(), broker.port)),
        (Some(url), false) => MqttOptions::new(id, Place::websocket(url).map_err(|error| error.to_string())?),
        (Some(url), true) => {
            MqttOptions::websocket_with_tls_config(id, url, tls(settings)?).map_err(|error| error.to_string())?
        }
    };
    if broker.tls && broker.websocket.is_none() {
        options.set_transport(Transport::tls_with_config(tls(settings)?));
    }
    options.set_ack_mode(AckMode::Manual);
    options.try_set_clean_session(settings.clean_session).map_err(|error| error.to_string())?;
    options.set_keep_alive(settings.keep_alive);
    options.set_max_packet_size(largest, 1 << 20);
    if let Some(Login { user, password }) = &settings.login {
        options.set_credentials(user.clone(), password.now().expose().as_bytes().to_vec());
    }
    if let Some(status) = &settings.status {
        options.set_last_will(LastWill::new(&status.topic, status.offline.as_bytes(), QoS::AtLeastOnce, true));
    }
    let built = AsyncClient::builder(options).capacity(ACKS).try_build();
    let (client, mut events) = built.map_err(|error| error.to_string())?;
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TIMEOUT_S);
    events.set_network_options(network);
    Ok((Client::V4(client), Events::V4(Box::new(events))))
}

fn open5(settings: &Settings, broker: &Broker, largest: usize) -> Result<(Client, Events), String> {
    use rumqttc5::{
        AckMode, AsyncClient, Broker as Place, IncomingPacketSizeLimit, LastWill, MqttOptions, NetworkOptions, QoS,
        Transport,
    };
    let id = settings.client_id.clone();
    let mut options = match (broker.websocket_url(), broker.tls) {
        (None, _) => MqttOptions::new(id, Place::tcp(broker.host.clone(), broker.port)),
        (Some(url), false) => MqttOptions::new(id, Place::websocket(url).map_err(|error| error.to_string())?),
        (Some(url), true) => {
            MqttOptions::websocket_with_tls_config(id, url, tls(settings)?).map_err(|error| error.to_string())?
        }
    };
    if broker.tls && broker.websocket.is_none() {
        options.set_transport(Transport::tls_with_config(tls(settings)?));
    }
    options.set_ack_mode(AckMode::Manual);
    options.set_clean_start(settings.clean_session);
    if !settings.clean_session {
        options.set_session_store(Fresh { expiry: settings.session_expiry });
    }
    options.set_session_expiry_interval((!settings.clean_session).then_some(settings.session_expiry));
    options.set_receive_maximum(settings.receive_maximum);
    options.set_outgoing_inflight_upper_limit(OUTGOING);
    // The library announces the limit: a broker drops a larger message (MQTT 5, 3.1.2.11.4). So it is as high as
    // memory allows: what is only too large for Forebay becomes a dead letter.
    let largest = u32::try_from(largest).unwrap_or(u32::MAX);
    options.set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(largest));
    options.set_keep_alive(settings.keep_alive);
    if let Some(Login { user, password }) = &settings.login {
        options.set_credentials(user.clone(), password.now().expose().as_bytes().to_vec());
    }
    if let Some(status) = &settings.status {
        options.set_last_will(LastWill::new(&status.topic, status.offline.as_bytes(), QoS::AtLeastOnce, true, None));
    }
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TIMEOUT_S);
    options.set_network_options(network);
    let built = AsyncClient::builder(options).capacity(ACKS).try_build();
    let (client, events) = built.map_err(|error| error.to_string())?;
    Ok((Client::V5(client), Events::V5(Box::new(events))))
}

/// The session store of one connection's client: a session with nothing in flight from this side. The library
/// has its own way to resume a session that only the broker knows (`AllowBrokerOnly`). With that way, the
/// library refuses to subscribe and to publish, and reports this to nobody.
#[derive(Debug)]
struct Fresh {
    expiry: u32,
}

type Saved<'a, T> = Pin<Box<dyn Future<Output = Result<T, rumqttc5::SessionStoreError>> + Send + 'a>>;

impl rumqttc5::SessionStore for Fresh {
    fn load<'a>(&'a self, key: &'a rumqttc5::SessionStoreKey) -> Saved<'a, Option<rumqttc5::PersistedSession>> {
        let session = rumqttc5::PersistedSession {
            format_version: SESSION_FORMAT,
            client_id: key.client_id().into(),
            clean_start: false,
            session_expiry_interval: Some(self.expiry),
            outgoing_inflight_upper_limit: Some(OUTGOING),
            ack_mode: rumqttc5::PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(Some(session))))
    }

    fn save<'a>(
        &'a self,
        _key: &'a rumqttc5::SessionStoreKey,
        _session: &'a rumqttc5::PersistedSession,
    ) -> Saved<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _key: &'a rumqttc5::SessionStoreKey) -> Saved<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}
