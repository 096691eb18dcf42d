//! One AMQP connection: TCP, TLS, SASL, session, token, links.
//!
//! The AMQP library waits for ever when a peer falls silent, and loops without a pause when a close is not
//! answered. So every step has a time limit, and `kill` shuts the socket down under the library.

use super::Settings as EventHubs;
use super::cbs::Cbs;
use super::error::{self, Failed};
use super::guard::Guard;
use super::message::Encoded;
use super::token::Renewal;
use super::transport;
use crate::platform::stream::{Cutter, Tcp};
use crate::platform::{clock, random};
use crate::section::Host;
use crate::sink::DeliverError;
use crate::sink::dial::step;
use crate::telemetry::{event, people};
use fe2o3_amqp::Sender;
use fe2o3_amqp::connection::{ConnectionHandle, OpenError};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp_types::definitions::{ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::Outcome;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

/// The time limit for TLS, AMQP's open and the session together, and for each step after them.
const PATIENCE: Duration = Duration::from_secs(20);
/// The time limit for the outcome of a batch.
const OUTCOME: Duration = Duration::from_secs(60);
/// The time limit for each step of closing in order.
const CLOSING: Duration = Duration::from_secs(2);
/// The time between two keep-alives: Azure drops a connection that is silent for 240 s.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const IDLE_TIME_OUT_MS: u32 = 120_000;
const FRAME_BYTES: u32 = 64 << 10;
const QUEUE: usize = 64;

/// An open connection with a valid token.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    session: Mutex<SessionHandle<()>>,
    socket: Cutter,
    closed: watch::Receiver<Option<String>>,
    closing: watch::Sender<bool>,
}

/// The sending link of one channel.
#[derive(Debug)]
pub struct Link {
    connection: u64,
    sender: Sender,
}

impl Connection {
    /// Opens a connection and sends its first token.
    ///
    /// # Errors
    /// `Denied` when the credentials are wrong, else `Transient`.
    pub async fn open(settings: &EventHubs) -> Result<Self, DeliverError> {
        let endpoint = &settings.connection.endpoint;
        let place = format!("{}:{}", Host(&endpoint.host), settings.port);
        let stream = transport::tcp(settings).await?;
        let stream = Tcp::new(stream);
        let socket = stream.cutter();
        let opened = timeout(PATIENCE, amqp(stream, settings)).await;
        let (mut connection, mut session) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                socket.cut();
                return Err(error);
            }
            Err(_) => {
                socket.cut();
                return Err(DeliverError::transient(format_args!("{place}: does not speak AMQP in time")));
            }
        };
        let (report, closed) = watch::channel(None);
        let (closing, mut asked) = watch::channel(false);
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = connection.on_close() => ended.map_or_else(|error| error.to_string(), |()| "closed".into()),
                _ = asked.changed() => {
                    let _ = timeout(CLOSING, connection.close()).await;
                    "closed by us".into()
                }
            };
            report.send_replace(Some(ended));
        });
        let granted = timeout(PATIENCE, authorise(&mut session, settings)).await;
        let (cbs, renewal) = match granted {
            Ok(Ok(granted)) => granted,
            other => {
                closing.send_replace(true);
                socket.cut();
                let late = || DeliverError::transient(format_args!("{place}: no answer to the token in time"));
                return Err(other.map_err(|_| late()).and_then(|granted| granted).err().unwrap_or_else(late));
            }
        };
        tokio::spawn(keep(cbs, renewal, settings.clone(), closed.clone(), socket.clone()));
        let id = u64::from_le_bytes(random::bytes());
        Ok(Self { id, session: Mutex::new(session), socket, closed, closing })
    }

    /// Whether the connection can be used, as far as is known.
    pub fn is_alive(&self) -> bool {
        self.closed.borrow().is_none()
    }

    /// Ends the connection at once.
    pub fn kill(&self) {
        self.socket.cut();
    }

    /// Closes the session and the connection in order.
    pub async fn close(&self) {
        let _ = timeout(CLOSING, self.session.lock().await.end()).await;
        self.closing.send_replace(true);
        let _ = timeout(CLOSING, self.closed.clone().wait_for(Option::is_some)).await;
        self.kill();
    }

    /// Attaches a sending link for one channel.
    ///
    /// # Errors
    /// The error of the service, or no answer in time.
    pub async fn attach(&self, settings: &EventHubs) -> Result<Link, DeliverError> {
        let entity = settings.path();
        let name = format!("forebay-{}-{:08x}", settings.device, random::u32());
        let mut builder = Sender::builder()
            .name(name)
            .source("forebay")
            .target(settings.connection.endpoint.address("amqps", &entity))
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .receiver_settle_mode(ReceiverSettleMode::First);
        builder.buffer_size = QUEUE;
        let mut session = self.session.lock().await;
        let attached = timeout(PATIENCE, builder.attach(&mut session)).await;
        match attached {
            Ok(Ok(sender)) => {
                let most = sender.max_message_size().unwrap_or(0);
                step("link", format_args!("to {entity}; up to {most} bytes in a message"));
                Ok(Link { connection: self.id, sender })
            }
            Ok(Err(error)) => {
                let error = error::from_attach(&error);
                // After a refused link the state of the session is not known: a new connection is simpler.
                self.kill();
                Err(error)
            }
            Err(_) => {
                self.kill();
                Err(DeliverError::transient("the link was not attached in time"))
            }
        }
    }
}

