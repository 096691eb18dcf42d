//! `[source.NAME]` with `kind = "serial"`

use super::{Checker, Table};
use crate::config::raw::serial as raw;
use crate::config::value::{Flow, Framing, Line, Parity, Poll, Rs485, Serial};
use crate::flow::record::MAX_RECORD;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

const LEAST_POLL: Duration = Duration::from_millis(10);

impl Checker<'_> {
    /// Takes the line's keys out of a table.
    pub(super) fn line(&mut self, label: &str, span: &Range<usize>, body: &mut Table<'_>) -> Line {
        let mut own = Table::new();
        for key in raw::LINE {
            own.extend(body.remove_entry(key));
        }
        let given: raw::Line = self.fields(span.clone(), own);
        let mut line = Line::default();
        match &given.baud {
            Some(baud) if (50..=4_000_000).contains(baud.get_ref()) => line.baud = *baud.get_ref(),
            Some(baud) => self.problem(baud.span(), "`baud` must be from 50 to 4000000".into(), None),
            None if body.contains_key("path") => {
                self.assume(format!("{label}: baud = {}, 8 data bits, no parity, 1 stop bit", line.baud));
            }
            None => {}
        }
        if let Some(bits) = &given.data_bits {
            line.data_bits = *bits.get_ref();
            if !(5..=8).contains(&line.data_bits) {
                self.problem(bits.span(), "`data_bits` must be from 5 to 8".into(), None);
            }
        }
        if let Some(bits) = &given.stop_bits {
            line.stop_bits = *bits.get_ref();
            if !(1..=2).contains(&line.stop_bits) {
                self.problem(bits.span(), "`stop_bits` must be 1 or 2".into(), None);
            }
        }
        line.parity = given.parity.map_or(Parity::None, Spanned::into_inner);
        line.flow = given.flow_control.map_or(Flow::None, Spanned::into_inner);
        line.rs485 = given.rs485.map(|rs485| {
            let raw::Rs485 { invert_rts, delay_before, delay_after } = rs485.into_inner();
            let delay = |span: Option<crate::config::value::Span>| span.map(|span| span.0).unwrap_or_default();
            Rs485 { invert_rts: invert_rts.unwrap_or(false), delay: (delay(delay_before), delay(delay_after)) }
        });
        line.exclusive = given.exclusive.unwrap_or(true);
        (line.dtr, line.rts) = (given.dtr, given.rts);
        line
    }

    pub(super) fn serial(
        &mut self,
        label: &str,
        span: &Range<usize>,
        line: Line,
        given: raw::Serial,
    ) -> Option<Serial> {
        let max_frame = given.max_frame.as_ref().map_or(4096, |max| max.get_ref().0);
        if let Some(at) = given.max_frame.as_ref().filter(|_| !(1..=MAX_RECORD as u64).contains(&max_frame)) {
            self.problem(at.span(), "`max_frame` must be from 1B to 1MiB".into(), None);
        }
        let max_frame = usize::try_from(max_frame).unwrap_or(MAX_RECORD);
        let framing = self.framing(label, span, &given, max_frame);
        let checksum = given.checksum.map(Spanned::into_inner);
        let poll = given.poll.and_then(|poll| self.poll(&poll));
        let path = self.need(given.path, span, "path", "\"/dev/serial/by-id/usb-..\"")?;
        if path.get_ref().is_empty() {
            self.problem(path.span(), "`path` is empty".into(), None);
        }
        if let Err(error) = glob::Pattern::new(path.get_ref()) {
            self.problem(path.span(), format!("`{}` is not a path or pattern: {error}", path.get_ref()), None);
        }
        Some(Serial { path: path.into_inner(), line, framing: framing?, checksum, max_frame, poll })
    }

    fn framing(&mut self, label: &str, span: &Range<usize>, given: &raw::Serial, max: usize) -> Option<Framing> {
        use raw::Framing as F;
        let kind = given.framing.as_ref().map(|framing| *framing.get_ref());
        if kind.is_none() {
            self.assume(format!("{label}: framing = \"line\""));
        }
        let kind = kind.unwrap_or(F::Line);
        for (at, belongs, name) in [
            (given.delimiter.as_ref().map(Spanned::span), F::Delimiter, "delimiter"),
            (given.length.as_ref().map(Spanned::span), F::Fixed, "fixed"),
            (given.length_bytes.as_ref().map(Spanned::span), F::Length, "length"),
            (given.byte_order.as_ref().map(Spanned::span), F::Length, "length"),
            (given.start.as_ref().map(Spanned::span), F::Markers, "markers"),
            (given.end.as_ref().map(Spanned::span), F::Markers, "markers"),
            (given.escape.as_ref().map(Spanned::span), F::Markers, "markers"),
            (given.idle.as_ref().map(Spanned::span), F::Idle, "idle"),
        ] {
            if let Some(at) = at.filter(|_| kind != belongs) {
                self.problem(at, format!("this belongs to framing = \"{name}\""), None);
            }
        }
        Some(match kind {
            F::Line => Framing::Line,
            F::Cobs => Framing::Cobs,
            F::Slip => Framing::Slip,
            F::Delimiter => {
                let text = self.need(given.delimiter.clone(), span, "delimiter", "\"\\r\" or \"0x0D\"")?;
                Framing::Delimiter(self.bytes(&text, 1..=16)?)
            }
            F::Fixed => {
                let length = self.need(given.length.clone(), span, "length", "12")?;
                if !(1..=max).contains(length.get_ref()) {
                    self.problem(length.span(), format!("`length` must be from 1 to max_frame, {max}"), None);
                }
                Framing::Fixed(*length.get_ref())
            }
            F::Length => {
                let bytes = given.length_bytes.as_ref().map_or(1, |bytes| *bytes.get_ref());
                if let Some(at) = given.length_bytes.as_ref().filter(|_| ![1, 2, 4].contains(&bytes)) {
                    self.problem(at.span(), "`length_bytes` must be 1, 2 or 4".into(), None);
                }
                let big_endian = given.byte_order.as_ref().is_none_or(|order| *order.get_ref() == raw::ByteOrder::Big);
                Framing::Length { bytes, big_endian }
            }
            F::Markers => {
                let start = self.need(given.start.clone(), span, "start", "\"0x02\"");
                let end = self.need(given.end.clone(), span, "end", "\"0x03\"");
                let mut one = |text: &Spanned<String>| self.bytes(text, 1..=1).and_then(|bytes| bytes.first().copied());
                let escape = given.escape.as_ref().and_then(&mut one);
                let (start, end) = (start?, end?);
                let (first, last) = (one(&start), one(&end));
                if first == last {
                    let hint = "frames between equal flags: framing = \"delimiter\"";
                    self.problem(end.span(), "`start` and `end` must differ".into(), Some(hint.into()));
                }
                Framing::Markers { start: first?, end: last?, escape }
            }
            F::Idle => {
                let idle = self.need(given.idle.clone(), span, "idle", "\"20ms\"")?;
                if !(1..=60_000).contains(&idle.get_ref().0.as_millis()) {
                    self.problem(idle.span(), "`idle` must be from 1ms to 60s".into(), None);
                }
                Framing::Idle(idle.get_ref().0)
            }
        })
    }

    fn poll(&mut self, poll: &Spanned<raw::Poll>) -> Option<Poll> {
        let span = poll.span();
        let raw::Poll { send, every, timeout, expect } = poll.get_ref().clone();
        let send = self.need(send, &span, "send", "\"READ?\\r\\n\" or \"0x010300\"");
        let every = self.need(every, &span, "every", "\"1s\"");
        let expect = expect.map_or(Some(Vec::new()), |text| self.bytes(&text, 1..=64));
        let every = every?;
        if every.get_ref().0 < LEAST_POLL {
            self.problem(every.span(), "`every` must be at least 10ms".into(), None);
        }
        let limit = timeout.as_ref().map_or(Duration::from_secs(1), |timeout| timeout.get_ref().0);
        if let Some(at) = timeout.as_ref().filter(|_| limit < LEAST_POLL || limit > Duration::from_secs(600)) {
            self.problem(at.span(), "`timeout` must be from 10ms to 10m".into(), None);
        }
        let request = self.bytes(&send?, 1..=1024)?;
        Some(Poll { request, every: every.get_ref().0, timeout: limit, expect: expect? })
    }

    /// Bytes written as text, or in hex behind `0x`.
    fn bytes(&mut self, text: &Spanned<String>, length: std::ops::RangeInclusive<usize>) -> Option<Vec<u8>> {
        let bytes = match text.get_ref().strip_prefix("0x") {
            None => Some(text.get_ref().clone().into_bytes()),
            Some(hex) if hex.len().is_multiple_of(2) && hex.is_ascii() => {
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
            }
            Some(_) => None,
        };
        match bytes.filter(|bytes| length.contains(&bytes.len())) {
            Some(bytes) => Some(bytes),
            None => {
                let (least, most) = (length.start(), length.end());
                let message = if least == most {
                    format!("{least} byte(s) are needed")
                } else {
                    format!("{least} to {most} bytes are needed")
                };
                let hint = "text as in \"\\r\\n\", or hex as in \"0x0D0A\"";
                self.problem(text.span(), message, Some(hint.into()));
                None
            }
        }
    }
}
