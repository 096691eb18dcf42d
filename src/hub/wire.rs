//! What a client speaks is seen from its first bytes: TLS or not, a WebSocket or not, then AMQP.

use crate::platform::stream::Stream;
use crate::platform::websocket;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(10);
/// A TLS record that begins a handshake.
const TLS: u8 = 0x16;
/// A request to become a WebSocket begins with GET.
const HTTP: u8 = b'G';

/// Takes off what AMQP is wrapped in.
///
/// # Errors
/// When the client goes, is silent, or speaks something else.
pub async fn open(stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Box<dyn Stream>> {
    let unwrapped = Box::pin(async {
        let mut first = [0];
        stream.peek(&mut first).await?;
        match tls {
            Some(acceptor) if first[0] == TLS => inner(acceptor.accept(stream).await?).await,
            // With TLS there is nothing without.
            Some(_) => Err(io::Error::other("a client that does not speak TLS")),
            None => inner(stream).await,
        }
    });
    timeout(PATIENCE, unwrapped).await.map_err(|_| io::Error::other("a client said nothing in time"))?
}

async fn inner(stream: impl Stream + 'static) -> io::Result<Box<dyn Stream>> {
    let mut stream = BufReader::new(stream);
    if stream.fill_buf().await?.first() == Some(&HTTP) {
        return Ok(Box::new(websocket::accept(stream).await?));
    }
    Ok(Box::new(stream))
}
