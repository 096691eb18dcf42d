//! The one HTTP listener: TLS, limits, and an orderly end, for every part that answers requests.
//!
//! Invariants: connections and times are bounded; a client that does nothing gives way to a new one; at the stop a
//! request that is being answered gets its answer.

pub mod answer;
mod clients;

pub use clients::{Clients, Place};

use super::stream::Stream;
use super::tls;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

/// Headers, TLS handshakes and bodies must be complete within this time.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A connection that must give way and sends nothing is closed after this time.
const FAREWELL: Duration = Duration::from_secs(1);
/// At the stop, waiting answers have this much time.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// The wait before the next attempt when no connection can be accepted, for example without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// The name of the listener's log events, which have the level debug.
const NOTE: &str = "http_note";

/// An answer whose body is at hand.
pub type Whole = Response<Full<Bytes>>;

/// The files of a listener with TLS.
#[derive(Debug, Clone, Copy)]
pub struct TlsFiles<'a> {
    /// The listener's certificate, with all certificates between it and a root.
    pub certificate: &'a Path,
    /// The key of the certificate.
    pub key: &'a Path,
    /// The roots for client certificates. With them, every client must have a certificate of one of these roots.
    pub client_ca: Option<&'a Path>,
}

/// An open port.
pub struct Listener {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
}

impl Listener {
    /// Opens a port.
    ///
    /// # Errors
    /// The obstacle: a file, or the address.
    pub async fn open(address: SocketAddr, files: Option<TlsFiles<'_>>) -> Result<Self, String> {
        let acceptor = match files {
            Some(TlsFiles { certificate, key, client_ca }) => {
                let config = tls::server(certificate, key, client_ca).map_err(|error| error.to_string())?;
                Some(TlsAcceptor::from(config))
            }
            None => None,
        };
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        Ok(Self { listener, acceptor })
    }

    /// Answers requests until the stop; at most `connections` are open at a time, more wait in the kernel.
    /// `stopped` makes a future that ends when the stop is asked for.
    pub async fn serve<F, A, B, S, W>(&self, clients: &Arc<Clients>, connections: usize, answer: F, stopped: S)
    where
        F: Fn(Request<Incoming>, Arc<Place>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        S: Fn() -> W,
        W: Future<Output = ()> + Send + 'static,
    {
        let accept =
            |context: &mut Context<'_>| self.listener.poll_accept(context).map_ok(|(stream, from)| (stream, from.ip()));
        let hold = |stream, place| connection(stream, self.acceptor.clone(), place, answer.clone());
        accepting(accept, clients, connections, hold, stopped).await;
    }
}

/// Answers requests on a Unix socket until the stop. Who may use the socket is said by the rights of its file: its
/// owner and its group.
///
/// # Errors
/// The socket cannot be made.
pub async fn serve_socket<F, A, B, S, W>(path: &Path, connections: usize, answer: F, stopped: S) -> Result<(), String>
where
    F: Fn(Request<Incoming>, Arc<Place>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S: Fn() -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    // What an agent that was killed left behind answers nobody.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket());
    let is_left = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).await.is_err_and(is_left) {
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    let clients = Arc::<Clients>::default();
    let accept = |context: &mut Context<'_>| {
        listener.poll_accept(context).map_ok(|(stream, _)| (stream, Ipv4Addr::LOCALHOST.into()))
    };
    let hold = |stream, place| converse(Box::new(stream), Arc::new(place), answer.clone());
    accepting(accept, &clients, connections, hold, stopped).await;
    // A file that stays is removed at the next start.
    let _ = std::fs::remove_file(path);
    Ok(())
}

/// Accepts connections until the stop, and has each held in a task of its own. At most `connections` are open at a time.
async fn accepting<I, H, S, W>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<std::io::Result<(I, IpAddr)>>,
    clients: &Arc<Clients>,
    connections: usize,
    converse: impl Fn(I, Place) -> H,
    stopped: S,
) where
    H: Future<Output = ()> + Send + 'static,
    S: Fn() -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let mut stop = pin!(stopped());
    loop {
        let accepted = tokio::select! {
            accepted = poll_fn(&mut accept) => accepted,
            () = &mut stop => return,
        };
        let Ok((stream, from)) = accepted else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let place = tokio::select! {
            place = clients.enter(connections, from) => place,
            () = &mut stop => return,
        };
        let (conversation, ending) = (converse(stream, place), stopped());
        tokio::spawn(async move {
            tokio::select! {
                () = conversation => {}
                () = async { ending.await; tokio::time::sleep(LAST_ANSWERS).await } => {}
            }
        });
    }
}

async fn connection<F, A, B>(stream: TcpStream, acceptor: Option<TlsAcceptor>, place: Place, answer: F)
where
    F: Fn(Request<Incoming>, Arc<Place>) -> A + Send + Sync,
    A: Future<Output = Response<B>> + Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(acceptor) = acceptor else { return converse(Box::new(stream), Arc::new(place), answer).await };
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(PATIENCE, acceptor.accept(stream)) => accepted,
        () = place.leave.notified() => return,
    };
    match accepted {
        Ok(Ok(stream)) => converse(Box::new(stream), Arc::new(place), answer).await,
        Ok(Err(error)) => tracing::debug!(event = NOTE, %error, "no TLS with a client"),
        Err(_) => {}
    }
}

/// Answers the requests of a connection until it ends or must give way.
///
/// The stream is boxed: the code of the protocol is in the program once, and not once for TCP, TLS and Unix sockets.
pub async fn converse<F, A, B>(stream: Box<dyn Stream>, place: Arc<Place>, answer: F)
where
    F: Fn(Request<Incoming>, Arc<Place>) -> A,
    A: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let answered = answer(request, place.clone());
        let place = place.clone();
        async move {
            place.sending();
            let answer = answered.await;
            place.idle();
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let done = tokio::select! {
        done = &mut served => done,
        () = place.leave.notified() => {
            served.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    done = &mut served => break done,
                    // A request that has arrived only in part does not count.
                    () = tokio::time::sleep(FAREWELL) => if place.is_idle() { return },
                }
            }
        }
    };
    if let Err(error) = done {
        tracing::debug!(event = NOTE, %error, "a connection ended early");
    }
}
