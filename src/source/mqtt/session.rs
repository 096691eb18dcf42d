//! The state that survives a connection: the filters that the broker has confirmed, and QoS 2 messages that are
//! stored.
//!
//! A QoS 2 message is repeated with `dup` until its PUBREC arrived. The packet id and the CRC of topic and
//! payload are saved in the commit that stores the message. A repeat of a saved message is acknowledged and not
//! stored again.
//!
//! The packet id and the CRC are kept after PUBREL too. They are kept until the broker has shown that it got
//! the PUBCOMP, or uses the id for another message. The reason is mosquitto 2.0.11: cut off while it sends
//! PUBREL again, it begins such a message anew. (Its `db__message_reconnect_reset_outgoing` knows the state
//! "PUBREL is to be sent again" for no message that was answered.) Each broker has packet ids of its own.

use super::Settings;
use crate::flow::frame::{Frame, Position};
use crate::flow::handover::Giver;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// At most this many messages are remembered after PUBREL: more than a broker has in flight with one client.
const RELEASED: usize = 4096;

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// CRC of topic and payload.
    pub crc: u32,
    /// The number of the frame that carries the message; 0 if it was stored before the start.
    pub frame: u64,
    /// The place in the order of releases; `None` while the exchange is not over.
    released: Option<u64>,
}

/// A broker and a packet id.
type Packet = (Arc<str>, u16);

/// The state of the sessions with all brokers.
#[derive(Debug, Default)]
pub struct Session {
    /// The broker of the present connection, whose packet ids are meant.
    broker: Arc<str>,
    stored: HashMap<Packet, Stored>,
    /// Messages whose exchange is over, the oldest first; some may have been begun again.
    released: VecDeque<(Packet, u64)>,
    releases: u64,
    /// `releases` when the last PINGREQ was sent.
    pinged: u64,
    /// By broker: the filters whose retained messages have all come.
    retained: HashMap<Arc<str>, Vec<String>>,
    /// By broker: the filters of `retained` that were asked for again, and the time of that request.
    again: HashMap<Arc<str>, (Vec<String>, Instant)>,
    /// The brokers that have answered every SUBSCRIBE since the start.
    asked: HashSet<Arc<str>>,
    /// The client id: a session belongs to one client id.
    client: Arc<str>,
    /// By broker: filters that it has confirmed, with the quality of service that was asked for.
    subscribed: HashMap<Arc<str>, Vec<(String, u8)>>,
    /// The positions to save when there is room, in order.
    unsaved: VecDeque<Frame>,
}

impl Session {
    /// Retained messages come within this time after a SUBSCRIBE.
    const RETAINED: Duration = Duration::from_secs(60);

    /// Loads the state from the positions of the last commit.
    pub fn load(client: &str, positions: &[(String, Vec<u8>)]) -> Self {
        let mut session = Self { client: client.into(), ..Self::default() };
        for (part, value) in positions {
            let of_us = |kind| part.strip_prefix(kind)?.strip_prefix(client)?.strip_prefix('@');
            if let Some(broker) = of_us("subscribed:") {
                session.subscribed.insert(broker.into(), postcard::from_bytes(value).unwrap_or_default());
            }
            if let Some(broker) = of_us("retained:") {
                session.retained.insert(broker.into(), postcard::from_bytes(value).unwrap_or_default());
            }
            let packet = part.strip_prefix("qos2:").and_then(|packet| packet.rsplit_once(':'));
            let Some((broker, id)) = packet.and_then(|(broker, id)| Some((broker, id.parse().ok()?))) else { continue };
            let Ok(crc) = value.as_slice().try_into() else { continue };
            // If the exchange is not over after all, a later PUBREL releases the message once more.
            let stored = Stored { crc: u32::from_le_bytes(crc), frame: 0, released: None };
            session.stored.insert((broker.into(), id), stored);
            session.mark_released(&(broker.into(), id));
        }
        session
    }

