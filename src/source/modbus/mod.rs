//! Registers of Modbus devices, over TCP or a serial line.
//!
//! Invariants: a device's values of one round are one record; a device that does not answer costs
//! one timeout and is then asked less and less often, so that it does not hold up the others; what
//! it answers instead of a value (an exception code) is part of the record.

mod map;

pub use crate::config::value::Modbus as Settings;
pub use map::{Request, number, requests};

use super::{Context, serial};
use crate::config::value::{ModbusLink, Slave, Table};
use crate::flow::frame::{Frame, Payload};
use crate::platform::random;
use crate::telemetry::{Metric, Metrics, event};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_modbus::client::{Context as Client, Reader, rtu, tcp};
use tokio_modbus::slave::SlaveContext;

/// A device that does not answer is asked again after this long at most.
const SILENT_LIMIT: Duration = Duration::from_secs(60);
/// The first wait after a lost connection, in milliseconds; doubled up to the limit.
const BACKOFF_MS: u64 = 1000;
const BACKOFF_LIMIT_MS: u64 = 30_000;
/// A connection may take this long to be made, if answers may not take longer.
const CONNECT: Duration = Duration::from_secs(1);

/// A device, and when it is asked next.
struct Asked<'a> {
    slave: &'a Slave,
    requests: Vec<Request>,
    due: Instant,
    silences: u32,
}

/// What a device said.
enum Answer {
    /// The record, and whether some of it is an exception.
    Values(String),
    /// Nothing in time.
    Silence,
    /// The connection is of no use any more.
    Lost(String),
}

/// Asks every device once.
pub(super) async fn probe(settings: &Settings) -> Result<String, String> {
    let mut found = Vec::new();
    for slave in &settings.slaves {
        let mut client = connect(settings).await?;
        let asked = Asked { slave, requests: requests(&slave.registers), due: Instant::now(), silences: 0 };
        found.push(match ask(&mut client, &asked, settings).await {
            Answer::Values(json) => format!("{}: {json}", slave.name),
            Answer::Silence => format!("{}: no answer in time", slave.name),
            Answer::Lost(error) => format!("{}: {error}", slave.name),
        });
    }
    Ok(found.join("; "))
}

pub(super) async fn run(settings: Settings, context: Context) {
    let Context { name, mut giver, mut stop, metrics, .. } = context;
    let now = Instant::now();
    let mut asked: Vec<Asked<'_>> = settings
        .slaves
        .iter()
        .map(|slave| Asked { slave, requests: requests(&slave.registers), due: now, silences: 0 })
        .collect();
    let mut client: Option<Client> = None;
    let mut failures = 0;
    loop {
        let Some(next) = asked.iter_mut().min_by_key(|asked| asked.due) else { return };
        tokio::select! {
            () = tokio::time::sleep_until(next.due) => {}
            () = stop.requested() => return,
        }
        let connected = match client.take() {
            Some(open) => Ok(open),
            None => tokio::select! {
                connected = connect(&settings) => connected,
                () = stop.requested() => return,
            },
        };
        let mut open = match connected {
            Ok(open) => open,
            Err(error) => {
                lost(&name, &metrics, &error, &mut failures, next);
                continue;
            }
        };
        // Rounds keep their time, however long an answer takes; those that were missed are left out.
        let now = Instant::now();
        next.due += settings.every;
        if next.due < now {
            next.due = now + settings.every;
        }
        let answer = tokio::select! {
            answer = ask(&mut open, next, &settings) => answer,
            () = stop.requested() => return,
        };
        match answer {
            Answer::Values(json) => {
                let is_back = std::mem::take(&mut failures) > 0;
                if is_back {
                    tracing::info!(event = event::SOURCE_UP, source = %name, "connected");
                }
                if std::mem::take(&mut next.silences) > 0 {
                    tracing::info!(event = event::SOURCE_UP, source = %name, slave = next.slave.name, "answers again");
                }
                client = Some(open);
                let unit = |register: &crate::config::value::Register| {
                    Some((format!("unit.{}", register.name).into(), register.unit.as_deref()?.into()))
                };
                let attributes = next.slave.registers.iter().filter_map(unit).collect();
                let frame = Frame { attributes, ..Frame::new(next.slave.name.as_str(), Payload::One(json.into())) };
                tokio::select! {
                    pushed = giver.push(frame) => if pushed.is_none() { return },
                    () = stop.requested() => return,
                }
                if is_back {
                    // The others waited for the line, not for themselves.
                    for waiting in asked.iter_mut().filter(|asked| asked.silences == 0) {
                        waiting.due = waiting.due.min(Instant::now() + settings.every);
                    }
                }
            }
            Answer::Silence => {
                metrics.add(Metric::SourceTimeouts, 1);
                if next.silences == 0 {
                    tracing::warn!(event = event::SOURCE_DOWN, source = %name, slave = next.slave.name, "does not answer");
                }
                let wait = settings.every.saturating_mul(1 << next.silences.min(10)).min(SILENT_LIMIT);
                next.silences += 1;
                next.due = Instant::now() + wait.max(settings.every);
                // A late answer would be taken for the next one, and a dead connection be kept: begin anew.
                drop(open);
            }
            Answer::Lost(error) => lost(&name, &metrics, &error, &mut failures, next),
        }
    }
}

