//! `[source.NAME]` with `kind = "serial"`: ports, lines, framing. The keys of a line also stand in `modbus`.

use super::read::read;
use crate::section::Claim;
use crate::source::{Context, Kind, Probing, Running, Source};
use std::sync::Arc;
use std::time::Duration;

/// The row of this kind in the table of sources.
pub const KIND: Kind = Kind { name: "serial", doc: "Frames from serial ports.", read };

/// How ports are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A path, `/dev/serial/by-id/..` for one that stays, or a pattern.
    pub path: String,
    /// The line.
    pub line: Line,
    /// How frames are told apart.
    pub framing: Framing,
    /// What proves a frame.
    pub checksum: Option<Checksum>,
    /// The longest frame, in bytes.
    pub max_frame: usize,
    /// What is asked for, and how often.
    pub poll: Option<Poll>,
}

/// The line's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Bits a second.
    pub baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// Flow control.
    pub flow: Flow,
    /// The driver switches the transmitter of an RS-485 line.
    pub rs485: Option<Rs485>,
    /// Nobody else may open the port.
    pub exclusive: bool,
    /// Set when the port is opened.
    pub dtr: Option<bool>,
    /// Set when the port is opened.
    pub rts: Option<bool>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            baud: 9600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            flow: Flow::None,
            rs485: None,
            exclusive: true,
            dtr: None,
            rts: None,
        }
    }
}

/// Parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Odd.
    Odd,
    /// Even.
    Even,
}

/// Flow control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// None: what comes while the store is blocked is lost, and counted.
    None,
    /// XON and XOFF.
    Software,
    /// RTS and CTS.
    Hardware,
}

/// RS-485, as the kernel's driver does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rs485 {
    /// RTS is low while sending.
    pub invert_rts: bool,
    /// Waits before and after sending.
    pub delay: (Duration, Duration),
}

/// How frames are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// Ends with LF; a CR before it belongs to the end.
    Line,
    /// Ends with these bytes.
    Delimiter(Vec<u8>),
    /// All have this length.
    Fixed(usize),
    /// The length stands in front.
    Length {
        /// 1, 2 or 4 bytes.
        bytes: usize,
        /// The most significant byte first.
        big_endian: bool,
    },
    /// Consistent overhead byte stuffing, 0 between frames.
    Cobs,
    /// RFC 1055.
    Slip,
    /// A byte begins a frame, another ends it; a third takes the next one for itself.
    Markers {
        /// Begins.
        start: u8,
        /// Ends.
        end: u8,
        /// The next byte is data, whatever it is.
        escape: Option<u8>,
    },
    /// Silence ends a frame.
    Idle(Duration),
}

/// What proves a frame; it is taken off, but for NMEA's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// `*HH` at the end: XOR of what stands between `$` or `!` and `*`.
    NmeaXor,
    /// The last two bytes, the low one first.
    Crc16Modbus,
    /// CRC-16/CCITT-FALSE: the last two bytes, the high one first.
    Crc16Ccitt,
    /// The last byte: the sum of those before it.
    Sum8,
}

/// A device that speaks when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// What is sent.
    pub request: Vec<u8>,
    /// How often.
    pub every: Duration,
    /// An answer must come within this time.
    pub timeout: Duration,
    /// An answer begins with these bytes.
    pub expect: Vec<u8>,
}

impl Source for Settings {
    fn run(&self, context: Context) -> Running {
        Box::pin(super::run(self.clone(), context))
    }

    fn probe(&self) -> Probing<'_> {
        Box::pin(async { super::probe(self) })
    }

    fn for_tap(&self) -> Result<Arc<dyn Source>, &'static str> {
        Ok(Arc::new(self.clone()))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::SerialPort(self.path.as_str().into())]
    }
}
