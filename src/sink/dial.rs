//! Connects to a target: name lookup, TCP, TLS. Every step has a time limit and is logged (event `sink_step`). A
//! log with details shows how far a connection came, and `forebay send-test` prints the steps.

use super::DeliverError;
use crate::platform::clock;
use crate::platform::stream::Stream;
use crate::platform::tls::{self, Trust};
use crate::section::Place;
use crate::telemetry::event;
use crate::telemetry::seldom::Seldom;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The time limit for a name lookup, and for each address of the name. A dead address must leave time for the next.
const ADDRESS: Duration = Duration::from_secs(5);
/// The time limit for a TLS handshake.
const PATIENCE: Duration = Duration::from_secs(15);

/// Logs a step of a connection that was completed.
pub fn step(name: &'static str, about: impl std::fmt::Display) {
    tracing::debug!(event = event::SINK_STEP, step = name, "{about}");
}

/// The log of new connections. Connections that are made again and again are logged at most once a minute.
#[derive(Debug)]
pub struct Connections(Mutex<Seldom>);

impl Default for Connections {
    fn default() -> Self {
        Self(Mutex::new(Seldom::new(Duration::from_secs(60))))
    }
}

impl Connections {
    /// Logs a new connection to a place.
    pub fn made(&self, place: &str) {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner).report(place);
        match times {
            Some(times) => tracing::info!(event = event::SINK_UP, place, times, "connected"),
            None => tracing::debug!(event = event::SINK_UP, place, "connected"),
        }
    }
}

/// Connects to the first address of a name that answers.
///
/// # Errors
/// When the name is not found, or no address answers in time.
pub async fn tcp(host: &str, port: u16) -> Result<TcpStream, DeliverError> {
    let place = Place { host: host.into(), port };
    let failed = |what: &dyn std::fmt::Display| DeliverError::transient(format_args!("{place}: {what}"));
    // When the host is an address, the message does not repeat the address.
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let at = |address: std::net::SocketAddr| if is_address { String::new() } else { format!("{address}: ") };
    let found = timeout(ADDRESS, lookup_host((host, port))).await;
    let found: Vec<_> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(failed(&format_args!("the name is not found: {error}"))),
        Err(_) => return Err(failed(&"the name is not found in time")),
    };
    step(
        "dns",
        format_args!("{host} is {}", found.iter().map(|at| at.ip().to_string()).collect::<Vec<_>>().join(", ")),
    );
    let mut last = failed(&"the name has no address");
    for address in found {
        match timeout(ADDRESS, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                step("tcp", format_args!("connected to {address}"));
                stream.set_nodelay(true).map_err(|error| failed(&error))?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = failed(&format_args!("{}{error}", at(address))),
            Err(_) => last = failed(&format_args!("{}no TCP connection in time", at(address))),
        }
    }
    Err(last)
}

/// Makes the TLS handshake with the server of this name.
///
/// # Errors
/// When the server is not trusted or silent, with a hint when this machine's clock may be the cause.
pub async fn tls<S: Stream>(stream: S, host: &str, trust: Trust<'_>) -> Result<TlsStream<S>, DeliverError> {
    let failed = |what: &dyn std::fmt::Display| DeliverError::transient(format_args!("{host}: TLS: {what}"));
    let config = tls::client_with(trust).map_err(|error| failed(&error))?;
    let name = rustls::pki_types::ServerName::try_from(host.to_string()).map_err(|error| failed(&error))?;
    let stream = match timeout(PATIENCE, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(&format_args!("{error}{}", clock_hint(&error.to_string())))),
        Err(_) => return Err(failed(&"no answer in time")),
    };
    let (_, session) = stream.get_ref();
    let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
    let certificate = session.peer_certificates().and_then(|chain| tls::describe(chain.first()?));
    let about = certificate.map_or_else(|| "a certificate that we cannot read".into(), |about| about.to_string());
    step("tls", format_args!("{version}, {about}"));
    Ok(stream)
}

/// A hint for errors about time: a gateway without a battery begins in 1970, so good certificates look invalid.
#[must_use]
pub fn clock_hint(error: &str) -> String {
    let is_of_time = ["not valid yet", "NotValidYet", "expired", "Expired"].iter().any(|word| error.contains(word));
    if is_of_time {
        format!("; this machine's clock says {}: is it right?", clock::utc(clock::wall_ms()))
    } else {
        String::new()
    }
}