/// Counts a connection that was lost or not made, says so the first time, and sets when to try again.
fn lost(name: &str, metrics: &Metrics, error: &str, failures: &mut u32, next: &mut Asked<'_>) {
    metrics.add(Metric::SourceReconnects, 1);
    if *failures == 0 {
        tracing::warn!(event = event::SOURCE_DOWN, source = name, error, "no connection; trying again");
    }
    next.due = Instant::now() + random::backoff(BACKOFF_MS, BACKOFF_LIMIT_MS, *failures);
    *failures = failures.saturating_add(1);
}

/// Connects.
///
/// # Errors
/// What happened.
pub async fn connect(settings: &Settings) -> Result<Client, String> {
    match &settings.link {
        ModbusLink::Tcp(address) => {
            let stream = timeout(settings.timeout.max(CONNECT), TcpStream::connect(address)).await;
            let stream = stream.map_err(|_| format!("{address}: no connection in time"))?;
            let stream = stream.map_err(|error| format!("{address}: {error}"))?;
            stream.set_nodelay(true).map_err(|error| format!("{address}: {error}"))?;
            Ok(tcp::attach(stream))
        }
        ModbusLink::Rtu(path, line) => Ok(rtu::attach(serial::open(Path::new(path), line)?)),
    }
}

/// Asks a device for all that is wanted of it.
async fn ask(client: &mut Client, asked: &Asked<'_>, settings: &Settings) -> Answer {
    client.set_slave(tokio_modbus::Slave(asked.slave.unit));
    let mut members: Vec<(usize, String)> = Vec::new();
    for request in &asked.requests {
        let Request { table, address, count } = *request;
        let answer = timeout(settings.timeout, async {
            Ok(match table {
                Table::Holding => client.read_holding_registers(address, count).await?,
                Table::Input => client.read_input_registers(address, count).await?,
                Table::Coil => client.read_coils(address, count).await?.map(words),
                Table::Discrete => client.read_discrete_inputs(address, count).await?.map(words),
            })
        });
        let words = match answer.await {
            Err(_) => return Answer::Silence,
            Ok(Err::<_, tokio_modbus::Error>(error)) => return Answer::Lost(error.to_string()),
            Ok(Ok(words)) => words,
        };
        for (at, register) in asked.slave.registers.iter().enumerate() {
            let Some(place) = request.place(register) else { continue };
            let name = serde_json::Value::from(register.name.as_str());
            let member = match &words {
                Ok(words) => match words.get(place..).and_then(|words| number(register, words)) {
                    Some(number) => format!("{name}:{number}"),
                    None => return Answer::Lost("an answer that is too short".into()),
                },
                Err(code) => {
                    let failed = serde_json::Value::from(format!("{}.exception", register.name));
                    format!("{name}:null,{failed}:{}", serde_json::Value::from(code.to_string()))
                }
            };
            members.push((at, member));
        }
    }
    members.sort();
    let list: Vec<String> = members.into_iter().map(|(_, member)| member).collect();
    Answer::Values(format!("{{{}}}", list.join(",")))
}

fn words(bits: Vec<bool>) -> Vec<u16> {
    bits.into_iter().map(u16::from).collect()
}
