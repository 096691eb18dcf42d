//! Reads `[source.NAME]` with `kind = "serial"`, and the keys of a line, which `modbus` has too.

use super::settings::{Checksum, Flow, Framing, Line, Parity, Poll, Rs485, Settings};
use crate::flow::record::MAX_RECORD;
use crate::section::{Bytes, Section};
use crate::source::{Routes, Source};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

impl Line {
    /// Reads the keys of a line.
    pub fn read(section: &mut Section<'_>) -> Self {
        section.grouped("serial line", |section| {
            let usual = Self::default();
            let baud = section.whole::<u32>("baud").doc("Bits per second.").within(50..=4_000_000).or(usual.baud);
            let data_bits = section.whole::<u8>("data_bits").doc("Data bits of a character.").within(5..=8).or(8);
            let parity = section
                .choice(
                    "parity",
                    &[
                        ("none", Parity::None, "No parity bit."),
                        ("odd", Parity::Odd, "Odd parity."),
                        ("even", Parity::Even, "Even parity."),
                    ],
                )
                .doc("The parity bit.")
                .or(usual.parity);
            let stop_bits = section.whole::<u8>("stop_bits").doc("Stop bits.").one_of(&[1, 2]).or(1);
            let flow = section
                .choice(
                    "flow_control",
                    &[
                        ("none", Flow::None, "What comes while the store is blocked is lost, and counted."),
                        ("software", Flow::Software, "XON and XOFF."),
                        ("hardware", Flow::Hardware, "RTS and CTS."),
                    ],
                )
                .doc("How Forebay makes the device wait while the store is blocked.")
                .or(usual.flow);
            let rs485 =
                section.table("rs485", "The driver switches the transmitter of an RS-485 line.").map(read_rs485);
            let exclusive =
                section.truth("exclusive").doc("No other process may open the port meanwhile.").or(usual.exclusive);
            let dtr = section.truth("dtr").doc("State of DTR, set when the port is opened.").get_or("left as it is");
            let rts = section.truth("rts").doc("State of RTS, set when the port is opened.").get_or("left as it is");
            Self { baud, data_bits, parity, stop_bits, flow, rs485, exclusive, dtr, rts }
        })
    }
}

fn read_rs485(mut section: Section<'_>) -> Rs485 {
    let invert_rts = section.truth("invert_rts").doc("RTS is low while sending.").or(false);
    let before = section.duration("delay_before").doc("Wait before sending.").or(Duration::ZERO);
    let after = section.duration("delay_after").doc("Wait after sending.").or(Duration::ZERO);
    section.end();
    Rs485 { invert_rts, delay: (before, after) }
}

/// The choices of byte order: whether the most significant byte of several comes first.
pub const BYTE_ORDERS: [(&str, bool, &str); 2] =
    [("big", true, "The most significant one first."), ("little", false, "The least significant one first.")];

#[derive(Clone, Copy, PartialEq)]
enum Framed {
    Line,
    Delimiter,
    Fixed,
    Length,
    Cobs,
    Slip,
    Markers,
    Idle,
}

pub fn read(section: &mut Section<'_>, routes: &mut dyn Routes) -> Option<Arc<dyn Source>> {
    let path = section
        .text("path")
        .doc("Path of the port, or a pattern for several. `/dev/serial/by-id/..` stays the same when devices are replugged.")
        .example("\"/dev/serial/by-id/usb-..\"")
        .not_empty()
        .check(|path| {
            let error = glob::Pattern::new(path).err()?;
            Some((format!("`{path}` is not a path or pattern: {error}"), None))
        })
        .need();
    let line = Line::read(section);
    if !section.has("baud") {
        section.assume(format_args!("baud = {}, 8 data bits, no parity, 1 stop bit", line.baud));
    }
    let max_frame = section
        .bytes("max_frame")
        .doc("Longest frame. A longer one becomes a dead letter.")
        .within(Bytes(1)..=Bytes(MAX_RECORD as u64))
        .or(Bytes(4096));
    // A bad limit is reported once.
    let max_frame =
        if section.is_bad("max_frame") { MAX_RECORD } else { usize::try_from(max_frame.0).unwrap_or(MAX_RECORD) };
    let framing = read_framing(section, max_frame);
    let checksum = section
        .choice(
            "checksum",
            &[
                ("nmea-xor", Checksum::NmeaXor, "`*HH` at the end: XOR of the bytes between `$` or `!` and `*`."),
                ("crc16-modbus", Checksum::Crc16Modbus, "CRC-16/MODBUS in the last two bytes, the low one first."),
                ("crc16-ccitt", Checksum::Crc16Ccitt, "CRC-16/CCITT-FALSE in the last two bytes, the high one first."),
                ("sum8", Checksum::Sum8, "Sum of all bytes before the last one, in the last one."),
            ],
        )
        .doc("What proves a frame. A frame that fails is dropped and counted (`serial_bad_frames_total`).")
        .get_or("none");
    let poll = section.table("poll", "A request for a device that speaks only when asked.").map(read_poll);
    let message = routes.read(section, "text");
    if message.breaks.is_some() {
        section.session().problem(section.span(), "line breaks in quotes are for files and whole messages", None);
    }
    if message.header.is_some() {
        let hint = "csv = { columns = [\"time\", \"value\"] }";
        section.session().problem(section.span(), "a serial port has no header line", Some(hint.into()));
    }
    let poll = match poll {
        Some(poll) => Some(poll?),
        None => None,
    };
    Some(Arc::new(Settings { path: path?, line, framing: framing?, checksum, max_frame, poll }))
}

