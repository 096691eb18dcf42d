//! What a broker is asked for, and what it need not send any more.

use super::Settings;
use super::copies::id_of;
use std::collections::{HashMap, VecDeque};

/// A filter and its quality of service.
type Filter = (String, u8);

/// One SUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The number that the broker is to say with messages.
    pub id: Option<usize>,
    /// What is asked for.
    pub filters: Vec<Filter>,
}

/// What was asked of the broker on this connection.
#[derive(Debug, Default)]
pub struct Subscribing {
    /// Filters that were asked to be taken back.
    leaving: Vec<String>,
    /// SUBSCRIBEs that are not sent yet, in order.
    asking: VecDeque<Vec<Filter>>,
    /// Those that are, by packet id.
    asked: HashMap<u16, Vec<Filter>>,
}

impl Subscribing {
    /// Filters to take back, and what to ask for: on the `first` connection all, also what the session should
    /// have (a broker that was restored from an older save knows less), later what it has not. A broker that
    /// `says_which` subscription a message came for is given a number for each filter, if filters overlap.
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

    /// The broker has answered a SUBSCRIBE: what the session has now, and what was refused.
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

    /// Whether the broker has answered everything.
    pub fn is_done(&self) -> bool {
        self.asking.is_empty() && self.asked.is_empty()
    }

    /// The broker has taken back what was to be left: what the session has now.
    pub fn left(&mut self, mut has: Vec<Filter>) -> Vec<Filter> {
        has.retain(|(filter, _)| !self.leaving.contains(filter));
        has
    }
}
