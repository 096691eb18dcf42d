//! Reads the messages of a frame: unpacks, decodes and checks them.

use super::quality::{Checker, Failed, QUALITY};
use super::rule::Then;
use crate::decode::{About, Decoded, Decoder, Refused, lines, rows};
use crate::flow::dead_letter::dead_letter;
use crate::flow::frame::Payload;
use crate::flow::record::{MAX_RECORD, Record};
use crate::platform::unpack::{Packing, UnpackError};
use crate::telemetry::{Metric, Metrics, Reason};
use bytes::Bytes;

/// The most lines of one message; each line becomes a record. A message with more lines becomes a dead letter as a
/// whole.
pub const MOST_LINES: usize = 10_000;
/// The records of one frame take at most this much, in bytes, and `GROWTH` times what came: a message whose lines or
/// readings all get something long (a header, a label) could fill the memory.
const MOST_GROWN: usize = 16 << 20;
/// Lines of a table grow when each value gets the name of its column.
const GROWTH: usize = 8;

/// Reads the messages of one frame: into records, and dead letters.
pub struct Reader<'a> {
    /// The name of the source.
    source: &'a str,
    /// The stream of the records.
    stream: &'a str,
    /// The decoder of the messages.
    decoder: &'a Decoder,
    /// The checks of the decoded records.
    checker: &'a mut Checker,
    /// The counters.
    metrics: &'a Metrics,
    /// A record with all that the frame says of its records.
    base: Record,
    /// The time of arrival in microseconds since 1970-01-01 UTC, where the clock can be trusted.
    pub arrival_us: Option<i64>,
    /// The running time of the machine, in milliseconds.
    pub now_ms: u64,
    /// The last device time, for formats whose messages continue the time of those before them.
    pub before_us: Option<i64>,
    /// The records.
    pub good: Vec<Record>,
    /// The dead letters.
    pub bad: Vec<Record>,
    /// The bytes that the records may still take.
    room: usize,
}

impl<'a> Reader<'a> {
    /// Begins with the frame's `base`: a record with all that the frame says of its records.
    pub fn new(
        (source, stream): (&'a str, &'a str),
        decoder: &'a Decoder,
        checker: &'a mut Checker,
        metrics: &'a Metrics,
        base: Record,
    ) -> Self {
        let (good, bad) = (Vec::new(), Vec::new());
        Self {
            source,
            stream,
            decoder,
            checker,
            metrics,
            base,
            arrival_us: None,
            now_ms: 0,
            before_us: None,
            good,
            bad,
            room: 0,
        }
    }

    /// A message becomes a dead letter. `whole` has the length and the CRC32C of a message that is not here whole.
    fn refuse(&mut self, payload: Bytes, (reason, why): (Reason, &str), whole: Option<(u64, u32)>) {
        let letter = Record { payload, ..self.base.clone() };
        self.bad.push(dead_letter(letter, &[("source", self.source), ("stream", self.stream)], why, whole));
        self.metrics.add_for(reason, 1);
    }

    fn message(&mut self, payload: Bytes, header: Option<&[u8]>) {
        if payload.len() > MAX_RECORD {
            let reason = format!("{} bytes are more than the limit of {MAX_RECORD}", payload.len());
            return self.refuse(payload, (Reason::TooLarge, &reason), None);
        }
        let Self { arrival_us, before_us, .. } = *self;
        let about = About { header, arrival_us, before_us, attributes: &self.base.attributes };
        let readings = match self.decoder.decode(&payload, &about) {
            Ok(readings) => readings,
            Err(error) => return self.refuse(payload, (Reason::Undecoded, &error.to_string()), None),
        };
        for reading in readings {
            self.before_us = reading.as_ref().ok().and_then(|reading| reading.device_time_us).or(self.before_us);
            match record(&self.base, payload.clone(), reading, self.checker, self.now_ms, self.metrics) {
                Ok(Some(record)) if weight(&record) > self.room => {
                    let reason = "the records of its message take much more than the message";
                    self.refuse(record.payload, (Reason::TooLarge, reason), None);
                }
                Ok(record) => {
                    self.room -= record.as_ref().map_or(0, weight);
                    self.good.extend(record);
                }
                Err((payload, reason, why)) => self.refuse(payload, (reason, &why), None),
            }
        }
    }

    /// A message that has a record on each line, and perhaps a header.
    fn lines(&mut self, payload: &Bytes, header: Option<&[u8]>) {
        let rule = self.decoder.format.header();
        let (header, values) = match &rule {
            Some(rule) => rule.split(payload),
            None => (header, &payload[..]),
        };
        let decoder = self.decoder;
        let all = rows(values, decoder.format.line_breaks()).filter(|line| !decoder.skips(line));
        // A header that is not text, or that no line follows, would vanish without a trace.
        let reason = if header.is_some_and(|header| !decoder.is_text(header)) {
            "the line that names the columns is no text".into()
        } else if rule.is_some() && header.is_none() {
            "there is no line that names the columns".into()
        } else if rule.is_some() && all.clone().next().is_none() {
            "no values follow the line that names the columns".into()
        } else if all.clone().nth(MOST_LINES).is_some() {
            format!("more than {MOST_LINES} lines")
        } else {
            return all.for_each(|line| self.message(payload.slice_ref(line), header));
        };
        self.refuse(payload.clone(), (Reason::Undecoded, &reason), None);
    }

