//! Bytes both ways, whatever they go over.

use tokio::io::{AsyncRead, AsyncWrite};

/// TCP, TLS, a WebSocket, or one in another.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Stream for T {}
