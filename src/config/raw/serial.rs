//! `[source.NAME]` with `kind = "serial"`; the line's keys also stand in `modbus`.

use crate::config::value::{Bytes, Checksum, Flow, Parity, Span};
use serde::Deserialize;
use toml::Spanned;

/// The keys of `Line`.
pub const LINE: [&str; 9] =
    ["baud", "data_bits", "parity", "stop_bits", "flow_control", "rs485", "exclusive", "dtr", "rts"];

/// The line's settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Line {
    /// Bits a second.
    pub baud: Option<Spanned<u32>>,
    /// 5 to 8.
    pub data_bits: Option<Spanned<u8>>,
    /// none, odd, even
    pub parity: Option<Spanned<Parity>>,
    /// 1 or 2.
    pub stop_bits: Option<Spanned<u8>>,
    /// none, software, hardware
    pub flow_control: Option<Spanned<Flow>>,
    /// The driver switches the transmitter.
    pub rs485: Option<Spanned<Rs485>>,
    /// Nobody else may open it.
    pub exclusive: Option<bool>,
    /// Set on open.
    pub dtr: Option<bool>,
    /// Set on open.
    pub rts: Option<bool>,
}

/// `rs485 = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rs485 {
    /// RTS is low while sending.
    pub invert_rts: Option<bool>,
    /// Before sending.
    pub delay_before: Option<Span>,
    /// After sending.
    pub delay_after: Option<Span>,
}

/// See the module.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serial {
    /// Path or pattern.
    pub path: Option<Spanned<String>>,
    /// How frames are told apart.
    pub framing: Option<Spanned<Framing>>,
    /// For `delimiter`.
    pub delimiter: Option<Spanned<String>>,
    /// For `fixed`.
    pub length: Option<Spanned<usize>>,
    /// For `length`.
    pub length_bytes: Option<Spanned<usize>>,
    /// For `length`.
    pub byte_order: Option<Spanned<ByteOrder>>,
    /// For `markers`.
    pub start: Option<Spanned<String>>,
    /// For `markers`.
    pub end: Option<Spanned<String>>,
    /// For `markers`.
    pub escape: Option<Spanned<String>>,
    /// For `idle`.
    pub idle: Option<Spanned<Span>>,
    /// What proves a frame.
    pub checksum: Option<Spanned<Checksum>>,
    /// The longest frame.
    pub max_frame: Option<Spanned<Bytes>>,
    /// What is asked for.
    pub poll: Option<Spanned<Poll>>,
}

/// How frames are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// LF or CR LF.
    Line,
    /// Some bytes.
    Delimiter,
    /// A length.
    Fixed,
    /// A length in front.
    Length,
    /// COBS.
    Cobs,
    /// SLIP.
    Slip,
    /// Start and end.
    Markers,
    /// Silence.
    Idle,
}

/// Which byte comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ByteOrder {
    /// The most significant.
    Big,
    /// The least significant.
    Little,
}

/// `poll = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Poll {
    /// What is sent.
    pub send: Option<Spanned<String>>,
    /// How often.
    pub every: Option<Spanned<Span>>,
    /// An answer comes within.
    pub timeout: Option<Spanned<Span>>,
    /// It begins with.
    pub expect: Option<Spanned<String>>,
}
