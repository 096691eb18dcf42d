//! Registers of Modbus devices, over TCP or a serial line.
//!
//! Invariants: the values of a device in one round are one record. A device that does not answer costs one
//! timeout. It is then asked less and less often, so that it does not hold up the others. An exception code is
//! part of the record, and the other registers keep their values.

mod map;
mod settings;

pub use map::{Request, number, requests};
pub use settings::{KIND, Settings};

use super::{Context, serial};
use crate::flow::frame::{Frame, Payload};
use crate::flow::health::Reporter;
use crate::platform::random;
use crate::telemetry::{Metric, Metrics, event};
use settings::{ModbusLink, Slave, Table};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_modbus::ExceptionCode;
use tokio_modbus::client::{Context as Client, Reader, rtu, tcp};
use tokio_modbus::slave::SlaveContext;

/// The longest wait before a silent device is asked again, unless `every` is longer.
const SILENT_LIMIT: Duration = Duration::from_secs(60);
/// The first wait after a lost connection, in milliseconds; doubled up to the limit.
const BACKOFF_MS: u64 = 1000;
const BACKOFF_LIMIT_MS: u64 = 30_000;
/// A busy device is asked again this many times, with a pause of `BUSY` before each.
const BUSY_TRIES: u32 = 2;
const BUSY: Duration = Duration::from_millis(100);
/// A connection must be made within this time, or within `timeout` if that is longer.
const CONNECT: Duration = Duration::from_secs(1);

/// A device, and the time of its next round.
struct Asked<'a> {
    slave: &'a Slave,
    requests: Vec<Request>,
    due: Instant,
    silences: u32,
    /// Registers whose refusal by the device was reported.
    reported: BTreeSet<(Table, u16)>,
}

impl<'a> Asked<'a> {
    fn new(slave: &'a Slave, settings: &Settings) -> Self {
        let requests = requests(&slave.registers, settings.max_registers);
        Self { slave, requests, due: Instant::now(), silences: 0, reported: BTreeSet::new() }
    }
}

/// The connection to the devices.
struct Wire<'a> {
    settings: &'a Settings,
    client: Option<Client>,
    /// The connection has brought an answer: if it is closed now, its peer does not keep connections.
    has_answered: bool,
}

/// Why a device said nothing.
enum Failure {
    /// No answer came in time.
    Silence,
    /// There is no connection, or a new one did not work.
    Lost(String),
}

/// Asks every device once.
pub(super) async fn probe(settings: &Settings) -> Result<String, String> {
    let mut found = Vec::new();
    for slave in &settings.slaves {
        let mut wire = Wire::new(settings);
        wire.client = Some(connect(settings).await?);
        found.push(match wire.ask(&mut Asked::new(slave, settings), "").await {
            Ok(json) => format!("{}: {json}", slave.name),
            Err(Failure::Silence) => format!("{}: no answer in time", slave.name),
            Err(Failure::Lost(error)) => format!("{}: {error}", slave.name),
        });
    }
    Ok(found.join("; "))
}

pub(super) async fn run(settings: Settings, context: Context) {
    let Context { name, mut giver, mut stop, metrics, health, .. } = context;
    let mut asked: Vec<Asked<'_>> = settings.slaves.iter().map(|slave| Asked::new(slave, &settings)).collect();
    let mut wire = Wire::new(&settings);
    let mut failures = 0;
    loop {
        let Some(next) = asked.iter_mut().min_by_key(|asked| asked.due) else { return };
        if stop.or(tokio::time::sleep_until(next.due)).await.is_err() {
            return;
        }
        // Rounds keep their times, however long an answer takes. Missed rounds are left out.
        let now = Instant::now();
        next.due += settings.every;
        if next.due < now {
            next.due = now + settings.every;
        }
        let answer = tokio::select! {
            answer = wire.ask(next, &name) => answer,
            () = stop.requested() => return,
        };
        match answer {
            Ok(json) => {
                let is_back = std::mem::take(&mut failures) > 0;
                if is_back {
                    tracing::info!(event = event::SOURCE_UP, source = %name, "connected");
                }
                if std::mem::take(&mut next.silences) > 0 {
                    tracing::info!(event = event::SOURCE_UP, source = %name, slave = next.slave.name, "answers again");
                }
                let unit = |register: &settings::Register| {
                    Some((format!("unit.{}", register.name).into(), register.unit.as_deref()?.into()))
                };
                let attributes = next.slave.registers.iter().filter_map(unit).collect();
                let frame = Frame { attributes, ..Frame::new(next.slave.name.as_str(), Payload::One(json.into())) };
                tokio::select! {
                    pushed = giver.push(frame) => if pushed.is_none() { return },
                    () = stop.requested() => return,
                }
                say(&health, &asked);
                if is_back {
                    // The other devices waited for the connection, not for themselves.
                    for waiting in asked.iter_mut().filter(|asked| asked.silences == 0) {
                        waiting.due = waiting.due.min(Instant::now() + settings.every);
                    }
                }
            }
            Err(Failure::Silence) => {
                metrics.add(Metric::SourceTimeouts, 1);
                if next.silences == 0 {
                    tracing::warn!(event = event::SOURCE_DOWN, source = %name, slave = next.slave.name, "does not answer");
                }
                let wait = settings.every.saturating_mul(1 << next.silences.min(10)).min(SILENT_LIMIT);
                next.silences += 1;
                next.due = Instant::now() + wait.max(settings.every);
                say(&health, &asked);
            }
            Err(Failure::Lost(error)) => {
                health.waiting(&error);
                lost(&name, &metrics, &error, &mut failures, next);
            }
        }
    }
}

