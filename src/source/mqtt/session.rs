//! What survives a connection: QoS 2 messages that are stored and whose exchange is not over.
//!
//! A QoS 2 message is repeated with `dup` until its PUBREC arrived. Its packet id and the CRC of
//! topic and payload are saved in the commit that stores it, and removed at PUBREL; a repeat of a
//! saved one is acknowledged and not stored again. Packet ids are those of one broker.

use crate::flow::frame::{Frame, Position};
use crate::flow::handover::Giver;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

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
    /// Whose packet ids are meant.
    broker: Arc<str>,
    stored: HashMap<(Arc<str>, u16), Stored>,
    /// What is to be saved when there is room, in order.
    owed: VecDeque<Frame>,
}

impl Session {
    /// From the positions of the last commit.
    pub fn load(positions: &[(String, Vec<u8>)]) -> Self {
        let entry = |(part, value): &(String, Vec<u8>)| {
            let (broker, id) = part.strip_prefix("qos2:")?.rsplit_once(':')?;
            let crc = u32::from_le_bytes(value.as_slice().try_into().ok()?);
            Some(((broker.into(), id.parse().ok()?), Stored { crc, frame: 0 }))
        };
        Self { stored: positions.iter().filter_map(entry).collect(), ..Self::default() }
    }

    /// From now on packet ids are those of this broker.
    pub fn turn_to(&mut self, broker: &str) {
        self.broker = broker.into();
    }

    /// The CRC that a message is known by.
    pub fn crc(topic: &[u8], payload: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(topic), payload)
    }

    fn part(&self, id: u16) -> String {
        format!("qos2:{}:{id}", self.broker)
    }

    /// The position to save with a new message.
    pub fn position(&self, id: u16, crc: u32) -> Position {
        Position { part: self.part(id), value: crc.to_le_bytes().to_vec() }
    }

    /// The message is on its way to the store.
    pub fn begin(&mut self, id: u16, crc: u32, frame: u64) {
        self.stored.insert((self.broker.clone(), id), Stored { crc, frame });
    }

    /// Whether a message marked as repeated is stored already, and in which frame.
    pub fn repeated(&self, id: u16, crc: u32) -> Option<u64> {
        let stored = self.stored.get(&(self.broker.clone(), id));
        stored.filter(|stored| stored.crc == crc).map(|stored| stored.frame)
    }

    /// The exchange is over.
    pub fn end(&mut self, id: u16) {
        if self.stored.remove(&(self.broker.clone(), id)).is_some() {
            self.owed.push_back(Frame::position(self.part(id), Vec::new()));
        }
    }

    /// The broker has forgotten us: its packet ids mean nothing any more.
    pub fn clear(&mut self) {
        let ids: Vec<u16> = self.stored.keys().filter(|(of, _)| *of == self.broker).map(|(_, id)| *id).collect();
        for id in ids {
            self.end(id);
        }
    }

    /// Hands over what is to be saved; false while some of it finds no room. Before that nothing new may
    /// be stored under a packet id: what is forgotten later would be the new one.
    pub fn pay(&mut self, giver: &mut Giver) -> bool {
        while let Some(frame) = self.owed.pop_front() {
            if let Err(frame) = giver.try_push(frame) {
                self.owed.push_front(*frame);
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::handover::handover;

    fn parts(session: &mut Session) -> Vec<String> {
        let owed = session.owed.drain(..).map(|frame| frame.position.unwrap());
        owed.map(|position| position.part).collect()
    }

    #[test]
    fn a_repeat_is_known_over_a_restart_and_forgotten_at_the_end() {
        let crc = Session::crc(b"t", b"1");
        let mut session = Session::default();
        session.turn_to("mqtt://a:1883");
        let position = session.position(7, crc);
        let mut session = Session::load(&[(position.part, position.value), ("other".into(), vec![])]);
        session.turn_to("mqtt://a:1883");
        assert_eq!(session.repeated(7, crc), Some(0));
        assert_eq!(session.repeated(7, Session::crc(b"t", b"2")), None, "another message under the same packet id");
        session.end(7);
        session.end(7);
        assert_eq!(parts(&mut session), ["qos2:mqtt://a:1883:7"]);
        assert_eq!(session.repeated(7, crc), None);
    }

    #[test]
    fn packet_ids_of_another_broker_are_others() {
        let mut session = Session::default();
        session.turn_to("mqtt://a:1883");
        session.begin(7, 1, 10);
        session.turn_to("mqtt://b:1883");
        assert_eq!(session.repeated(7, 1), None);
        session.begin(7, 2, 11);
        session.clear();
        assert_eq!(parts(&mut session), ["qos2:mqtt://b:1883:7"]);
        session.turn_to("mqtt://a:1883");
        assert_eq!(session.repeated(7, 1), Some(10), "its session is untouched");
    }

    #[tokio::test]
    async fn what_is_to_be_forgotten_waits_for_room_and_keeps_its_order() {
        let (mut giver, mut taker) = handover(300);
        let mut session = Session::default();
        for id in 0..5 {
            session.begin(id, 1, 1);
            session.end(id);
        }
        let mut seen = Vec::new();
        assert!(!session.pay(&mut giver), "there is room for two");
        while seen.len() < 5 {
            seen.push(taker.next().await.unwrap().frame.position.unwrap().part);
            session.pay(&mut giver);
        }
        assert!(session.pay(&mut giver));
        assert_eq!(seen, (0..5).map(|id| format!("qos2::{id}")).collect::<Vec<_>>());
    }
}
