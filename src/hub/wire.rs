//! What a client speaks is seen from its first bytes: TLS or not, a WebSocket or not, then AMQP or HTTP.

use crate::platform::stream::Stream;
use crate::platform::websocket;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(10);
/// A TLS record that begins a handshake.
const TLS: u8 = 0x16;
/// What requests begin with; AMQP begins with its name.
const HTTP: [&[u8]; 2] = [b"GET ", b"POST"];
/// A request to become a WebSocket.
const WEBSOCKET: &[u8] = b"GET /$servicebus/websocket";

/// What a client speaks.
pub enum Spoken {
    /// AMQP, out of whatever it was in.
    Amqp(Box<dyn Stream>),
    /// HTTP: it sends, or looks.
    Http(Box<dyn Stream>),
}

/// Takes off what AMQP is wrapped in.
///
/// # Errors
/// When the client goes, is silent, or speaks something else.
pub async fn open(stream: impl Stream + 'static, tls: Option<TlsAcceptor>) -> io::Result<Spoken> {
    let unwrapped = Box::pin(async {
        let mut stream = BufReader::new(stream);
        let first = stream.fill_buf().await?;
        match tls {
            Some(acceptor) if first.first() == Some(&TLS) => {
                inner(BufReader::new(acceptor.accept(stream).await?)).await
            }
            // With TLS there is nothing without.
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