/// Reports the silent devices in the health of the source, if there are any.
fn say(health: &Reporter, asked: &[Asked<'_>]) {
    let silent: Vec<&str> = asked.iter().filter(|a| a.silences > 0).map(|a| a.slave.name.as_str()).collect();
    if silent.is_empty() {
        health.up();
    } else {
        health.waiting(format_args!("no answer from {}", silent.join(", ")));
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

/// Connects to the devices.
///
/// # Errors
/// The reason why there is no connection.
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

impl<'a> Wire<'a> {
    fn new(settings: &'a Settings) -> Self {
        Self { settings, client: None, has_answered: false }
    }

    /// Asks a device for all its registers. The answers are one record, in JSON.
    async fn ask(&mut self, asked: &mut Asked<'_>, source: &str) -> Result<String, Failure> {
        let mut members: Vec<(usize, String)> = Vec::new();
        let mut at = 0;
        let mut is_refused = true;
        while let Some(request) = asked.requests.get(at).copied() {
            let words = match self.words(asked.slave.unit, request).await? {
                // Some devices do not have one of the registers, or give only a few registers in one request.
                Err(code @ (ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue)) => {
                    if let Some(halves) = request.split(&asked.slave.registers) {
                        let (slave, address, count) = (&asked.slave.name, request.address, request.count);
                        tracing::debug!(
                            event = event::SOURCE_NOTE, source, slave, address, count, reason = %code,
                            "asking in two parts"
                        );
                        asked.requests.splice(at..=at, halves);
                        continue;
                    }
                    if asked.reported.insert((request.table, request.address)) {
                        let (slave, table, address) = (&asked.slave.name, request.table, request.address);
                        tracing::warn!(
                            event = event::SOURCE_NOTE, source, slave, ?table, address, reason = %code,
                            "the device refuses this address: its value is null"
                        );
                    }
                    Err(code)
                }
                words => words,
            };
            is_refused &= words.is_err();
            for (at, register) in asked.slave.registers.iter().enumerate() {
                let Some(place) = request.place(register) else { continue };
                let name = serde_json::Value::from(register.name.as_str());
                let member = match &words {
                    Ok(words) => match words.get(place..).and_then(|words| number(register, words)) {
                        Some(number) => format!("{name}:{number}"),
                        None => return Err(Failure::Lost("an answer that is too short".into())),
                    },
                    Err(code) => {
                        let failed = serde_json::Value::from(format!("{}.exception", register.name));
                        format!("{name}:null,{failed}:{}", serde_json::Value::from(code.to_string()))
                    }
                };
                members.push((at, member));
            }
            at += 1;
        }
        // A device that refuses everything is not ready. The requests are whole again, and are split later if
        // needed.
        if is_refused {
            asked.requests = requests(&asked.slave.registers, self.settings.max_registers);
        }
        members.sort();
        // Overlapping registers may be part of two requests.
        members.dedup_by_key(|(at, _)| *at);
        let list: Vec<String> = members.into_iter().map(|(_, member)| member).collect();
        Ok(format!("{{{}}}", list.join(",")))
    }

    /// Sends one request and returns the answer. A busy device is asked again a moment later.
    async fn words(&mut self, unit: u8, request: Request) -> Result<Result<Vec<u16>, ExceptionCode>, Failure> {
        for _ in 0..BUSY_TRIES {
            match self.exchange(unit, request).await? {
                Err(ExceptionCode::ServerDeviceBusy) => tokio::time::sleep(BUSY).await,
                answer => return Ok(answer),
            }
        }
        self.exchange(unit, request).await
    }

    /// Sends one request. A peer may close a connection while nothing is asked; then a new connection is made
    /// at once.
    async fn exchange(&mut self, unit: u8, request: Request) -> Result<Result<Vec<u16>, ExceptionCode>, Failure> {
        loop {
            let mut client = match self.client.take() {
                Some(client) => client,
                None => connect(self.settings).await.map_err(Failure::Lost)?,
            };
            client.set_slave(tokio_modbus::Slave(unit));
            let Request { table, address, count } = request;
            let answer = timeout(self.settings.timeout, async {
                Ok(match table {
                    Table::Holding => client.read_holding_registers(address, count).await?,
                    Table::Input => client.read_input_registers(address, count).await?,
                    Table::Coil => client.read_coils(address, count).await?.map(words),
                    Table::Discrete => client.read_discrete_inputs(address, count).await?.map(words),
                })
            });
            let has_answered = std::mem::take(&mut self.has_answered);
            match answer.await {
                // A late answer would be taken for the next one, and a dead connection would be kept: the
                // client is dropped.
                Err(_) => return Err(Failure::Silence),
                Ok(Err::<_, tokio_modbus::Error>(error)) => {
                    if has_answered && matches!(self.settings.link, ModbusLink::Tcp(_)) {
                        continue;
                    }
                    return Err(Failure::Lost(error.to_string()));
                }
                Ok(Ok(words)) => {
                    (self.client, self.has_answered) = (Some(client), true);
                    return Ok(words);
                }
            }
        }
    }
}

fn words(bits: Vec<bool>) -> Vec<u16> {
    bits.into_iter().map(u16::from).collect()
}
