//! The filters to subscribe to at the broker, and the filters to unsubscribe from.

use super::Settings;
use super::copies::id_of;
use std::collections::{HashMap, VecDeque};

/// A filter and its quality of service.
type Filter = (String, u8);

/// One SUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The subscription identifier, which the broker sends with the messages.
    pub id: Option<usize>,
    /// The filters of this SUBSCRIBE.
    pub filters: Vec<Filter>,
}

/// The requests to the broker on this connection.
#[derive(Debug, Default)]
pub struct Subscribing {
    /// The filters of the UNSUBSCRIBE.
    leaving: Vec<String>,
    /// The filters of each SUBSCRIBE that is not sent yet, in order.
    asking: VecDeque<Vec<Filter>>,
    /// The filters of each SUBSCRIBE that was sent and not answered, by packet id.
    asked: HashMap<u16, Vec<Filter>>,
}

impl Subscribing {
    /// The filters to unsubscribe from, and the SUBSCRIBEs to send. On the `first` connection these are for all
    /// filters, also for those that the session should have. A broker that was restored from an older save
    /// knows less. Later they are for the missing filters only. If filters overlap and the broker `says_which`
    /// subscription a message is for, each filter gets an identifier.
    pub fn plan(
        &mut self,
        settings: &Settings,
        has: &[Filter],
        says_which: bool,
        first: bool,
    ) -> (Vec<String>, Vec<Request>) {
        let mut wanted: Vec<Filter> = Vec::new();
        for subscription in &settings.subscriptions {
            if !wanted.iter().any(|(filter, _)| *filter == subscription.filter) {
                wanted.push((subscription.filter.clone(), subscription.qos));
            }
        }
        let left = has.iter().filter(|(filter, _)| wanted.iter().all(|(other, _)| other != filter));
        self.leaving = left.map(|(filter, _)| filter.clone()).collect();
        wanted.retain(|filter| first || !has.contains(filter));
        let requests: Vec<Request> = if says_which && settings.has_overlaps() {
            wanted.into_iter().map(|filter| Request { id: Some(id_of(&filter.0)), filters: vec![filter] }).collect()
        } else if wanted.is_empty() {
            Vec::new()
        } else {
            vec![Request { id: None, filters: wanted }]
        };
        self.asking.extend(requests.iter().map(|request| request.filters.clone()));
        (self.leaving.clone(), requests)
    }

    /// The next SUBSCRIBE was sent, under this packet id.
    pub fn sent(&mut self, packet: u16) {
        self.asked.extend(self.asking.pop_front().map(|filters| (packet, filters)));
    }

    /// The broker has answered a SUBSCRIBE. Returns the filters that the session has now, and the refused ones.
    pub fn answered(&mut self, packet: u16, refused: &[usize], mut has: Vec<Filter>) -> (Vec<Filter>, Vec<String>) {
        let mut not_given = Vec::new();
        for (at, (topic, qos)) in self.asked.remove(&packet).unwrap_or_default().into_iter().enumerate() {
            has.retain(|(filter, _)| *filter != topic);
            if refused.contains(&at) {
                not_given.push(topic);
            } else {
                has.push((topic, qos));
            }
        }
        (has, not_given)
    }

    /// Whether the broker has answered every SUBSCRIBE.
    pub fn is_done(&self) -> bool {
        self.asking.is_empty() && self.asked.is_empty()
    }

    /// The broker has answered the UNSUBSCRIBE. Returns the filters that the session has now.
    pub fn left(&mut self, mut has: Vec<Filter>) -> Vec<Filter> {
        has.retain(|(filter, _)| !self.leaving.contains(filter));
        has
    }
}
