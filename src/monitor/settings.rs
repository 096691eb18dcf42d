//! What the configuration says about alerts, heartbeats and OTLP.

use super::alert::Alerts;
use super::otlp;
use super::post::WebTarget;
use crate::section::{ClientTls, Section};
use std::ops::Range;
use std::time::Duration;

/// Everything that is told without being asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What is watched, and who is told.
    pub alerts: Alerts,
    /// The interval of heartbeats.
    pub heartbeat: Option<Duration>,
    /// The collector that gets metrics.
    pub otlp: Option<otlp::Settings>,
}

impl Settings {
    /// Reads `heartbeat`, `[otlp]`, `[alerts]`, and the sections `[alert.NAME]`.
    pub fn read(root: &mut Section<'_>, named: Vec<(String, Range<usize>, Section<'_>)>) -> Self {
        let heartbeat = root
            .duration("heartbeat")
            .doc("At this interval a record in the stream `heartbeat` says how the agent is: version, what waits, what does not work. Sinks deliver it like any other stream.")
            .within(Duration::from_secs(10)..=Duration::from_secs(86_400))
            .example("\"5m\"")
            .get_or("no heartbeat");
        let otlp = otlp::Settings::read(root);
        Self { alerts: Alerts::read(root, named), heartbeat, otlp }
    }

    /// The hosts that are told.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let web = self.alerts.webhook.iter().chain(self.otlp.iter().map(|otlp| &otlp.target));
        let mqtt = self.alerts.mqtt.iter().map(|target| target.place.host.clone());
        web.filter_map(WebTarget::host).chain(mqtt).collect()
    }

    /// How these are known.
    #[must_use]
    pub fn tls(&self) -> Vec<&ClientTls> {
        let web = self.alerts.webhook.iter().chain(self.otlp.iter().map(|otlp| &otlp.target));
        web.map(|target| &target.tls).chain(self.alerts.mqtt.iter().map(|target| &target.tls)).collect()
    }

    /// The streams that are written to.
    #[must_use]
    pub fn produced(&self) -> Vec<&str> {
        let heartbeat = self.heartbeat.map(|_| super::heartbeat::STREAM);
        self.alerts.stream.as_deref().into_iter().chain(heartbeat).collect()
    }
}
