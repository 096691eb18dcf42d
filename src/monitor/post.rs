//! Sends a text to a web server or to a broker: one message, one connection.

use crate::flow::stop::Stop;
use crate::platform::{random, tls};
use crate::section::{ClientTls, Login, Place, Secret, Section};
use crate::telemetry::people;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use rumqttc::{Broker, MqttOptions, TlsConfiguration, Transport};
use std::time::Duration;

/// A message must be taken within this time.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest message that a broker is sent, in bytes.
const LARGEST: usize = 1 << 20;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Post {
    /// To a web server.
    Web(WebTarget),
    /// To a broker.
    Mqtt(MqttTarget),
}

/// A web server that takes a POST.
#[derive(Debug, Clone, PartialEq)]
pub struct WebTarget {
    /// The address; it may have a secret in it.
    pub url: String,
    /// How the agent proves who it is.
    pub proof: Option<Proof>,
    /// The roots that are trusted.
    pub tls: ClientTls,
}

/// What proves to a web server who sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Proof {
    /// `Authorization: Bearer`
    Token(Secret),
    /// `Authorization: Basic`
    Login(Login),
}

/// A broker, and the topic of the messages.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttTarget {
    /// The host and the port.
    pub place: Place,
    /// Whether the connection uses TLS.
    pub is_tls: bool,
    /// The topic.
    pub topic: String,
    /// Name and password.
    pub login: Option<Login>,
    /// The roots that are trusted, and the certificate that is shown.
    pub tls: ClientTls,
}

impl WebTarget {
    /// Reads the table of a web server.
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let url = section
            .text("url")
            .doc("The address, `https://..` or `http://..`. It may come from `{ env = .. }` or `{ file = .. }`.")
            .example("\"https://example.com/alerts\"")
            .check(|url| {
                let hint = "for example \"https://example.com/alerts\"";
                (!is_web_address(url)).then(|| ("`url` is no address of a web server".into(), Some(hint.into())))
            })
            .need();
        let token = section.secret("token", "It is sent as `Authorization: Bearer TOKEN`.");
        let login = Login::read(&mut section);
        let tls = ClientTls::read(&mut section, "TLS: roots to trust, own certificate.").unwrap_or_default();
        if section.has("token") && section.has("username") {
            section.wrong_because("token", "`token` and `username` exclude each other", "leave one of them out");
        }
        section.end();
        let proof = match (token, login) {
            (Some(token), _) => Some(Proof::Token(token)),
            (None, login) => login.map(Proof::Login),
        };
        Some(Self { url: url?, proof, tls })
    }

    /// The host of the address.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        reqwest::Url::parse(&self.url).ok()?.host_str().map(String::from)
    }

    /// A server at this address.
    #[cfg(test)]
    #[must_use]
    pub fn for_test(url: &str) -> Self {
        Self { url: url.into(), proof: None, tls: ClientTls::default() }
    }

    /// Sends a body; `Err` has the reason in words, without the address.
    pub async fn post(&self, body: Vec<u8>, kind: &'static str) -> Result<(), String> {
        self.send(body, kind, None).await
    }

    /// Sends a body that is packed with gzip.
    pub async fn post_packed(&self, body: Vec<u8>, kind: &'static str) -> Result<(), String> {
        self.send(body, kind, Some("gzip")).await
    }

    async fn send(&self, body: Vec<u8>, kind: &'static str, packing: Option<&'static str>) -> Result<(), String> {
        let client = web_client(&self.tls, PATIENCE)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(packing) = packing {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(packing));
        }
        let request = client.post(&self.url).headers(headers).body(body);
        let request = match &self.proof {
            None => request,
            Some(Proof::Token(token)) => request.bearer_auth(token.now().expose()),
            Some(Proof::Login(Login { user, password })) => request.basic_auth(user, Some(password.now().expose())),
        };
        let answer = request.send().await.map_err(web_error)?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("the server answers {}", answer.status())) }
    }
}