    /// All messages of a frame, in which `received` bytes came.
    pub fn read(&mut self, payload: Payload, header: Option<&[u8]>, received: u64) {
        self.room = usize::try_from(received).unwrap_or(usize::MAX).saturating_mul(GROWTH).saturating_add(MOST_GROWN);
        match payload {
            Payload::One(payload) => match unpacked(payload, self.decoder) {
                Ok(payload) if self.decoder.format.is_by_line() => self.lines(&payload, header),
                Ok(payload) => self.message(payload, None),
                Err((payload, why)) => self.refuse(payload, (Reason::Undecoded, &why), None),
            },
            Payload::Lines(block) => {
                let decoder = self.decoder;
                let all = lines(&block).filter(|line| !decoder.skips(line));
                all.for_each(|line| self.message(block.slice_ref(line), header));
            }
            Payload::Messages(list) => {
                let decoder = self.decoder;
                let is_blank = |payload: &Bytes| decoder.format.line_breaks().is_some() && decoder.skips(payload);
                let all = list.into_iter().filter(|payload| !is_blank(payload));
                all.for_each(|payload| self.message(payload, header));
            }
            Payload::TooLarge { length, crc, head } => {
                let why = format!("{length} bytes are more than the limit");
                self.refuse(head, (Reason::TooLarge, &why), Some((length, crc)));
            }
            Payload::Nothing => {}
        }
    }
}

/// A message that is packed, by its beginning, unpacked. Text that only looks packed stays as it is, and so do
/// messages that are kept as they are.
///
/// # Errors
/// The packed message, and why it cannot be read.
fn unpacked(payload: Bytes, decoder: &Decoder) -> Result<Bytes, (Bytes, String)> {
    let Some(packing) = Packing::of(&payload).filter(|_| decoder.format.has_members()) else { return Ok(payload) };
    match packing.unpack(&payload, MAX_RECORD) {
        Ok(text) => Ok(text),
        Err(UnpackError::Bad(_)) if packing == Packing::Zlib => Ok(payload),
        Err(error) => Err((payload, format!("{packing:?}: {error}").to_lowercase())),
    }
}

/// The bytes that decoding has made for a record.
fn weight(record: &Record) -> usize {
    record.payload.len() + record.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

fn filled(base: &Record, message: &Bytes, decoded: Decoded) -> Record {
    let mut attributes = base.attributes.clone();
    // A name is in the record once: the message itself says more than where it came from.
    attributes.retain(|(name, _)| decoded.attributes.iter().all(|(own, _)| own != name));
    attributes.extend(decoded.attributes);
    let Decoded { kind, payload, device_time_us, .. } = decoded;
    Record { kind, payload: payload.unwrap_or_else(|| message.clone()), device_time_us, attributes, ..base.clone() }
}

/// A reading as a record, after its checks; none when the checks drop it.
///
/// # Errors
/// The payload of a dead letter, and its reason as a word and as a sentence.
fn record(
    base: &Record,
    payload: Bytes,
    reading: Result<Decoded, Refused>,
    checker: &mut Checker,
    now_ms: u64,
    metrics: &Metrics,
) -> Result<Option<Record>, (Bytes, Reason, String)> {
    let refused = |Refused { reading, error }| {
        (reading.map_or(payload.clone(), Bytes::from), Reason::Undecoded, error.to_string())
    };
    let reading = reading.map_err(refused)?;
    metrics.add(Metric::DecodeRepairs, u64::from(reading.repairs));
    let record = filled(base, &payload, reading);
    if record.payload.len() > MAX_RECORD {
        let reason = format!("as JSON it has {} bytes, more than {MAX_RECORD}", record.payload.len());
        return Err((payload, Reason::TooLarge, reason));
    }
    match checker.check(&record, now_ms) {
        Some(failed) => after_checks(record, failed, metrics).map_err(|why| (payload, Reason::FailedCheck, why)),
        None => Ok(Some(record)),
    }
}

/// The consequence of a failed check: the record goes on with a tag, becomes a dead letter, or is dropped.
fn after_checks(mut record: Record, failed: Failed, metrics: &Metrics) -> Result<Option<Record>, String> {
    match failed.then {
        Then::Tag => {
            metrics.add(Metric::QualityTagged, 1);
            record.attributes.push((QUALITY.into(), failed.reasons.into()));
            Ok(Some(record))
        }
        Then::DeadLetter => {
            metrics.add(Metric::QualitySetAside, 1);
            Err(format!("quality: {}", failed.reasons))
        }
        Then::Drop => {
            metrics.add(Metric::QualityDropped, 1);
            Ok(None)
        }
    }
}
