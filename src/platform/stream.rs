//! A stream of bytes in both directions, over TCP, TLS or a WebSocket.

use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// TCP, TLS, a WebSocket, or one in another.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Stream for T {}

/// A TCP connection that can be cut from another task, whatever protocol is spoken over it. It has one descriptor:
/// a clone of the socket would need another.
#[derive(Debug)]
pub struct Tcp(Arc<TcpStream>);

/// Cuts a connection. A `Cutter` does not keep the connection open.
#[derive(Debug, Clone)]
pub struct Cutter(Weak<TcpStream>);

impl Tcp {
    /// Takes over a connected socket.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    /// Returns the handle that cuts this connection.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        Cutter(Arc::downgrade(&self.0))
    }
}

impl Cutter {
    /// Ends the connection at once, both ways.
    pub fn cut(&self) {
        if let Some(stream) = self.0.upgrade() {
            // The other side may have ended it already.
            let _ = SockRef::from(&*stream).shutdown(Shutdown::Both);
        }
    }

    /// Whether the connection still exists.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&*self.0).shutdown(Shutdown::Write) {
            // The connection has ended already, as requested.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Tcp::new(ours.unwrap()), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn more_than_the_kernel_holds_goes_both_ways() {
        let (ours, theirs) = pair().await;
        let sent: Vec<u8> = (0..16_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (mut from_us, mut to_us) = tokio::io::split(ours);
        let (mut from_them, mut to_them) = tokio::io::split(theirs);
        let (mut here, mut there) = (vec![0; sent.len()], vec![0; sent.len()]);
        let (one, two, three, four) = tokio::join!(
            to_us.write_all(&sent),
            from_them.read_exact(&mut there),
            to_them.write_all(&sent),
            from_us.read_exact(&mut here)
        );
        assert!(one.is_ok() && two.is_ok() && three.is_ok() && four.is_ok());
        assert!(here == sent && there == sent);
        to_us.shutdown().await.unwrap();
        assert_eq!(from_them.read(&mut [0]).await.unwrap(), 0, "the end is told");
    }

    #[tokio::test]
    async fn what_is_cut_wakes_whoever_waits_and_what_is_dropped_is_closed() {
        let (mut ours, mut theirs) = pair().await;
        let cutter = ours.cutter();
        let reading = tokio::spawn(async move {
            let read = ours.read(&mut [0]).await;
            (ours, read)
        });
        tokio::task::yield_now().await;
        cutter.cut();
        let (ours, read) = reading.await.unwrap();
        assert_eq!(read.unwrap(), 0);
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
        assert!(cutter.is_open());
        drop(ours);
        assert!(!cutter.is_open(), "a cutter keeps nothing open");
        cutter.cut();
    }
}