impl MqttTarget {
    /// Reads the table of a broker.
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let url = section
            .text("url")
            .doc("The broker: `mqtt://host:1883`, or `mqtts://host:8883` with TLS.")
            .example("\"mqtt://localhost\"")
            .check(|url| {
                let hint = "for example \"mqtt://localhost:1883\" or \"mqtts://broker.example.com\"";
                Place::of_broker(url).is_none().then(|| ("`url` is no address of a broker".into(), Some(hint.into())))
            })
            .need();
        let topic = section
            .text("topic")
            .doc("The topic of the messages.")
            .example("\"alerts/hall-3\"")
            .check(|topic| {
                let is_bad = topic.is_empty() || topic.contains(['+', '#', '\0']);
                is_bad.then(|| ("`topic` cannot be published to".into(), Some("a topic has no `+` and no `#`".into())))
            })
            .need();
        let login = Login::read(&mut section);
        let tls = ClientTls::read(&mut section, "TLS: roots to trust, own certificate.").unwrap_or_default();
        section.end();
        let (place, is_tls) = Place::of_broker(&url?)?;
        Some(Self { place, is_tls, topic: topic?, login, tls })
    }

    /// Publishes with QoS 1, and waits for the broker's acknowledgement.
    async fn publish(&self, device: &str, body: String) -> Result<(), String> {
        use rumqttc::{AsyncClient, Event, Packet, PublishOptions};
        // An id of its own each time: a connection that hangs does not end the next one.
        let id = format!("forebay-{device}-alerts-{}", random::u32());
        let mut options = mqtt_options(id, &self.place, self.is_tls.then_some(&self.tls), self.login.as_ref())?;
        options.set_max_packet_size(LARGEST, LARGEST);
        let (client, mut events) =
            AsyncClient::builder(options).capacity(4).try_build().map_err(|error| error.to_string())?;
        client
            .publish(self.topic.clone(), body, PublishOptions::at_least_once())
            .await
            .map_err(|error| error.to_string())?;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => break,
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        // The message is taken; an end that is not in order changes nothing.
        let _ = client.disconnect().await;
        let _ = tokio::time::timeout(Duration::from_secs(1), events.poll()).await;
        Ok(())
    }
}

/// Whether a text is the address of a web server.
#[must_use]
pub fn is_web_address(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://")) && reqwest::Url::parse(text).is_ok()
}

/// A client of web servers that follows no redirect and waits no longer than this. It is made anew for each use: the
/// roots may have changed.
///
/// # Errors
/// The roots cannot be read.
pub fn web_client(tls: &ClientTls, patience: Duration) -> Result<reqwest::Client, String> {
    let config = tls::client_with(tls.trust()).map_err(|error| error.to_string())?;
    let client = reqwest::Client::builder().tls_backend_preconfigured((*config).clone()).timeout(patience);
    client.redirect(reqwest::redirect::Policy::none()).build().map_err(web_error)
}

/// An error in words, without the address: it may have a secret in it.
#[must_use]
pub fn web_error(error: reqwest::Error) -> String {
    people::cause(&error.without_url())
}

/// How a broker is reached: by TLS when it is given.
///
/// # Errors
/// The roots cannot be read.
pub fn mqtt_options(
    id: String,
    place: &Place,
    tls: Option<&ClientTls>,
    login: Option<&Login>,
) -> Result<MqttOptions, String> {
    let mut options = MqttOptions::new(id, Broker::tcp(place.host.clone(), place.port));
    if let Some(tls) = tls {
        let config = tls::client_with(tls.trust()).map_err(|error| error.to_string())?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    }
    if let Some(Login { user, password }) = login {
        options.set_credentials(user.clone(), password.now().expose().as_bytes().to_vec());
    }
    Ok(options)
}

/// Sends a message.
///
/// # Errors
/// The reason in words.
pub async fn send(post: &Post, device: &str, message: String, stop: &mut Stop) -> Result<(), String> {
    let sent = async {
        match post {
            Post::Web(target) => target.post(message.into_bytes(), "application/json").await,
            Post::Mqtt(target) => target.publish(device, message).await,
        }
    };
    match stop.or(tokio::time::timeout(PATIENCE, sent)).await {
        Ok(Ok(sent)) => sent,
        Ok(Err(_)) => Err("no answer in time".into()),
        Err(_) => Err("the agent stops".into()),
    }
}
