//! One port: it is opened, read, asked, and opened again after it was unplugged.

use super::PortsHealth;
use super::Settings;
use super::checksum::proven;
use super::framer::{Found, Framer};
use super::settings::{Flow, Line, Parity, Rs485};
use crate::flow::frame::{Frame, Payload};
use crate::flow::stop::Stop;
use crate::platform::random;
use crate::telemetry::{Metric, Metrics, event};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_serial::{DataBits, FlowControl, SerialPort, SerialPortBuilderExt, SerialStream, StopBits};

/// The first wait before a port is opened again, in milliseconds; doubled up to the limit.
const BACKOFF_MS: u64 = 500;
const BACKOFF_LIMIT_MS: u64 = 10_000;
/// One read returns at most this many bytes.
const READ: usize = 4096;

/// Opens a port with its settings.
///
/// # Errors
/// The reason, with a hint where the remedy is known.
pub fn open(path: &Path, line: &Line) -> Result<SerialStream, String> {
    if let Some(rs485) = line.rs485 {
        set_rs485(path, rs485)?;
    }
    let data_bits = match line.data_bits {
        5 => DataBits::Five,
        6 => DataBits::Six,
        7 => DataBits::Seven,
        _ => DataBits::Eight,
    };
    let parity = match line.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Odd => tokio_serial::Parity::Odd,
        Parity::Even => tokio_serial::Parity::Even,
    };
    let flow = match line.flow {
        Flow::None => FlowControl::None,
        Flow::Software => FlowControl::Software,
        Flow::Hardware => FlowControl::Hardware,
    };
    let opened = tokio_serial::new(path.to_string_lossy(), line.baud)
        .data_bits(data_bits)
        .parity(parity)
        .stop_bits(if line.stop_bits == 2 { StopBits::Two } else { StopBits::One })
        .flow_control(flow)
        .exclusive(line.exclusive)
        .open_native_async();
    let mut stream = opened.map_err(|error| explain(&error.into()))?;
    if let Some(level) = line.dtr {
        stream.write_data_terminal_ready(level).map_err(|error| format!("this port has no DTR to set: {error}"))?;
    }
    if let Some(level) = line.rts {
        stream.write_request_to_send(level).map_err(|error| format!("this port has no RTS to set: {error}"))?;
    }
    Ok(stream)
}

fn set_rs485(path: &Path, rs485: Rs485) -> Result<(), String> {
    let mut mode = serial2::rs4xx::Rs485Config::new();
    mode.set_invert_rts(rs485.invert_rts);
    mode.set_delay_before_send(rs485.delay.0);
    mode.set_delay_after_send(rs485.delay.1);
    let port = serial2::SerialPort::open(path, serial2::KeepSettings).map_err(|error| explain(&error))?;
    let set = port.set_rs4xx_mode(serial2::rs4xx::TransceiverMode::Rs485(mode));
    set.map_err(|error| format!("its driver does not switch RS-485: {error}; leave `rs485` out if the adapter does it"))
}

fn explain(error: &io::Error) -> String {
    let hint = match error.kind() {
        _ if error.to_string().contains("lock") => "; another program has it, find it with `fuser -v`",
        io::ErrorKind::PermissionDenied => "; add the user to the group `dialout`",
        io::ErrorKind::NotFound => "; is the device plugged in?",
        _ => "",
    };
    format!("{error}{hint}")
}

/// Takes the frames of a port.
pub type FrameSender = mpsc::Sender<Frame>;

/// The work on one port.
pub(super) struct Port {
    /// The path of the port.
    pub path: Arc<str>,
    /// The settings of the source.
    pub settings: Arc<Settings>,
    /// Takes the frames of the port.
    pub frames_to: FrameSender,
    /// The counters that the port adds to.
    pub metrics: Arc<Metrics>,
    /// Takes the state of the port, for the health of the source.
    pub health: PortsHealth,
    /// Bytes that were lost since the last frame that was handed over.
    pub lost: u64,
}

