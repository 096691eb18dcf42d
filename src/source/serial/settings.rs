//! `[source.NAME]` with `kind = "serial"`: ports, lines, framing. The keys of a line also stand in `modbus`.

use super::read::read;
use crate::section::Claim;
use crate::source::{Context, Kind, Probing, Running, Source};
use std::sync::Arc;
use std::time::Duration;

/// The row of this kind in the table of sources.
pub const KIND: Kind = Kind { name: "serial", doc: "Frames from serial ports.", read };

/// The settings of a source of serial ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A path, `/dev/serial/by-id/..` for a path that stays the same, or a pattern.
    pub path: String,
    /// The settings of the line.
    pub line: Line,
    /// The rule that separates one frame from the next.
    pub framing: Framing,
    /// The checksum that proves a frame.
    pub checksum: Option<Checksum>,
    /// The longest frame, in bytes.
    pub max_frame: usize,
    /// The request for a device that speaks only when asked.
    pub poll: Option<Poll>,
}

/// The settings of a serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The speed, in bits per second.
    pub baud: u32,
    /// The data bits of a character: 5 to 8.
    pub data_bits: u8,
    /// The parity bit of a character.
    pub parity: Parity,
    /// The stop bits of a character: 1 or 2.
    pub stop_bits: u8,
    /// Flow control: how the device is made to wait while the store is blocked.
    pub flow: Flow,
    /// The driver switches the transmitter of an RS-485 line.
    pub rs485: Option<Rs485>,
    /// Nobody else may open the port.
    pub exclusive: bool,
    /// The state of DTR, set when the port is opened. `None` leaves it as it is.
    pub dtr: Option<bool>,
    /// The state of RTS, set when the port is opened. `None` leaves it as it is.
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

/// The parity bit of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Odd parity.
    Odd,
    /// Even parity.
    Even,
}

/// How the device is made to wait while the store is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// No flow control: bytes that come while the store is blocked are lost, and counted.
    None,
    /// XON and XOFF.
    Software,
    /// RTS and CTS.
    Hardware,
}

/// RS-485, as the kernel's driver switches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rs485 {
    /// RTS is low while sending.
    pub invert_rts: bool,
    /// Waits before and after sending.
    pub delay: (Duration, Duration),
}

/// The rule that separates one frame from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// A frame ends with LF; a CR before it belongs to the end.
    Line,
    /// A frame ends with these bytes.
    Delimiter(Vec<u8>),
    /// Every frame has this many bytes.
    Fixed(usize),
    /// The length of the frame comes before the frame.
    Length {
        /// The size of the length: 1, 2 or 4 bytes.
        bytes: usize,
        /// Whether the most significant byte comes first.
        big_endian: bool,
    },
    /// Consistent overhead byte stuffing, 0 between frames.
    Cobs,
    /// SLIP, RFC 1055.
    Slip,
    /// One byte begins a frame, and another byte ends it. A third byte protects the byte behind it.
    Markers {
        /// The byte that begins a frame.
        start: u8,
        /// The byte that ends a frame.
        end: u8,
        /// The byte behind this one is data, whatever it is.
        escape: Option<u8>,
    },
    /// Silence of this length ends a frame.
    Idle(Duration),
}

/// The checksum that proves a frame. It is removed from the frame, except for NMEA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// `*HH` at the end: XOR of what stands between `$` or `!` and `*`.
    NmeaXor,
    /// CRC-16/MODBUS: the last two bytes, the low one first.
    Crc16Modbus,
    /// CRC-16/CCITT-FALSE: the last two bytes, the high one first.
    Crc16Ccitt,
    /// The last byte: the sum of those before it.
    Sum8,
}

/// The request for a device that speaks only when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The bytes to send.
    pub request: Vec<u8>,
    /// The time between two requests.
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

    fn for_tap(&self, _whole: bool) -> Result<Arc<dyn Source>, &'static str> {
        Ok(Arc::new(self.clone()))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::SerialPort(self.path.as_str().into())]
    }
}
