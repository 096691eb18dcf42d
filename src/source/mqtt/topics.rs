//! Topics that messages came under.

use super::Settings;
use crate::telemetry::event;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// The facts about a topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// The name of the topic.
    pub name: Arc<str>,
    /// The source's route; `None` if no subscription of this source matches the topic.
    pub route: Option<usize>,
    /// The attributes from its levels.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// The facts about the topics that were seen. They are kept, because devices use few topics.
#[derive(Debug, Default)]
pub struct Topics(HashMap<Bytes, Topic>);

impl Topics {
    /// At most this many topics are kept.
    const MOST: usize = 4096;

    /// The facts about a topic, kept or worked out from the settings.
    pub fn of(&mut self, topic: &Bytes, settings: &Settings, source: &str) -> Topic {
        if let Some(known) = self.0.get(topic) {
            return known.clone();
        }
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        let name = String::from_utf8_lossy(topic);
        let wanted = settings.subscriptions.iter().find(|subscription| subscription.matches(&name));
        if wanted.is_none() {
            let topic = &*name;
            tracing::warn!(
                event = event::SOURCE_NOTE,
                source,
                topic,
                "a message that no configured topic asks for: acknowledged and not stored (told once a topic)"
            );
        }
        let known = Topic {
            route: wanted.map(|wanted| wanted.route),
            attributes: wanted.map(|wanted| wanted.attributes(&name)).unwrap_or_default(),
            name: name.into(),
        };
        self.0.insert(Bytes::copy_from_slice(topic), known.clone());
        known
    }
}
