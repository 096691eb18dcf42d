//! Bytes into frames: a pure machine.
//!
//! Invariants: the framer holds no more than the longest frame. Whatever bytes come, it finds the next good
//! frame again. Every byte is in a frame, in a frame that was too long, or counted as garbage.

use super::settings::Framing;
use crate::flow::record::DEAD_LETTER_KEEP;
use std::time::Duration;

/// An unfinished frame of a known length is given up after this long: a byte was lost.
const UNFINISHED: Duration = Duration::from_secs(1);

const SLIP_END: u8 = 0xc0;
const SLIP_ESC: u8 = 0xdb;
const SLIP_ESC_END: u8 = 0xdc;
const SLIP_ESC_ESC: u8 = 0xdd;

/// A result of the framer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A frame, without delimiters, markers or length.
    Frame(Vec<u8>),
    /// A frame that is too long.
    TooLong {
        /// The length of the whole frame, in bytes.
        length: u64,
        /// The CRC32C of the whole frame.
        crc: u32,
        /// The first bytes of the frame, at most `DEAD_LETTER_KEEP`.
        head: Vec<u8>,
    },
    /// This many bytes belong to no frame.
    Garbage(u64),
}

/// A frame that is too long, as far as it came.
#[derive(Debug)]
struct Long {
    length: u64,
    crc: u32,
    head: Vec<u8>,
}

/// Finds frames in bytes by one framing rule.
#[derive(Debug)]
pub struct Framer {
    rule: Framing,
    max: usize,
    buffer: Vec<u8>,
    long: Option<Long>,
    /// Whether a start marker was received and the end marker was not.
    inside: bool,
    escaped: bool,
}

impl Framer {
    /// For frames of `max` bytes at most.
    #[must_use]
    pub fn new(rule: Framing, max: usize) -> Self {
        Self { rule, max, buffer: Vec::new(), long: None, inside: false, escaped: false }
    }

    /// The length of silence that means something now: it ends a frame, or gives up an unfinished one.
    #[must_use]
    pub fn idle_after(&self) -> Option<Duration> {
        match self.rule {
            Framing::Idle(gap) if !self.buffer.is_empty() || self.long.is_some() => Some(gap),
            Framing::Fixed(_) | Framing::Length { .. } if !self.buffer.is_empty() => Some(UNFINISHED),
            _ => None,
        }
    }

