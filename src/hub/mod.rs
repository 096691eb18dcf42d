//! A local stand-in for Azure Event Hubs: AMQP 1.0 over TCP, TLS and WebSocket, everything in memory.
//!
//! For development and tests. It shares no code with the agent's encoding and sink; Microsoft's
//! own clients must be able to send to it and receive from it, which sets the forms of its
//! answers (reference: event-hubs.md, section 8). `docs/hub.md` has what it does and does not do.

mod address;
mod bucket;
mod connection;
mod consumer;
mod jwt;
mod memory;
mod node;
mod producer;
mod sas;
mod wire;

pub use memory::Stored;

use crate::platform::tls;
use crate::telemetry::event;
use bucket::Bucket;
use memory::Memory;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Microsoft's Python client writes back the segment size that it finds on its socket, and Linux
/// refuses the loopback's 65483 (the most that may be set is 32767): a smaller one is announced.
const SEGMENT: u32 = 32_000;

/// How a hub is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where it listens; port 0 takes a free one.
    pub listen: String,
    /// Its event hubs.
    pub hubs: Vec<String>,
    /// Partitions of each.
    pub partitions: u16,
    /// The policy that may do everything.
    pub key_name: String,
    /// Its key.
    pub key: String,
    /// The largest message, in bytes.
    pub max_message_size: u64,
    /// With TLS, and then only with it: certificate and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Above so many the hub answers server-busy; none: it takes all that comes.
    pub throughput_units: Option<f64>,
    /// The oldest events go when a partition holds more than this, in bytes.
    pub retain: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5672".into(),
            hubs: vec!["readings".into()],
            partitions: 4,
            key_name: "RootManageSharedAccessKey".into(),
            key: "SAS_KEY_VALUE".into(),
            max_message_size: 1 << 20,
            tls: None,
            throughput_units: None,
            retain: 256 << 20,
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    hubs: BTreeMap<String, Memory>,
    started_ms: i64,
    cut: AtomicBool,
    accepted: AtomicU64,
    refused: AtomicU64,
    throttled: AtomicU64,
    bucket: Mutex<Bucket>,
    sockets: Mutex<Vec<std::net::TcpStream>>,
}

/// A running hub.
#[derive(Debug)]
pub struct Hub {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Hub {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(&settings.listen).await?;
        let address = listener.local_addr()?;
        SockRef::from(&listener).set_tcp_mss(SEGMENT)?;
        let memory = |name: &String| (name.to_ascii_lowercase(), Memory::new(settings.partitions, settings.retain));
        let shared = Arc::new(Shared {
            hubs: settings.hubs.iter().map(memory).collect(),
            started_ms: crate::platform::clock::wall_ms(),
            cut: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            bucket: Mutex::default(),
            sockets: Mutex::default(),
            settings,
        });
        let acceptor = match &shared.settings.tls {
            Some((certificate, key)) => {
                let config = tls::server(certificate, key, None).map_err(io::Error::other)?;
                Some(TlsAcceptor::from(config))
            }
            None => None,
        };
        let listening = tokio::spawn(listen(listener, acceptor, shared.clone()));
        tracing::info!(event = event::HUB_UP, %address, "the hub listens");
        Ok(Self { shared, address, listening })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connection string for one of its event hubs.
    #[must_use]
    pub fn connection_string(&self, hub: &str) -> String {
        let Settings { key_name, key, .. } = &self.shared.settings;
        let (host, port) = (self.address.ip(), self.address.port());
        // To Azure's clients the emulator is what has no TLS.
        let (host, emulator) = match self.shared.settings.tls {
            Some(_) => ("localhost".to_string(), ""),
            None => (host.to_string(), "UseDevelopmentEmulator=true;"),
        };
        format!(
            "Endpoint=sb://{host}:{port};SharedAccessKeyName={key_name};SharedAccessKey={key};{emulator}EntityPath={hub}"
        )
    }

    /// Everything that a partition holds.
    #[must_use]
    pub fn events(&self, hub: &str, partition: u16) -> Vec<Arc<Stored>> {
        self.events_from(hub, partition, 0)
    }

    /// What a partition holds from a sequence on.
    #[must_use]
    pub fn events_from(&self, hub: &str, partition: u16, sequence: u64) -> Vec<Arc<Stored>> {
        let memory = self.shared.hubs.get(&hub.to_ascii_lowercase());
        memory.map(|memory| memory.from(partition, sequence, usize::MAX)).unwrap_or_default()
    }

    /// How many partitions its event hubs have.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.shared.settings.partitions
    }

    /// Connections that were opened so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Relaxed)
    }

    /// Tokens and links that were refused so far.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.shared.refused.load(Relaxed)
    }

    /// Batches that were answered server-busy so far.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.shared.throttled.load(Relaxed)
    }

    /// Cuts every connection and takes no new one, or takes them again.
    pub fn cut(&self, cut: bool) {
        self.shared.cut.store(cut, Relaxed);
        if cut {
            self.shared.drop_all();
        }
    }

    /// Ends it; what it held is gone.
    pub async fn stop(self) {
        self.listening.abort();
        let _ = self.listening.await;
        self.shared.drop_all();
    }
}

impl Shared {
    fn drop_all(&self) {
        for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Remembers a socket so that it can be cut; forgets those that are gone.
    fn remember(&self, socket: std::net::TcpStream) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain(|socket| socket.peer_addr().is_ok());
        sockets.push(socket);
    }

    /// Whether so much may come now; else it is counted as throttled.
    fn takes(&self, bytes: u64, events: u64) -> bool {
        let Some(units) = self.settings.throughput_units else { return true };
        let now = crate::platform::clock::wall_ms();
        let takes = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(units, now, bytes, events);
        self.throttled.fetch_add(u64::from(!takes), Relaxed);
        takes
    }

    fn refuse(&self, why: &str) {
        self.refused.fetch_add(1, Relaxed);
        tracing::warn!(event = event::HUB_REFUSED, "{why}");
    }
}

async fn listen(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(event = event::HUB_REFUSED, %error, "cannot accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if shared.cut.load(Relaxed) {
            continue;
        }
        shared.accepted.fetch_add(1, Relaxed);
        match twice(stream) {
            Ok((stream, socket)) => {
                shared.remember(socket);
                // A task of its own: bytes that are no AMQP may make the library panic.
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    match wire::open(stream, acceptor).await {
                        Ok(stream) => connection::serve(stream, shared).await,
                        Err(error) => shared.refuse(&error.to_string()),
                    }
                });
            }
            Err(error) => tracing::debug!(event = event::HUB_REFUSED, %error, "the client is gone"),
        }
    }
}

fn twice(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let socket = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, socket))
}
