//! A local stand-in for Azure Event Hubs: AMQP 1.0 over TCP, TLS and WebSocket, sending over HTTP, in memory.
//!
//! The hub is for development and tests. It shares no code with the agent's encoding and sink. Microsoft's own
//! clients must be able to send to it and receive from it, which sets the forms of its answers
//! (`docs/reference/event-hubs.md`). `docs/hub.md` lists its functions and its limits.

mod address;
mod bucket;
mod connection;
mod consumer;
mod disk;
mod epoch;
pub mod fault;
mod http;
mod idempotent;
mod jwt;
mod latency;
mod memory;
mod node;
pub mod partition;
mod producer;
mod refusal;
mod sas;
mod settings;
mod stored;
mod wire;

pub use http::batch as json_batch;
pub use settings::Settings;
pub use stored::Stored;

use crate::platform::http::Clients;
use crate::platform::stream::{Cutter, Tcp};
use crate::platform::{clock, tls};
use crate::telemetry::event;
use bucket::Bucket;
use epoch::Epochs;
use fault::Action;
use idempotent::Producers;
use memory::{Memory, Retention};
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use wire::Spoken;

/// The TCP segment size that the hub announces, in bytes. Microsoft's Python client writes back the size that it
/// finds on its socket. Linux refuses the loopback's 65483, because the most that may be set is 32767.
const SEGMENT: u32 = 32_000;

/// The state that all connections share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    hubs: BTreeMap<String, Memory>,
    started_ms: i64,
    cut: AtomicBool,
    attempts: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    throttled: AtomicU64,
    bucket: Mutex<Bucket>,
    batches: AtomicU64,
    faulted: AtomicU64,
    /// The time until which no connection is accepted, in milliseconds since the Unix epoch.
    offline_until: AtomicI64,
    epochs: Arc<Epochs>,
    producers: Producers,
    sockets: Mutex<Vec<Cutter>>,
    /// The open HTTP connections.
    clients: Arc<Clients>,
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
    /// The address, the data folder or the certificate cannot be used.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        // Azure takes letters, digits, periods, hyphens and underscores; the page shows a name as it is.
        let is_name = |name: &&String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if let Some(name) = settings.hubs.iter().find(|name| !is_name(name)) {
            let message = format!("`{name}` is no name of an event hub: use letters, digits, `.`, `-` and `_`");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(&settings.listen).await?;
        let address = listener.local_addr()?;
        SockRef::from(&listener).set_tcp_mss(SEGMENT)?;
        let retention = Retention { bytes: settings.retain, time: settings.retention };
        let memory = |name: &String| (name.to_ascii_lowercase(), Memory::new(settings.partitions, retention));
        let shared = Arc::new(Shared {
            hubs: settings.hubs.iter().map(memory).collect(),
            started_ms: clock::wall_ms(),
            cut: AtomicBool::new(false),
            attempts: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            bucket: Mutex::default(),
            batches: AtomicU64::new(0),
            faulted: AtomicU64::new(0),
            offline_until: AtomicI64::new(0),
            epochs: Arc::default(),
            producers: Producers::default(),
            sockets: Mutex::default(),
            clients: Arc::default(),
            settings,
        });
        if let Some(folder) = &shared.settings.data {
            std::fs::create_dir_all(folder)?;
            shared.hubs.iter().try_for_each(|(name, memory)| memory.load(folder, name))?;
        }
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

    /// The address on which the hub listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page about the events of the hub.
    #[must_use]
    pub fn page(&self) -> String {
        match self.shared.settings.tls {
            Some(_) => format!("https://localhost:{}/", self.address.port()),
            None => format!("http://{}/", self.address),
        }
    }

    /// The connection string for one of its event hubs.
    #[must_use]
    pub fn connection_string(&self, hub: &str) -> String {
        let Settings { key_name, key, .. } = &self.shared.settings;
        let (host, port) = (self.address.ip(), self.address.port());
        // Azure's clients call a hub without TLS an emulator.
        let (host, emulator) = match self.shared.settings.tls {
            Some(_) => ("localhost".to_string(), ""),
            None if self.address.is_ipv6() => (format!("[{host}]"), "UseDevelopmentEmulator=true;"),
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

    /// The events of a partition from a sequence on.
    #[must_use]
    pub fn events_from(&self, hub: &str, partition: u16, sequence: u64) -> Vec<Arc<Stored>> {
        let memory = self.shared.hubs.get(&hub.to_ascii_lowercase());
        memory.map(|memory| memory.from(partition, sequence, usize::MAX)).unwrap_or_default()
    }

    /// The number of partitions of each event hub.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.shared.settings.partitions
    }

    /// The number of connection attempts so far, including those while the hub was cut or offline.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.shared.attempts.load(Relaxed)
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

    /// The number of batches that were throttled so far.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.shared.throttled.load(Relaxed)
    }

    /// The number of batches to which a rule of `faults` applied so far.
    #[must_use]
    pub fn faulted(&self) -> u64 {
        self.shared.faulted.load(Relaxed)
    }

    /// Events and their bytes that were stored so far.
    #[must_use]
    pub fn stored(&self) -> (u64, u64) {
        let all = self.shared.hubs.values().map(Memory::stored);
        all.fold((0, 0), |sum, (events, bytes)| (sum.0 + events, sum.1 + bytes))
    }

    /// Cuts every connection and accepts no new one; or accepts connections again.
    pub fn cut(&self, cut: bool) {
        self.shared.cut.store(cut, Relaxed);
        if cut {
            self.shared.drop_all();
        }
    }

    /// Ends the hub. Only events in the folder `data` stay.
    pub async fn stop(self) {
        self.listening.abort();
        let _ = self.listening.await;
        self.shared.drop_all();
    }
}

