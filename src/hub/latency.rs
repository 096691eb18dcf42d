//! The way to a hub that is far: every byte arrives later, both ways, in order.
//!
//! This is a delay and nothing else. As many bytes as fit into `QUEUE` chunks may be in flight, so that the window
//! of TCP does not limit the throughput.

use crate::platform::stream::Stream;
use bytes::Bytes;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The bytes that are read at once, as one chunk.
const CHUNK: usize = 64 << 10;
/// The most chunks in flight in one direction.
const QUEUE: usize = 1024;

/// A stream whose bytes arrive later by this time, in both directions.
pub fn later(stream: impl Stream + 'static, by: Duration) -> impl Stream {
    let (near, far) = duplex(CHUNK);
    let (from, to) = split(stream);
    let (far_from, far_to) = split(far);
    tokio::spawn(carry(from, far_to, by));
    tokio::spawn(carry(far_from, to, by));
    near
}

/// Carries bytes until one side ends. Then the other side is shut down.
async fn carry(mut from: impl AsyncRead + Unpin + Send + 'static, mut to: impl AsyncWrite + Unpin, by: Duration) {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Bytes)>(QUEUE);
    let reading = tokio::spawn(async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            if sender.send((Instant::now() + by, Bytes::copy_from_slice(&chunk[..count]))).await.is_err() {
                return;
            }
        }
    });
    while let Some((due, chunk)) = chunks.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&chunk).await.is_err() {
            break;
        }
    }
    reading.abort();
    // The reader on the other side may be gone already.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_later_in_order_and_the_end_after_them() {
        let by = Duration::from_millis(50);
        let (mut client, server) = duplex(1 << 20);
        let mut server = later(server, by);
        let started = Instant::now();
        client.write_all(b"here").await.unwrap();
        client.write_all(b" and there").await.unwrap();
        let mut got = [0; 14];
        server.read_exact(&mut got).await.unwrap();
        assert!(&got == b"here and there" && started.elapsed() >= by);
        server.write_all(b"back").await.unwrap();
        client.read_exact(&mut got[..4]).await.unwrap();
        assert!(&got[..4] == b"back" && started.elapsed() >= 2 * by);
        drop(client);
        assert_eq!(server.read(&mut got).await.unwrap(), 0);
    }
}