fn read_framing(section: &mut Section<'_>, max_frame: usize) -> Option<Framing> {
    let kind = section
        .choice(
            "framing",
            &[
                ("line", Framed::Line, "A frame ends with LF; a CR before it belongs to the end."),
                ("delimiter", Framed::Delimiter, "A frame ends with the bytes of `delimiter`."),
                ("fixed", Framed::Fixed, "Every frame has `length` bytes."),
                ("length", Framed::Length, "`length_bytes` bytes in front say the length of the rest."),
                ("cobs", Framed::Cobs, "Consistent overhead byte stuffing; 0 between frames."),
                ("slip", Framed::Slip, "RFC 1055."),
                ("markers", Framed::Markers, "`start` begins a frame, `end` ends it, `escape` protects one byte."),
                ("idle", Framed::Idle, "Silence of `idle` ends a frame."),
            ],
        )
        .doc("How one frame is told from the next.");
    let kind = kind.or(Framed::Line);
    if !section.has("framing") {
        section.assume("framing = \"line\"");
    }
    let delimiter = bytes(
        section,
        "delimiter",
        1..=16,
        "Bytes that end a frame, as text or in hex behind `0x`.",
        "\"\\r\"",
        kind == Framed::Delimiter,
    );
    let fixed = section.whole::<usize>("length").doc("Bytes of every frame.").example("12");
    let fixed = fixed.check(move |length| {
        (!(1..=max_frame).contains(length))
            .then(|| (format!("`length` must be from 1 to max_frame, {max_frame}"), None))
    });
    let fixed = if kind == Framed::Fixed { fixed.need() } else { fixed.get() };
    let length_bytes =
        section.whole::<usize>("length_bytes").doc("Bytes of the length in front.").one_of(&[1, 2, 4]).or(1);
    let big_endian = section.choice("byte_order", &BYTE_ORDERS).doc("Order of the bytes of the length.").or(true);
    let markers = kind == Framed::Markers;
    let start = bytes(section, "start", 1..=1, "Byte that begins a frame.", "\"0x02\"", markers);
    let end = bytes(section, "end", 1..=1, "Byte that ends a frame.", "\"0x03\"", markers);
    let escape =
        bytes(section, "escape", 1..=1, "The byte behind this one is data, whatever it is.", "\"0x10\"", false);
    let idle = section.duration("idle").doc("Silence that ends a frame.").example("\"20ms\"").within(MS..=60_000 * MS);
    let idle = if kind == Framed::Idle { idle.need() } else { idle.get() };
    for (keys, belongs, name) in [
        (&["delimiter"][..], Framed::Delimiter, "delimiter"),
        (&["length"], Framed::Fixed, "fixed"),
        (&["length_bytes", "byte_order"], Framed::Length, "length"),
        (&["start", "end", "escape"], Framed::Markers, "markers"),
        (&["idle"], Framed::Idle, "idle"),
    ] {
        if kind != belongs && !section.is_bad("framing") {
            section.only_for(keys, &format!("framing = \"{name}\""));
        }
    }
    let first = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| bytes.first().copied());
    Some(match kind {
        Framed::Line => Framing::Line,
        Framed::Cobs => Framing::Cobs,
        Framed::Slip => Framing::Slip,
        Framed::Delimiter => Framing::Delimiter(delimiter?),
        Framed::Fixed => Framing::Fixed(fixed?),
        Framed::Length => Framing::Length { bytes: length_bytes, big_endian },
        Framed::Markers => {
            let (start, end) = (first(start)?, first(end)?);
            if start == end {
                let hint = "frames between equal flags: framing = \"delimiter\"";
                section.wrong_because("end", "`start` and `end` must differ", hint);
            }
            Framing::Markers { start, end, escape: first(escape) }
        }
        Framed::Idle => Framing::Idle(idle?),
    })
}

fn read_poll(mut section: Section<'_>) -> Option<Poll> {
    let request =
        bytes(&mut section, "send", 1..=1024, "The request, as text or in hex behind `0x`.", "\"READ?\\r\\n\"", true);
    let every = section.duration("every").doc("Time between two requests.").example("\"1s\"").at_least(10 * MS).need();
    let timeout = section
        .duration("timeout")
        .doc("An answer must come within this time, or the poll is counted as failed.")
        .within(10 * MS..=600_000 * MS)
        .or(1000 * MS);
    let expect = bytes(&mut section, "expect", 1..=64, "An answer begins with these bytes.", "\"0x0103\"", false);
    section.end();
    Some(Poll { request: request?, every: every?, timeout, expect: expect.unwrap_or_default() })
}

/// Asks for bytes that are written as text, or in hex behind `0x`.
fn bytes(
    section: &mut Section<'_>,
    key: &'static str,
    length: RangeInclusive<usize>,
    doc: &'static str,
    example: &'static str,
    is_needed: bool,
) -> Option<Vec<u8>> {
    let ask = section.text(key).doc(doc).example(example);
    let ask = ask.hint("text as in \"\\r\\n\", or hex as in \"0x0D0A\"").check(move |text| {
        let (least, most) = (*length.start(), *length.end());
        let is_good = of_text(text).is_some_and(|bytes| length.contains(&bytes.len()));
        let words = if least == most {
            format!("{least} byte(s) are needed")
        } else {
            format!("{least} to {most} bytes are needed")
        };
        (!is_good).then_some((words, None))
    });
    let text = if is_needed { ask.need() } else { ask.get() };
    text.and_then(|text| of_text(&text))
}

fn of_text(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("0x") {
        None => Some(text.as_bytes().to_vec()),
        Some(hex) if hex.len().is_multiple_of(2) && hex.is_ascii() => {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
        }
        Some(_) => None,
    }
}
