//! A frame into an atom: its records, its dead letters, its position.

use super::Rule;
use crate::decode::lines;
use crate::flow::frame::{Frame, Payload};
use crate::flow::record::{DEAD_LETTER_KEEP, MAX_RECORD, PayloadKind, Record};
use crate::store::{Atom, Part, StreamId};
use bytes::Bytes;

/// The atom, and why messages of it were set aside.
pub fn build(rule: &Rule, stream: StreamId, dead: StreamId, frame: Frame, now_ms: i64) -> (Atom, Vec<String>) {
    let part = |stream| Part { stream, generation: rule.generation, in_flight: false, records: Vec::new() };
    let (mut good, mut bad, mut reasons) = (part(stream), part(dead), Vec::new());
    let record = |kind, payload| Record {
        arrival_ms: now_ms,
        device_time_us: None,
        key: frame.key.clone(),
        flags: frame.flags,
        attributes: Vec::new(),
        kind,
        payload,
    };
    let mut message = |payload: Bytes| {
        let checked = if payload.len() > MAX_RECORD {
            Err(format!("{} bytes are more than the limit of {MAX_RECORD}", payload.len()))
        } else {
            rule.decoder.check(&payload).map_err(|error| error.to_string())
        };
        match checked {
            Ok(kind) => good.records.push(record(kind, payload)),
            Err(reason) => {
                let length = payload.len() as u64;
                let crc = crc32c::crc32c(&payload);
                let head = payload.slice(..payload.len().min(DEAD_LETTER_KEEP));
                bad.records.push(dead_letter(record(PayloadKind::Bytes, head), rule, &reason, length, crc));
                reasons.push(reason);
            }
        }
    };
    match &frame.payload {
        Payload::One(payload) => message(payload.clone()),
        Payload::Lines(block) => {
            for line in lines(block) {
                if !(rule.decoder.skips_blank_lines() && line.trim_ascii().is_empty()) {
                    message(block.slice_ref(line));
                }
            }
        }
        Payload::TooLarge { length, crc, head } => {
            let reason = format!("{length} bytes are more than the limit");
            bad.records.push(dead_letter(record(PayloadKind::Bytes, head.clone()), rule, &reason, *length, *crc));
            reasons.push(reason);
        }
        Payload::Nothing => {}
    }
    let positions = frame.position.into_iter();
    let positions = positions.map(|position| (rule.source.to_string(), position.part, position.value)).collect();
    (Atom { parts: vec![good, bad], positions, ..Atom::default() }, reasons)
}

fn dead_letter(mut record: Record, rule: &Rule, reason: &str, length: u64, crc: u32) -> Record {
    record.attributes = vec![
        ("source".into(), (*rule.source).into()),
        ("reason".into(), reason.into()),
        ("length".into(), length.to_string().into()),
        ("crc32c".into(), format!("{crc:08x}").into()),
    ];
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoder;
    use crate::flow::frame::Position;

    fn rule() -> Rule {
        Rule { source: "s".into(), stream: "r".into(), decoder: Decoder::Json, generation: 3, window: None }
    }

    fn frame(payload: Payload) -> Frame {
        let position = Some(Position { part: "p".into(), value: vec![1] });
        Frame { key: "k".into(), flags: 1, payload, position }
    }

    #[test]
    fn good_and_bad_lines_of_a_frame_are_one_atom_with_its_position() {
        let (atom, reasons) = build(&rule(), 1, 2, frame(Payload::Lines(Bytes::from("1\n\nno\n{}\r\n"))), 7);
        assert_eq!(reasons.len(), 1);
        let payloads = |part: &Part| part.records.iter().map(|r| r.payload.clone()).collect::<Vec<_>>();
        assert_eq!((atom.parts[0].stream, payloads(&atom.parts[0])), (1, vec![Bytes::from("1"), Bytes::from("{}")]));
        assert_eq!((atom.parts[1].stream, payloads(&atom.parts[1])), (2, vec![Bytes::from("no")]));
        let reason = &atom.parts[1].records[0].attributes[1];
        assert!(reason.1.contains("not JSON"), "{reason:?}");
        assert_eq!(atom.positions, [("s".into(), "p".into(), vec![1])]);
        assert_eq!(atom.parts[0].records[0].flags, 1);
    }

    #[test]
    fn what_is_too_large_keeps_its_length_its_crc_and_its_beginning() {
        let payload = Bytes::from(vec![b'1'; MAX_RECORD + 1]);
        let (atom, _) = build(&rule(), 1, 2, frame(Payload::One(payload.clone())), 7);
        let letter = &atom.parts[1].records[0];
        assert_eq!(letter.payload.len(), DEAD_LETTER_KEEP);
        assert_eq!(&*letter.attributes[2].1, (MAX_RECORD + 1).to_string());
        assert_eq!(&*letter.attributes[3].1, format!("{:08x}", crc32c::crc32c(&payload)));
    }
}