impl Port {
    /// Reads the port until the stop, and opens it again after each failure.
    pub async fn run(mut self, mut stop: Stop) {
        let mut failures = 0;
        loop {
            let ended = match open(Path::new(&*self.path), &self.settings.line) {
                Ok(opened) => {
                    failures = 0;
                    tracing::info!(event = event::SOURCE_UP, port = %self.path, "reading the port");
                    self.health.set(&self.path, None);
                    tokio::select! {
                        error = self.read(opened) => error,
                        () = stop.requested() => return,
                    }
                }
                Err(error) => error,
            };
            self.health.set(&self.path, Some(ended.clone()));
            failures += 1;
            self.metrics.add(Metric::SourceReconnects, 1);
            let wait = random::backoff(BACKOFF_MS, BACKOFF_LIMIT_MS, failures);
            if failures == 1 {
                tracing::warn!(event = event::SOURCE_DOWN, port = %self.path, error = ended, "port lost; trying again");
            } else {
                tracing::debug!(event = event::SOURCE_DOWN, port = %self.path, error = ended, ?wait, "still no port");
            }
            if stop.pause(wait).await.is_err() {
                return;
            }
        }
    }

    /// Reads until the port fails, and returns the reason.
    async fn read(&mut self, mut stream: SerialStream) -> String {
        let mut framer = Framer::new(self.settings.framing.clone(), self.settings.max_frame);
        let mut buffer = [0; READ];
        let poll = self.settings.poll.clone();
        let mut asks = tokio::time::interval(poll.as_ref().map_or(Duration::from_secs(3600), |poll| poll.every));
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answer_by: Option<Instant> = None;
        loop {
            let idle = framer.idle_after();
            let mut found = Vec::new();
            tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(0) => return "the device is gone".into(),
                    Ok(n) => framer.push(&buffer[..n], &mut found),
                    Err(error) => return format!("{error}"),
                },
                () = tokio::time::sleep(idle.unwrap_or_default()), if idle.is_some() => framer.idle(&mut found),
                _ = asks.tick(), if poll.is_some() && answer_by.is_none() => {
                    let Some(poll) = &poll else { continue };
                    // A late answer must not be taken for the answer to this request.
                    found.extend(framer.reset());
                    if let Err(error) = stream.write_all(&poll.request).await {
                        return format!("cannot write: {error}");
                    }
                    answer_by = Some(Instant::now() + poll.timeout);
                }
                () = until(answer_by), if answer_by.is_some() => {
                    self.metrics.add(Metric::SourceTimeouts, 1);
                    tracing::debug!(event = event::SOURCE_NOTE, port = %self.path, "no answer in time");
                    answer_by = None;
                }
            }
            for found in found {
                if self.take(found, answer_by.is_some()).await {
                    answer_by = None;
                }
            }
        }
    }

    /// Hands a frame over, and returns whether it was an answer.
    async fn take(&mut self, found: Found, asked: bool) -> bool {
        let payload = match found {
            Found::Garbage(bytes) => {
                self.metrics.add(Metric::SerialGarbageBytes, bytes);
                return false;
            }
            Found::TooLong { length, crc, head } => {
                self.metrics.add(Metric::SerialBadFrames, 1);
                Payload::TooLarge { length, crc, head: head.into() }
            }
            Found::Frame(bytes) => {
                let good = match self.settings.checksum {
                    Some(rule) => proven(rule, &bytes),
                    None => Some(&bytes[..]),
                };
                let expected = self.settings.poll.as_ref().is_none_or(|poll| asked && bytes.starts_with(&poll.expect));
                let Some(good) = good.filter(|_| expected) else {
                    self.metrics.add(Metric::SerialBadFrames, 1);
                    tracing::debug!(event = event::SOURCE_NOTE, port = %self.path, bytes = bytes.len(), "a bad frame");
                    return false;
                };
                Payload::One(good.to_vec().into())
            }
        };
        let bytes = match &payload {
            Payload::TooLarge { length, .. } => *length,
            Payload::One(bytes) => bytes.len() as u64,
            _ => 0,
        };
        let mut frame = Frame::new(self.path.clone(), payload);
        if self.lost > 0 {
            frame.attributes.push(("lost_bytes".into(), self.lost.to_string().into()));
        }
        let sent = if self.settings.line.flow == Flow::None {
            // Without flow control, nobody can be told to wait: frames that do not fit are lost, counted and
            // reported.
            self.frames_to.try_send(frame).is_ok()
        } else {
            self.frames_to.send(frame).await.is_ok()
        };
        if sent {
            self.lost = 0;
        } else {
            if self.lost == 0 {
                tracing::warn!(event = event::SOURCE_DROPPED, port = %self.path, "the store is blocked: frames are lost");
            }
            self.lost += bytes;
            self.metrics.add(Metric::SerialLostBytes, bytes);
            self.metrics.add(Metric::SourceDropped, 1);
        }
        true
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
