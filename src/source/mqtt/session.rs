//! What survives a connection: QoS 2 messages that are stored and whose exchange is not over.
//!
//! A QoS 2 message is repeated with `dup` until its PUBREC arrived. Its packet id and the CRC of
//! topic and payload are saved in the commit that stores it, and removed at PUBREL; a repeat of a
//! saved one is acknowledged and not stored again.

use crate::flow::frame::{Frame, Position};
use std::collections::HashMap;

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// CRC of topic and payload.
    pub crc: u32,
    /// The frame that carries it; 0 when it was there at the start.
    pub frame: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Session {
    stored: HashMap<u16, Stored>,
}

impl Session {
    /// From the positions of the last commit.
    pub fn load(positions: &[(String, Vec<u8>)]) -> Self {
        let entry = |(part, value): &(String, Vec<u8>)| {
            let id = part.strip_prefix("qos2:")?.parse().ok()?;
            let crc = u32::from_le_bytes(value.as_slice().try_into().ok()?);
            Some((id, Stored { crc, frame: 0 }))
        };
        Self { stored: positions.iter().filter_map(entry).collect() }
    }

    /// The CRC that a message is known by.
    pub fn crc(topic: &[u8], payload: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(topic), payload)
    }

    /// The position to save with a new message.
    pub fn position(id: u16, crc: u32) -> Position {
        Position { part: format!("qos2:{id}"), value: crc.to_le_bytes().to_vec() }
    }

    /// The message is on its way to the store.
    pub fn begin(&mut self, id: u16, crc: u32, frame: u64) {
        self.stored.insert(id, Stored { crc, frame });
    }

    /// Whether a message marked as repeated is stored already, and in which frame.
    pub fn repeated(&self, id: u16, crc: u32) -> Option<u64> {
        self.stored.get(&id).filter(|stored| stored.crc == crc).map(|stored| stored.frame)
    }

    /// The exchange is over: what to save for it.
    pub fn end(&mut self, id: u16) -> Option<Frame> {
        self.stored.remove(&id).map(|_| forget(id))
    }

    /// The broker has forgotten us: its packet ids mean nothing any more.
    pub fn clear(&mut self) -> Vec<Frame> {
        self.stored.drain().map(|(id, _)| forget(id)).collect()
    }
}

fn forget(id: u16) -> Frame {
    Frame::position(format!("qos2:{id}"), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_known_over_a_restart_and_forgotten_at_the_end() {
        let crc = Session::crc(b"t", b"1");
        let position = Session::position(7, crc);
        let mut session = Session::load(&[(position.part, position.value), ("other".into(), vec![])]);
        assert_eq!(session.repeated(7, crc), Some(0));
        assert_eq!(session.repeated(7, Session::crc(b"t", b"2")), None, "another message under the same packet id");
        assert!(session.end(7).is_some() && session.end(7).is_none());
        assert_eq!(session.repeated(7, crc), None);
    }
}
