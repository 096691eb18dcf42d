//! Topics that messages came under.

use super::Settings;
use crate::telemetry::event;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// What is known of a topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// The source's route; None: no subscription of ours leads to it.
    pub route: Option<usize>,
    /// From its levels.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// What is known of topics: kept, since devices use few.
#[derive(Debug, Default)]
pub struct Topics(HashMap<Bytes, Topic>);

impl Topics {
    /// So many are kept.
    const MOST: usize = 4096;

    /// What is known of a topic.
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
