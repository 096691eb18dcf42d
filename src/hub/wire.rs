//! Recognises the protocol of a client by its first bytes: TLS or not, a WebSocket or not, then AMQP or HTTP.

use crate::platform::stream::Stream;
use crate::platform::websocket;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(10);
/// The first byte of a TLS record that begins a handshake.
const TLS: u8 = 0x16;
/// The first bytes of HTTP requests. AMQP begins with its name.
const HTTP: [&[u8]; 2] = [b"GET ", b"POST"];
/// The first bytes of a request to become a WebSocket.
const WEBSOCKET: &[u8] = b"GET /$servicebus/websocket";

/// The protocol that a client speaks, with the stream inside TLS or a WebSocket.
pub enum Spoken {
    /// AMQP, without the TLS or the WebSocket around it.
    Amqp(Box<dyn Stream>),
    /// HTTP, from a client that sends events or looks at the page.
    Http(Box<dyn Stream>),
}

/// Removes the TLS and the WebSocket around AMQP or HTTP.
///
/// # Errors
/// The client ends the connection, is silent, or speaks another protocol.
pub async fn open(stream: impl Stream + 'static, tls: Option<TlsAcceptor>) -> io::Result<Spoken> {
    let unwrapped = Box::pin(async {
        let mut stream = BufReader::new(stream);
        let first = stream.fill_buf().await?;
        match tls {
            Some(acceptor) if first.first() == Some(&TLS) => {
                inner(BufReader::new(acceptor.accept(stream).await?)).await
            }
            // A hub with TLS accepts no connection without it.
            Some(_) => Err(io::Error::other("a client that does not speak TLS")),
            None => inner(stream).await,
        }
    });
    timeout(PATIENCE, unwrapped).await.map_err(|_| io::Error::other("a client said nothing in time"))?
}

async fn inner(mut stream: BufReader<impl Stream + 'static>) -> io::Result<Spoken> {
    let first = stream.fill_buf().await?;
    if first.starts_with(WEBSOCKET) {
        return Ok(Spoken::Amqp(Box::new(websocket::accept(stream).await?)));
    }
    if HTTP.iter().any(|word| first.starts_with(word)) {
        return Ok(Spoken::Http(Box::new(stream)));
    }
    Ok(Spoken::Amqp(Box::new(stream)))
}