impl Shared {
    fn drop_all(&self) {
        for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            socket.cut();
        }
    }

    /// Remembers a socket so that it can be cut. Forgets sockets that are gone.
    fn remember(&self, socket: Cutter) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain(Cutter::is_open);
        sockets.push(socket);
    }

    /// Whether these bytes and events are accepted now. If not, the batch is counted as throttled.
    fn takes(&self, memory: &Memory, partition: u16, bytes: u64, events: u64) -> bool {
        let now = clock::wall_ms();
        let of_partition = self.settings.partition_throughput_units;
        let takes = of_partition.is_none_or(|units| memory.takes(partition, units, now, bytes, events))
            && self.settings.throughput_units.is_none_or(|units| {
                self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(units, now, bytes, events)
            });
        self.throttled.fetch_add(u64::from(!takes), Relaxed);
        takes
    }

    /// The actions of the rules for the batch that has just arrived.
    fn faults(&self) -> Vec<Action> {
        if self.settings.faults.is_empty() {
            return Vec::new();
        }
        let number = self.batches.fetch_add(1, Relaxed) + 1;
        let actions: Vec<Action> = self.settings.faults.iter().filter_map(|fault| fault.of(number).cloned()).collect();
        self.faulted.fetch_add(u64::from(!actions.is_empty()), Relaxed);
        for time in actions.iter().filter_map(|action| match action {
            Action::Offline(time) => Some(*time),
            _ => None,
        }) {
            let until = clock::wall_ms() + i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2);
            self.offline_until.store(until, Relaxed);
            self.drop_all();
        }
        actions
    }

    /// The counters as text, for a person.
    fn counts(&self) -> String {
        let of = |number: &AtomicU64| number.load(Relaxed);
        format!(
            "up since {}; {} connections so far, {} refusals, {} batches throttled, {} with a fault by rule",
            clock::utc(self.started_ms),
            of(&self.accepted),
            of(&self.refused),
            of(&self.throttled),
            of(&self.faulted)
        )
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
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        shared.attempts.fetch_add(1, Relaxed);
        if shared.cut.load(Relaxed) || clock::wall_ms() < shared.offline_until.load(Relaxed) {
            continue;
        }
        shared.accepted.fetch_add(1, Relaxed);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(event = event::HUB_REFUSED, %error, "the client is gone");
            continue;
        }
        let stream = Tcp::new(stream);
        let socket = stream.cutter();
        shared.remember(socket.clone());
        // Each connection has a task of its own, because bytes that are not AMQP may make the library panic.
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            let opened = match shared.settings.latency {
                Some(time) => wire::open(latency::later(stream, time), acceptor).await,
                None => wire::open(stream, acceptor).await,
            };
            match opened {
                Ok(Spoken::Amqp(stream)) => connection::serve(stream, shared, socket).await,
                Ok(Spoken::Http(stream)) => http::serve(stream, shared, socket).await,
                Err(error) => shared.refuse(&error.to_string()),
            }
        });
    }
}
