//! The transport to a hub: TCP, through a proxy if there is one, TLS, and a WebSocket if the settings ask for it.

use super::{Endpoint, Proxy, Settings as EventHubs, Transport};
use crate::platform::stream::Stream;
use crate::platform::tls::Trust;
use crate::platform::websocket;
use crate::section::Host;
use crate::sink::dial::{self, step};
use crate::sink::{Class, DeliverError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The time limit for a proxy's answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest answer of a proxy to CONNECT, in bytes.
const MOST_HEADER: usize = 16 << 10;

/// Opens a TCP connection to the hub, through the proxy if there is one.
///
/// # Errors
/// When the hub or the proxy cannot be reached, or the proxy refuses.
pub async fn tcp(settings: &EventHubs) -> Result<TcpStream, DeliverError> {
    let Endpoint { host, .. } = &settings.connection.endpoint;
    let Some(proxy) = &settings.proxy else {
        return dial::tcp(host, settings.port).await;
    };
    let mut stream = dial::tcp(&proxy.host, proxy.port).await?;
    let asked = timeout(PATIENCE, tunnel(&mut stream, proxy, host, settings.port)).await;
    let place = format!("proxy {}:{}", Host(&proxy.host), proxy.port);
    match asked {
        Ok(Ok(())) => {
            step("proxy", format_args!("{place} connects to {host}:{}", settings.port));
            Ok(stream)
        }
        Ok(Err(error)) => Err(DeliverError { message: format!("{place}: {}", error.message), ..error }),
        Err(_) => Err(DeliverError::transient(format_args!("{place}: no answer in time"))),
    }
}

/// HTTP CONNECT (RFC 9110, section 9.3.6).
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<(), DeliverError> {
    let login = proxy.login.as_ref().map(|login| {
        let text = STANDARD.encode(format!("{}:{}", login.user, login.password.now().expose()));
        format!("Proxy-Authorization: Basic {text}\r\n")
    });
    let host = Host(host);
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{}\r\n", login.unwrap_or_default());
    stream.write_all(request.as_bytes()).await.map_err(DeliverError::transient)?;
    let mut answer = Vec::new();
    // The answer is read byte by byte: the bytes after it belong to the hub.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MOST_HEADER {
            return Err(DeliverError::transient("what answers is no HTTP proxy"));
        }
        answer.push(stream.read_u8().await.map_err(DeliverError::transient)?);
    }
    let first = String::from_utf8_lossy(&answer);
    let first = first.lines().next().unwrap_or_default();
    let code = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..=299) => Ok(()),
        // tinyproxy answers a wrong password with 401.
        Some(401 | 407) => {
            let message = format!("it wants to know who we are ({first}); check `username` and `password` of `proxy`");
            Err(DeliverError { class: Class::Denied, message })
        }
        Some(_) => Err(DeliverError::transient(format_args!("it does not connect to {host}:{port}: {first}"))),
        None => Err(DeliverError::transient("what answers is no HTTP proxy")),
    }
}

/// Adds TLS, and a WebSocket if the settings ask for it, to a connection.
///
/// # Errors
/// When the TLS handshake or the WebSocket fails.
pub async fn secured(stream: impl Stream + 'static, settings: &EventHubs) -> Result<Box<dyn Stream>, DeliverError> {
    let endpoint = &settings.connection.endpoint;
    let stream: Box<dyn Stream> = if endpoint.tls {
        let trust = Trust { ca: settings.ca.as_deref(), pins: &settings.pins, ..Trust::default() };
        Box::new(dial::tls(stream, &endpoint.host, trust).await?)
    } else {
        Box::new(stream)
    };
    if settings.transport != Transport::AmqpWebsocket {
        return Ok(stream);
    }
    let opened = websocket::connect(stream, endpoint.tls, &Host(&endpoint.host).to_string()).await;
    let opened =
        opened.map_err(|error| DeliverError::transient(format_args!("{}: WebSocket: {error}", endpoint.host)))?;
    step("websocket", "opened");
    Ok(Box::new(opened))
}
