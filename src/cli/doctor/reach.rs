//! Names, connections, certificates of servers: of everything that the configuration connects to.

use super::{Finding, bad, doubt, good};
use crate::config::Config;
use crate::platform::tls;
use crate::section::{Claim, ClientTls, Place};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Each step must end within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to every source and to the place of every sink. Nothing is sent.
pub async fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &config.sources {
        // Its port was looked at without being opened for long.
        if source.kind == "serial" {
            continue;
        }
        let about = format!("source {}", source.name);
        if let Some(taken) = taken(&source.settings.claims()).await {
            findings.push(good(about, taken));
            continue;
        }
        findings.push(match timeout(2 * PATIENCE, source.settings.probe()).await {
            Ok(Ok(found)) => good(about, found),
            Ok(Err(why)) => bad(about, why, "is it switched on, and the address right? docs/troubleshooting.md"),
            Err(_) => bad(about, "no answer in time", "is it switched on, and the address right?"),
        });
    }
    for sink in &config.sinks {
        for claim in sink.settings.claims() {
            // The place of a sink whose connection string was not read is not known.
            if let Claim::Target(place, tls) = claim
                && !place.host.ends_with(".invalid")
            {
                findings.push(server(&format!("sink {}", sink.name), &place, tls.as_ref()).await);
            }
        }
    }
    findings
}

/// The listener that the running agent has open already.
async fn taken(claims: &[Claim]) -> Option<String> {
    for claim in claims {
        if let Claim::Listener(address) = claim
            && timeout(PATIENCE, TcpStream::connect(address)).await.is_ok_and(|connected| connected.is_ok())
        {
            return Some(format!("something listens at {address}; the agent, if it runs"));
        }
    }
    None
}

async fn server(about: &str, place: &Place, tls: Option<&ClientTls>) -> Finding {
    let begun = Instant::now();
    let found = match timeout(PATIENCE, lookup_host((&*place.host, place.port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            let advice = "does another name resolve (`getent hosts`)? /etc/resolv.conf has the name servers";
            return bad(about, format!("the name {} is not found: {error}", place.host), advice);
        }
        Err(_) => {
            return bad(
                about,
                format!("the name {} is not found in time", place.host),
                "is the name server reachable?",
            );
        }
    };
    let named = begun.elapsed();
    let Some(stream) = connect(&found).await else {
        let advice = "is the link up, and does a firewall let the port out? Event Hubs also takes 443: `transport = \"amqp-websocket\"`";
        return bad(about, format!("no connection to {place}"), advice);
    };
    let connected = begun.elapsed().saturating_sub(named);
    let reached = format!("{place}: name in {} ms, connection in {} ms", named.as_millis(), connected.as_millis());
    let Some(tls) = tls else { return good(about, reached) };
    match handshake(stream, place, tls).await {
        Ok(certificate) => good(about, format!("{reached}, {certificate}")),
        Err(why) => doubt(
            about,
            format!("{reached}; but TLS: {why}"),
            "is the clock right, and the root known (`ca`)? Something between may answer for the server",
        ),
    }
}

async fn connect(found: &[std::net::SocketAddr]) -> Option<TcpStream> {
    for address in found {
        if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(address)).await {
            return Some(stream);
        }
    }
    None
}

/// Makes a TLS handshake; what the server's certificate says.
async fn handshake(stream: TcpStream, place: &Place, with: &ClientTls) -> Result<String, String> {
    let config = tls::client_with(with.trust()).map_err(|error| error.to_string())?;
    let name = rustls::pki_types::ServerName::try_from(place.host.clone()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = match timeout(PATIENCE, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer in time".into()),
    };
    let about = stream.get_ref().1.peer_certificates().and_then(|chain| tls::describe(chain.first()?));
    Ok(about.map_or_else(|| "a certificate that cannot be read".into(), |about| about.to_string()))
}