impl Link {
    /// Whether the link was attached on this connection, and the connection is alive.
    pub fn belongs_to(&self, connection: &Connection) -> bool {
        self.connection == connection.id && connection.is_alive()
    }

    /// The largest message that the service accepts, in bytes; `None` when it is not known.
    pub fn max_message_size(&self) -> Option<usize> {
        self.sender.max_message_size().and_then(|size| usize::try_from(size).ok())
    }

    /// Sends a batch and waits for its outcome. The memory of the batch is given back as soon as it is on its way.
    ///
    /// # Errors
    /// For every outcome but `accepted`.
    pub async fn send(&mut self, batch: Encoded) -> Result<(), Failed> {
        let lost = |message: &str| Failed {
            error: DeliverError::transient(message),
            link_is_lost: true,
            connection_is_lost: true,
        };
        let queued = timeout(PATIENCE, self.sender.send_batchable(batch.sendable)).await;
        let mut outcome =
            queued.map_err(|_| lost("the hub gives no credit in time"))?.map_err(|error| error::from_send(&error))?;
        let outcome = tokio::select! {
            biased;
            outcome = &mut outcome => outcome.map_err(|error| error::from_send(&error))?,
            detached = self.sender.on_detach() => return Err(error::from_detach(&detached)),
            () = tokio::time::sleep(OUTCOME) => return Err(lost("no outcome in time")),
        };
        let failed = |error| Failed { error, link_is_lost: false, connection_is_lost: false };
        match outcome {
            Outcome::Accepted(_) => Ok(()),
            Outcome::Rejected(rejected) => Err(failed(rejected.error.as_ref().map_or_else(
                || DeliverError::transient("the hub rejects the batch and does not say why"),
                error::from_service,
            ))),
            // Only `accepted` is a durable acknowledgement, although some clients count other outcomes as success.
            other => Err(failed(DeliverError::transient(format_args!("the hub answers {other:?}")))),
        }
    }
}

async fn amqp(stream: Tcp, settings: &EventHubs) -> Result<(ConnectionHandle<()>, SessionHandle<()>), DeliverError> {
    let endpoint = &settings.connection.endpoint;
    let failed = |error: String| DeliverError::transient(format_args!("{}: {error}", endpoint.host));
    let builder = fe2o3_amqp::Connection::builder()
        .container_id(format!("forebay-{:08x}", random::u32()))
        .hostname(endpoint.host.as_str())
        .sasl_profile(SaslProfile::Anonymous)
        .max_frame_size(FRAME_BYTES)
        .idle_time_out(IDLE_TIME_OUT_MS)
        .buffer_size(QUEUE);
    let stream = Guard::new(transport::secured(stream, settings).await?, FRAME_BYTES);
    let opened = builder.open_with_stream(stream).await;
    let mut connection = opened.map_err(|error| match error {
        OpenError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            failed("AMQP: the connection was closed before it was open".into())
        }
        OpenError::Io(error) => failed(format!("AMQP: {error}")),
        other => failed(format!("AMQP: {}", people::cause(&other))),
    })?;
    let session = fe2o3_amqp::Session::builder().buffer_size(QUEUE).begin(&mut connection).await;
    let session = session.map_err(|error| error::from_ended(&format!("{}: AMQP session", endpoint.host), &error))?;
    step("amqp", "SASL ANONYMOUS, a connection and a session");
    Ok((connection, session))
}

async fn authorise(
    session: &mut SessionHandle<()>,
    settings: &EventHubs,
) -> Result<(Cbs, Option<Renewal>), DeliverError> {
    let mut cbs = Cbs::attach(session).await?;
    let renewal = cbs.put_token(settings).await?;
    step("token", format_args!("accepted for {}", settings.connection.endpoint.address("sb", &settings.audience())));
    Ok((cbs, renewal))
}

/// Renews the token in time, and sends keep-alives so that the connection is never silent.
async fn keep(
    mut cbs: Cbs,
    mut renewal: Option<Renewal>,
    settings: EventHubs,
    mut closed: watch::Receiver<Option<String>>,
    socket: Cutter,
) {
    loop {
        tokio::select! {
            _ = closed.wait_for(Option::is_some) => return,
            () = tokio::time::sleep(KEEP_ALIVE) => {}
        }
        let now = clock::wall_s();
        let mut done = Ok(());
        if renewal.is_some_and(|renewal| renewal.is_due(now)) {
            match cbs.put_token(&settings).await {
                Ok(next) => renewal = next,
                // The old token is still good, and the service that gives new tokens may be back in a minute.
                Err(error) if renewal.as_mut().is_some_and(|renewal| renewal.put_off(now)) => {
                    tracing::warn!(event = event::SINK_NOTE, %error, "the token was not renewed; trying again");
                }
                Err(error) => done = Err(error),
            }
        }
        if done.is_ok() {
            done = cbs.keep_alive().await;
        }
        if done.is_err() {
            // The next delivery connects again and reports the error.
            socket.cut();
            return;
        }
    }
}
