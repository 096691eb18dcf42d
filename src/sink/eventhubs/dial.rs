//! From here to the hub: TCP, through a proxy if there is one, TLS, and a WebSocket where that is asked for.

use crate::config::value::{Endpoint, EventHubs, Proxy, Transport};
use crate::platform::tls::{self, Trust};
use crate::platform::websocket;
use crate::sink::{Class, DeliverError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// For TCP and for a proxy's answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// A proxy's answer to CONNECT is shorter.
const MOST_HEADER: usize = 16 << 10;

/// What AMQP is spoken over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Stream for T {}

/// A TCP connection to the hub, or to the proxy that leads there.
///
/// # Errors
/// What is in the way.
pub async fn tcp(settings: &EventHubs) -> Result<TcpStream, DeliverError> {
    let Endpoint { host, .. } = &settings.connection.endpoint;
    let connect = |host: String, port: u16| async move {
        let connected = timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await;
        connected
            .map_err(|_| DeliverError::transient(format_args!("{host}:{port}: no TCP connection in time")))?
            .map_err(|error| DeliverError::transient(format_args!("{host}:{port}: {error}")))
    };
    let Some(proxy) = &settings.proxy else {
        return connect(host.clone(), settings.port).await;
    };
    let mut stream = connect(proxy.host.clone(), proxy.port).await?;
    let asked = timeout(PATIENCE, tunnel(&mut stream, proxy, host, settings.port)).await;
    let place = format!("proxy {}:{}", proxy.host, proxy.port);
    match asked {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(error)) => Err(DeliverError { message: format!("{place}: {}", error.message), ..error }),
        Err(_) => Err(DeliverError::transient(format_args!("{place}: no answer in time"))),
    }
}

/// HTTP CONNECT (RFC 9110, section 9.3.6).
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<(), DeliverError> {
    let login = proxy.login.as_ref().map(|login| {
        let text = STANDARD.encode(format!("{}:{}", login.user, login.password.expose()));
        format!("Proxy-Authorization: Basic {text}\r\n")
    });
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{}\r\n", login.unwrap_or_default());
    stream.write_all(request.as_bytes()).await.map_err(DeliverError::transient)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows belongs to the hub.
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
        // 401 is what tinyproxy says to a wrong password.
        Some(401 | 407) => {
            let message = format!("it wants to know who we are ({first}); check `username` and `password` of `proxy`");
            Err(DeliverError { class: Class::Denied, message })
        }
        Some(_) => Err(DeliverError::transient(format_args!("it does not connect to {host}:{port}: {first}"))),
        None => Err(DeliverError::transient("what answers is no HTTP proxy")),
    }
}

/// Makes a connection into what AMQP is spoken over.
///
/// # Errors
/// What is in the way.
pub async fn secured(stream: TcpStream, settings: &EventHubs) -> Result<Box<dyn Stream>, DeliverError> {
    let endpoint = &settings.connection.endpoint;
    let failed = |error: String| DeliverError::transient(format_args!("{}: {error}", endpoint.host));
    let stream: Box<dyn Stream> = if endpoint.tls {
        let trust = Trust { ca: settings.ca.as_deref(), ..Trust::default() };
        let config = tls::client_with(trust).map_err(|error| failed(error.to_string()))?;
        let name = rustls::pki_types::ServerName::try_from(endpoint.host.clone());
        let name = name.map_err(|error| failed(error.to_string()))?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        Box::new(stream.map_err(|error| failed(format!("TLS: {error}")))?)
    } else {
        Box::new(stream)
    };
    if settings.transport == Transport::Amqp {
        return Ok(stream);
    }
    let opened = websocket::connect(stream, endpoint.tls, &endpoint.host).await;
    Ok(Box::new(opened.map_err(|error| failed(format!("WebSocket: {error}")))?))
}