    /// Takes received bytes, and appends the results to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Found>) {
        match &self.rule {
            Framing::Fixed(_) | Framing::Length { .. } => {
                self.buffer.extend_from_slice(bytes);
                self.by_length(out);
            }
            _ => bytes.iter().for_each(|byte| self.byte(*byte, out)),
        }
    }

    /// No byte was received for the time of `idle_after`.
    pub fn idle(&mut self, out: &mut Vec<Found>) {
        if matches!(self.rule, Framing::Idle(_)) {
            self.end(out);
        } else {
            out.extend(self.reset());
        }
    }

    /// Forgets an unfinished frame, and returns its bytes as garbage.
    pub fn reset(&mut self) -> Option<Found> {
        let long = self.long.take().map_or(0, |long| long.length);
        let left = self.buffer.len() as u64 + long;
        self.buffer.clear();
        (self.inside, self.escaped) = (false, false);
        (left > 0).then_some(Found::Garbage(left))
    }

    fn by_length(&mut self, out: &mut Vec<Found>) {
        let mut at = 0;
        loop {
            let rest = &self.buffer[at..];
            if rest.is_empty() {
                break;
            }
            let (header, length) = match self.rule {
                Framing::Fixed(length) => (0, length),
                Framing::Length { bytes, big_endian } => {
                    let Some(head) = rest.get(..bytes) else { break };
                    let digit = |value: usize, byte: &u8| value << 8 | usize::from(*byte);
                    let length = if big_endian { head.iter().fold(0, digit) } else { head.iter().rev().fold(0, digit) };
                    (bytes, length)
                }
                _ => break,
            };
            if length > self.max {
                // Not a length: perhaps the next byte begins one.
                out.push(Found::Garbage(1));
                at += 1;
                continue;
            }
            let Some(frame) = rest.get(header..header + length).filter(|_| header + length > 0) else { break };
            out.push(Found::Frame(frame.to_vec()));
            at += header + length;
        }
        self.buffer.drain(..at);
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<Found>) {
        match &self.rule {
            Framing::Line if byte == b'\n' => {
                if self.long.is_none() && self.buffer.last() == Some(&b'\r') {
                    self.buffer.pop();
                }
                self.end(out);
            }
            Framing::Delimiter(delimiter) => {
                let delimiter = delimiter.clone();
                self.keep(byte);
                if self.long.is_some() {
                    // Of a frame that is too long only its last bytes are in the buffer.
                    self.buffer.push(byte);
                    let excess = self.buffer.len().saturating_sub(delimiter.len());
                    self.buffer.drain(..excess);
                }
                if self.buffer.ends_with(&delimiter) {
                    self.buffer.truncate(self.buffer.len() - delimiter.len());
                    self.end(out);
                }
            }
            Framing::Cobs if byte == 0 => {
                if self.long.is_none() && !self.buffer.is_empty() {
                    match cobs::decode_vec(&self.buffer) {
                        Ok(frame) => self.buffer = frame,
                        Err(_) => return out.extend(self.reset()),
                    }
                }
                self.end(out);
            }
            Framing::Slip => self.slip(byte, out),
            Framing::Markers { start, end, escape } => {
                let (start, end, escape) = (*start, *end, *escape);
                if std::mem::take(&mut self.escaped) {
                    self.keep(byte);
                } else if self.inside && escape == Some(byte) {
                    self.escaped = true;
                } else if self.inside && byte == end {
                    self.inside = false;
                    self.end(out);
                } else if byte == start {
                    // The frame that began before has no end.
                    out.extend(self.reset());
                    self.inside = true;
                } else if self.inside {
                    self.keep(byte);
                } else {
                    garbage(1, out);
                }
            }
            _ => self.keep(byte),
        }
    }

    fn slip(&mut self, byte: u8, out: &mut Vec<Found>) {
        match byte {
            SLIP_END => {
                self.escaped = false;
                self.end(out);
            }
            SLIP_ESC_END if self.escaped => {
                self.escaped = false;
                self.keep(SLIP_END);
            }
            SLIP_ESC_ESC if self.escaped => {
                self.escaped = false;
                self.keep(SLIP_ESC);
            }
            SLIP_ESC => self.escaped = true,
            other => {
                // An escape before anything else is an error of the sender; RFC 1055 keeps the byte.
                self.escaped = false;
                self.keep(other);
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        if let Some(long) = &mut self.long {
            long.length += 1;
            long.crc = crc32c::crc32c_append(long.crc, &[byte]);
            return;
        }
        self.buffer.push(byte);
        // The delimiter at the end is not part of the frame.
        let end = if let Framing::Delimiter(delimiter) = &self.rule { delimiter.len() } else { 0 };
        if self.buffer.len() > self.max + end {
            let crc = crc32c::crc32c(&self.buffer);
            let length = self.buffer.len() as u64;
            let tail = self.buffer[self.buffer.len() - end..self.buffer.len() - end.min(1)].to_vec();
            self.buffer.truncate(DEAD_LETTER_KEEP);
            self.long = Some(Long { length, crc, head: std::mem::replace(&mut self.buffer, tail) });
        }
    }

    /// Ends the frame here. Empty frames are only the space between other frames.
    fn end(&mut self, out: &mut Vec<Found>) {
        if let Some(Long { length, crc, head }) = self.long.take() {
            self.buffer.clear();
            out.push(Found::TooLong { length, crc, head });
        } else if !self.buffer.is_empty() {
            out.push(Found::Frame(std::mem::take(&mut self.buffer)));
        }
    }
}

fn garbage(bytes: u64, out: &mut Vec<Found>) {
    if let Some(Found::Garbage(before)) = out.last_mut() {
        *before += bytes;
    } else {
        out.push(Found::Garbage(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(rule: &Framing, max: usize, pieces: &[&[u8]]) -> Vec<Found> {
        let mut framer = Framer::new(rule.clone(), max);
        let mut out = Vec::new();
        for piece in pieces {
            framer.push(piece, &mut out);
        }
        // The results do not depend on how the bytes are cut.
        let whole = pieces.concat();
        let (mut single, mut again) = (Framer::new(rule.clone(), max), Vec::new());
        for byte in whole.chunks(1) {
            single.push(byte, &mut again);
        }
        let count = |list: &[Found]| -> (u64, Vec<Found>) {
            let garbage = list.iter().map(|found| if let Found::Garbage(n) = found { *n } else { 0 }).sum();
            (garbage, list.iter().filter(|found| !matches!(found, Found::Garbage(_))).cloned().collect())
        };
        assert_eq!(count(&out), count(&again));
        out
    }

    fn frame(bytes: &[u8]) -> Found {
        Found::Frame(bytes.to_vec())
    }

    #[test]
    fn lines_and_delimiters() {
        assert_eq!(frames(&Framing::Line, 10, &[b"a\r\n", b"\nb", b"c\nrest"]), [frame(b"a"), frame(b"bc")]);
        let rule = Framing::Delimiter(b"\r\r".to_vec());
        assert_eq!(frames(&rule, 10, &[b"a\rb\r", b"\rc\r\r"]), [frame(b"a\rb"), frame(b"c")]);
    }

    #[test]
    fn what_is_too_long_is_told_with_its_length_and_the_next_frame_is_good() {
        let crc = crc32c::crc32c(b"0123456789ab");
        let long = Found::TooLong { length: 12, crc, head: b"0123456789a".to_vec() };
        assert_eq!(frames(&Framing::Line, 10, &[b"0123456789ab\nok\n"]), [long, frame(b"ok")]);
        let two = Framing::Delimiter(b"--".to_vec());
        assert_eq!(frames(&two, 10, &[b"0123456789--"]), [frame(b"0123456789")]);
        let found = frames(&two, 10, &[b"0123456789a--ok--"]);
        assert!(matches!(&found[..], [Found::TooLong { .. }, Found::Frame(ok)] if ok == b"ok"), "{found:?}");
        let found = frames(&two, 10, &[b"0123456789abc--ok--"]);
        assert!(matches!(&found[..], [Found::TooLong { .. }, Found::Frame(ok)] if ok == b"ok"), "{found:?}");
    }

    #[test]
    fn fixed_lengths_and_lengths_in_front() {
        assert_eq!(frames(&Framing::Fixed(3), 10, &[b"ab", b"cdefg"]), [frame(b"abc"), frame(b"def")]);
        for (bytes, big_endian, text) in
            [(1, true, &b"\x02hi"[..]), (2, true, b"\0\x02hi"), (2, false, b"\x02\0hi"), (4, false, b"\x02\0\0\0hi")]
        {
            assert_eq!(frames(&Framing::Length { bytes, big_endian }, 10, &[text, text]), [frame(b"hi"), frame(b"hi")]);
        }
        let rule = Framing::Length { bytes: 1, big_endian: true };
        assert_eq!(frames(&rule, 10, &[b"\xff\xfe\x01x"]), [Found::Garbage(1), Found::Garbage(1), frame(b"x")]);
        let mut framer = Framer::new(rule, 10);
        let mut out = Vec::new();
        framer.push(b"\x05ab", &mut out);
        assert_eq!(framer.idle_after(), Some(UNFINISHED));
        framer.idle(&mut out);
        framer.push(b"\x01y", &mut out);
        assert_eq!(out, [Found::Garbage(3), frame(b"y")], "a lost byte shifts nothing for ever");
    }

    #[test]
    fn stuffed_frames() {
        let cobs = cobs::encode_vec(b"a\0b");
        let stream = [&cobs[..], b"\0", b"\x09x\0", &cobs, b"\0"].concat();
        assert_eq!(frames(&Framing::Cobs, 10, &[&stream]), [frame(b"a\0b"), Found::Garbage(2), frame(b"a\0b")]);
        let slip = b"\xc0a\xdb\xdcb\xdb\xdd\xc0\xc0c\xc0";
        assert_eq!(frames(&Framing::Slip, 10, &[slip]), [frame(b"a\xc0b\xdb"), frame(b"c")]);
    }

    #[test]
    fn markers_with_an_escape() {
        let rule = Framing::Markers { start: 2, end: 3, escape: Some(0x10) };
        let found = frames(&rule, 10, &[b"xx\x02a\x10\x03b\x03y\x02half\x02ok\x03"]);
        assert_eq!(found, [Found::Garbage(2), frame(b"a\x03b"), Found::Garbage(1), Found::Garbage(4), frame(b"ok")]);
    }

    #[test]
    fn silence_ends_a_frame() {
        let mut framer = Framer::new(Framing::Idle(Duration::from_millis(5)), 4);
        let mut out = Vec::new();
        framer.push(b"ab", &mut out);
        framer.push(b"c", &mut out);
        framer.idle(&mut out);
        framer.push(b"defgh", &mut out);
        framer.idle(&mut out);
        framer.idle(&mut out);
        assert_eq!(out[0], frame(b"abc"));
        assert!(matches!(out[1], Found::TooLong { length: 5, .. }) && out.len() == 2, "{out:?}");
    }
}