    /// The filters of this client that the broker has confirmed.
    pub fn subscribed(&self) -> &[(String, u8)] {
        self.subscribed.get(&self.broker).map_or(&[], Vec::as_slice)
    }

    /// The broker has confirmed or removed filters. `filters` lists the filters that the broker has now.
    pub fn set_subscribed(&mut self, filters: Vec<(String, u8)>) {
        self.save("subscribed", &filters);
        // A new subscription brings its retained messages again.
        let mut retained = self.retained.get(&self.broker).cloned().unwrap_or_default();
        let before = retained.len();
        retained.retain(|had| filters.iter().any(|(filter, _)| filter == had));
        self.subscribed.insert(self.broker.clone(), filters);
        if retained.len() < before {
            self.set_retained(retained);
        }
    }

    /// All retained messages for the filters of this broker have come. After the next start they need not come
    /// again.
    pub fn has_retained(&mut self) {
        let filters: Vec<String> = self.subscribed().iter().map(|(filter, _)| filter.clone()).collect();
        if self.retained.get(&self.broker).is_none_or(|known| *known != filters) {
            self.set_retained(filters);
        }
    }

    fn set_retained(&mut self, filters: Vec<String>) {
        self.save("retained", &filters);
        self.retained.insert(self.broker.clone(), filters);
    }

    fn save<T: serde::Serialize>(&mut self, kind: &str, list: &[T]) {
        let part = format!("{kind}:{}@{}", self.client, self.broker);
        // Encoding texts into memory cannot fail; empty removes the position.
        let value = if list.is_empty() { Vec::new() } else { postcard::to_allocvec(list).unwrap_or_default() };
        self.unsaved.push_back(Frame::position(part, value));
    }

    /// From now on packet ids are those of this broker.
    pub fn turn_to(&mut self, broker: &str) {
        self.broker = broker.into();
        self.pinged = 0;
    }

    /// Whether to ask for all filters: yes, until the broker has answered once since the start.
    pub fn is_first(&mut self) -> bool {
        let is_first = !self.asked.contains(&self.broker);
        if is_first {
            let had = self.retained.get(&self.broker).cloned().unwrap_or_default();
            self.again.insert(self.broker.clone(), (had, Instant::now()));
        }
        is_first
    }

    /// The broker has answered every SUBSCRIBE.
    pub fn has_asked(&mut self) {
        self.asked.insert(self.broker.clone());
    }

    /// Whether the retained messages of a topic came before: the broker had all its filters, and was asked for
    /// them again. MQTT 5 can ask for retained messages of new subscriptions only; MQTT 3.1.1 cannot.
    pub fn had_all(&self, settings: &Settings, topic: &str) -> bool {
        !settings.v5 && settings.of_topic(topic).all(|of| self.had(&of.filter))
    }

    fn had(&self, filter: &str) -> bool {
        let again = self.again.get(&self.broker).filter(|(_, at)| at.elapsed() < Self::RETAINED);
        again.is_some_and(|(had, _)| had.iter().any(|had| had == filter))
    }

    /// A PINGREQ was sent. Its answer shows that the broker has read everything that was sent before.
    pub fn pinged(&mut self) {
        self.pinged = self.releases;
    }

    /// The PINGREQ was answered: exchanges that ended before the PINGREQ are over for the broker too.
    pub fn answered(&mut self) {
        let mut over = Vec::new();
        let is_over = |packet: &Packet, at: u64| packet.0 == self.broker && at <= self.pinged;
        self.released.retain(|(packet, at)| {
            let is_over = is_over(packet, *at);
            over.extend(is_over.then(|| (packet.clone(), *at)));
            !is_over
        });
        for (packet, at) in over {
            self.forget_released(&packet, at);
        }
    }

