//! Subscriptions on a connection: the requests to the broker, and its answers.

use super::{Connection, End};
use crate::platform::clock;
use crate::source::mqtt::settings::Broker;
use crate::telemetry::{Metric, event};
use std::time::Duration;
use tokio::time::Instant;

/// After a SUBSCRIBE, retained messages come without pauses longer than this.
pub const RETAINED_GAP: Duration = Duration::from_secs(1);

impl Connection<'_> {
    pub(super) async fn connected(
        &mut self,
        session_present: bool,
        says_which: bool,
        broker: &Broker,
    ) -> Result<(), End> {
        // If the connection comes and goes, the log sums up the losses, and a new connection is a debug line.
        if self.outage.up(clock::boot_ms()) {
            tracing::info!(event = event::SOURCE_UP, source = self.name, %broker, session_present, "connected");
        } else {
            tracing::debug!(event = event::SOURCE_UP, source = self.name, %broker, session_present, "connected");
        }
        self.health.up();
        self.client.announce(self.settings, true);
        if !session_present {
            self.session.clear();
        }
        let first = self.session.is_first();
        let (leaving, requests) = self.subscribing.plan(self.settings, self.session.subscribed(), says_which, first);
        let lost = |error: String| End::Lost { error: format!("cannot subscribe: {error}"), was_up: true };
        if !leaving.is_empty() {
            let topics = leaving.join(" ");
            tracing::info!(
                event = event::SOURCE_NOTE,
                source = self.name,
                topics,
                "unsubscribing: not configured any more"
            );
            self.client.unsubscribe(&leaving).await.map_err(lost)?;
        }
        for request in requests {
            self.client.subscribe(&request.filters, request.id).await.map_err(lost)?;
        }
        self.session.pay(self.giver);
        self.all_is_asked();
        Ok(())
    }

    /// The broker has answered a SUBSCRIBE. `refused` has the indexes of the filters that it refuses.
    pub(super) fn subscribed(&mut self, packet: u16, refused: &[usize]) {
        self.metrics.add(Metric::SourceSubscribed, 1);
        let (has, refused) = self.subscribing.answered(packet, refused, self.session.subscribed().to_vec());
        for topic in refused {
            tracing::error!(event = event::SOURCE_DOWN, source = self.name, topic, "the broker refuses the topic");
            self.health.waiting(format_args!("the broker refuses the topic `{topic}`"));
        }
        self.session.set_subscribed(has);
        self.session.pay(self.giver);
        self.all_is_asked();
    }

    pub(super) fn all_is_asked(&mut self) {
        if self.subscribing.is_done() {
            self.session.has_asked();
            self.retained_until = Some(Instant::now() + RETAINED_GAP);
        }
    }

    /// No retained message has come for a while. All have come, unless the broker waits for acknowledgements.
    pub(super) fn retained_may_be_over(&mut self) {
        self.retained_until = Some(Instant::now() + RETAINED_GAP).filter(|_| !self.acks.is_empty());
        if self.retained_until.is_none() {
            self.session.has_retained();
            self.session.pay(self.giver);
        }
    }
}
