//! Bytes over a WebSocket: AMQP through port 443 and through proxies (`docs/reference/event-hubs.md`, "Connection").

use async_tungstenite::bytes::{ByteReader, ByteWriter};
use async_tungstenite::tokio::{TokioAdapter, accept_hdr_async, client_async_with_config};
use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, Join};

/// The subprotocol that both sides speak inside the WebSocket.
const PROTOCOL: &str = "AMQPWSB10";
/// Both names of that subprotocol: others use the name of the standard (OASIS, "AMQP WebSocket Binding").
const PROTOCOLS: [&str; 2] = [PROTOCOL, "amqp"];
/// The path on which Azure accepts WebSockets.
const PATH: &str = "/$servicebus/websocket";

/// The largest message that is accepted, in bytes. Memory is reserved for the length that a message announces.
const MOST: usize = 256 << 10;

/// A WebSocket that is read and written like any stream; each write is one binary message.
pub type Bytes<S> = Join<ByteReader<WebSocketReceiver<TokioAdapter<S>>>, ByteWriter<WebSocketSender<TokioAdapter<S>>>>;

fn bytes<S: AsyncRead + AsyncWrite + Unpin>(stream: WebSocketStream<TokioAdapter<S>>) -> Bytes<S> {
    let (sender, receiver) = stream.split();
    tokio::io::join(ByteReader::new(receiver), ByteWriter::new(sender))
}

/// Asks a server for AMQP over a WebSocket.
///
/// # Errors
/// The answer of the server, when it refuses.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(stream: S, tls: bool, host: &str) -> io::Result<Bytes<S>> {
    let scheme = if tls { "wss" } else { "ws" };
    let request = format!("{scheme}://{host}{PATH}").into_client_request();
    let mut request = request.map_err(io::Error::other)?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    let limits = WebSocketConfig::default().max_message_size(Some(MOST)).max_frame_size(Some(MOST));
    match client_async_with_config(request, stream, Some(limits)).await {
        Ok((stream, _)) => Ok(bytes(stream)),
        Err(Error::Http(answer)) => Err(io::Error::other(format!("the server answers {}", answer.status()))),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Takes a client that asks for AMQP over a WebSocket.
///
/// # Errors
/// The client asks for something else.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> io::Result<Bytes<S>> {
    // The library defines the type of the error.
    #[allow(clippy::result_large_err)]
    let answer = |request: &Request, mut answer: Response| -> Result<Response, ErrorResponse> {
        let asked = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        let known = |name: &str| PROTOCOLS.iter().find(|known| **known == name.trim());
        let ours = asked.and_then(|asked| asked.split(',').find_map(known));
        // Microsoft's Rust SDK ends the path with a slash.
        if let Some(ours) = ours.filter(|_| request.uri().path().trim_end_matches('/') == PATH) {
            answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(ours));
            return Ok(answer);
        }
        let mut refused = ErrorResponse::new(Some(format!("only {} at {PATH}", PROTOCOLS.join(" or "))));
        *refused.status_mut() = StatusCode::NOT_FOUND;
        Err(refused)
    };
    accept_hdr_async(stream, answer).await.map(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_go_both_ways_and_other_protocols_are_refused() {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (client, server) = tokio::join!(connect(client, false, "localhost:1"), accept(server));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        client.write_all(b"AMQP").await.unwrap();
        client.flush().await.unwrap();
        let mut got = [0; 4];
        server.read_exact(&mut got).await.unwrap();
        server.write_all(&got).await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"AMQP");

        let (client, server) = tokio::io::duplex(1 << 16);
        let other = async_tungstenite::tokio::client_async("ws://localhost/chat", client);
        let (client, server) = tokio::join!(other, accept(server));
        assert!(client.unwrap_err().to_string().contains("404") && server.is_err());
    }
}