    /// The broker uses a packet id for a new message: an older message with this id is forgotten, if its
    /// exchange is over.
    pub fn is_new(&mut self, id: u16) {
        let packet = (self.broker.clone(), id);
        if self.stored.get(&packet).is_some_and(|stored| stored.released.is_some()) {
            self.forget(&packet);
        }
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

    /// Remembers a message that is on its way to the store.
    pub fn begin(&mut self, id: u16, crc: u32, frame: u64) {
        self.stored.insert((self.broker.clone(), id), Stored { crc, frame, released: None });
    }

    /// The number of the frame of a message that is marked as repeated, if the message is stored already.
    pub fn repeated(&mut self, id: u16, crc: u32) -> Option<u64> {
        let stored = self.stored.get_mut(&(self.broker.clone(), id)).filter(|stored| stored.crc == crc)?;
        stored.released = None;
        Some(stored.frame)
    }

    /// The exchange is over: the message is remembered for a while.
    pub fn release(&mut self, id: u16) {
        self.mark_released(&(self.broker.clone(), id));
        while self.released.len() > RELEASED {
            let Some((packet, at)) = self.released.pop_front() else { break };
            self.forget_released(&packet, at);
        }
    }

    /// Forgets a message whose exchange is over, unless it was begun again since.
    fn forget_released(&mut self, packet: &Packet, at: u64) {
        if self.stored.get(packet).is_some_and(|stored| stored.released == Some(at)) {
            self.forget(packet);
        }
    }

    fn mark_released(&mut self, packet: &Packet) {
        let Some(stored) = self.stored.get_mut(packet) else { return };
        self.releases += 1;
        stored.released = Some(self.releases);
        self.released.push_back((packet.clone(), self.releases));
    }

    fn forget(&mut self, packet: &Packet) {
        self.stored.remove(packet);
        let (broker, id) = packet;
        self.unsaved.push_back(Frame::position(format!("qos2:{broker}:{id}"), Vec::new()));
    }

    /// The broker has forgotten the session: its packet ids mean nothing any more, and it has no filters.
    pub fn clear(&mut self) {
        let packets: Vec<Packet> = self.stored.keys().filter(|(of, _)| *of == self.broker).cloned().collect();
        for packet in &packets {
            self.forget(packet);
        }
        self.again.remove(&self.broker);
        if self.retained.remove(&self.broker).is_some_and(|had| !had.is_empty()) {
            self.set_retained(Vec::new());
        }
        if !self.subscribed().is_empty() {
            self.set_subscribed(Vec::new());
        }
    }

    /// Hands over the positions to save; false while some of them find no room. Until all are handed over, no
    /// message may be stored under a packet id: a later removal would hit the new message.
    pub fn pay(&mut self, giver: &mut Giver) -> bool {
        while let Some(frame) = self.unsaved.pop_front() {
            if let Err(frame) = giver.try_push(frame) {
                self.unsaved.push_front(*frame);
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
        let unsaved = session.unsaved.drain(..).map(|frame| frame.position.unwrap());
        unsaved.map(|position| position.part).collect()
    }

    #[test]
    fn a_repeat_is_known_over_a_restart_and_forgotten_at_the_end() {
        let crc = Session::crc(b"t", b"1");
        let mut session = Session::default();
        session.turn_to("mqtt://a:1883");
        let position = session.position(7, crc);
        let mut session = Session::load("c", &[(position.part, position.value), ("other".into(), vec![])]);
        session.turn_to("mqtt://a:1883");
        assert_eq!(session.repeated(7, crc), Some(0));
        assert_eq!(session.repeated(7, Session::crc(b"t", b"2")), None, "another message under the same packet id");
        session.release(7);
        assert_eq!(session.repeated(7, crc), Some(0), "mosquitto 2.0.11 begins it anew after PUBREL");
        session.release(7);
        session.release(7);
        assert_eq!(parts(&mut session), Vec::<String>::new());
        session.begin(7, Session::crc(b"t", b"2"), 3);
        assert_eq!(session.repeated(7, crc), None, "the id has come with another message");
    }

    #[test]
    fn a_message_is_forgotten_when_the_broker_has_shown_that_it_knows_of_the_end() {
        let mut session = Session::default();
        session.turn_to("a");
        for id in 1..=4 {
            session.begin(id, 1, 1);
        }
        session.release(1);
        session.pinged();
        session.release(2);
        session.answered();
        assert_eq!((session.repeated(1, 1), session.repeated(3, 1)), (None, Some(1)));
        session.release(3);
        // On a new connection an old PINGREQ shows nothing.
        session.turn_to("a");
        session.answered();
        assert_eq!(session.repeated(2, 1), Some(1));
        // An answer of another broker says nothing about this one.
        session.release(2);
        session.turn_to("b");
        session.pinged();
        session.answered();
        session.turn_to("a");
        assert_eq!(session.repeated(2, 1), Some(1));
        session.is_new(3);
        session.is_new(4);
        assert_eq!((session.repeated(3, 1), session.repeated(4, 1)), (None, Some(1)), "4 is not over");
        assert_eq!(parts(&mut session), ["qos2:a:1", "qos2:a:3"]);
    }

    #[test]
    fn a_bounded_number_of_messages_is_remembered_after_their_end() {
        let mut session = Session::default();
        session.turn_to("a");
        session.begin(0, 1, 1);
        for id in 1..=5000 {
            session.begin(id, 1, 1);
            session.release(id);
        }
        assert_eq!(parts(&mut session).len(), 5000 - RELEASED);
        assert_eq!(session.repeated(0, 1), Some(1), "its exchange is not over");
        assert_eq!((session.repeated(904, 1), session.repeated(905, 1)), (None, Some(1)));
        // A message that began again is not forgotten with its earlier end.
        session.begin(906, 2, 2);
        for id in 5001..=9100 {
            session.begin(id, 1, 1);
            session.release(id);
        }
        assert_eq!(session.repeated(906, 2), Some(2));
        assert!(session.released.len() <= RELEASED && session.stored.len() <= RELEASED + 3);
    }

    #[test]
    fn what_the_broker_has_of_us_is_known_over_a_restart_until_it_forgets_us() {
        let mut session = Session::load("c", &[]);
        session.turn_to("a");
        session.set_subscribed(vec![("plant/#".into(), 1)]);
        let saved = session.unsaved.pop_front().unwrap().position.unwrap();
        let saved = [(saved.part, saved.value)];
        let mut other = Session::load("d", &saved);
        other.turn_to("a");
        assert!(other.subscribed().is_empty(), "another client id has a session of its own");
        let mut session = Session::load("c", &saved);
        session.turn_to("b");
        assert!(session.subscribed().is_empty());
        session.turn_to("a");
        assert_eq!(session.subscribed(), [("plant/#".into(), 1)]);
        assert!(session.is_first() && session.is_first() && !session.had("plant/#"), "nothing says that it came");
        session.has_retained();
        let saved = session.unsaved.pop_front().unwrap().position.unwrap();
        let mut later = Session::load("c", &[(saved.part, saved.value)]);
        later.turn_to("a");
        assert!(later.is_first() && later.had("plant/#") && !later.had("other"));
        later.has_asked();
        assert!(!later.is_first());
        later.set_subscribed(Vec::new());
        later.set_subscribed(vec![("plant/#".into(), 1)]);
        assert!(later.retained["a"].is_empty(), "it is subscribed anew");
        assert!(session.is_first() && session.had("plant/#"));
        session.clear();
        assert!(!session.had("plant/#"));
        session.unsaved.pop_front();
        session.clear();
        let saved = session.unsaved.pop_front().unwrap().position.unwrap();
        assert!(saved.value.is_empty() && session.unsaved.is_empty() && session.subscribed().is_empty());
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
        }
        session.clear();
        let mut seen = Vec::new();
        assert!(!session.pay(&mut giver), "there is room for two");
        while seen.len() < 5 {
            seen.push(taker.next().await.unwrap().frame.position.unwrap().part);
            session.pay(&mut giver);
        }
        assert!(session.pay(&mut giver));
        seen.sort();
        assert_eq!(seen, (0..5).map(|id| format!("qos2::{id}")).collect::<Vec<_>>());
    }
}
