//! The place where documents are put and reports are found: a broker, or a folder of a static web server.

use crate::control::carrier::connect;
use crate::control::{Mqtt, Report};
use crate::section::{ClientTls, Login, Place, Secret};
use rumqttc::{Event, Packet, PublishOptions, QoS};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A broker must answer within this time.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The broker: mqtt://host:1883 or mqtts://host:8883
    #[arg(long, value_name = "URL", required_unless_present = "dir", conflicts_with = "dir")]
    mqtt: Option<String>,
    /// The beginning of the topics
    #[arg(long, default_value = "forebay")]
    prefix: String,
    /// The name at the broker
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// A file with the password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The roots that sign the broker's certificate, as PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A folder that a web server shows, instead of a broker: documents as NAME.toml, reports as NAME.json
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Where documents and reports are.
pub(super) enum Station {
    Broker(Box<Mqtt>),
    Folder(PathBuf),
}

/// The reports by device.
pub(super) type Reports = BTreeMap<String, Report>;

impl Where {
    pub fn station(&self) -> Result<Station, String> {
        if let Some(dir) = &self.dir {
            let is_there = dir.is_dir();
            return is_there
                .then(|| Station::Folder(dir.clone()))
                .ok_or_else(|| format!("{} is no folder", dir.display()));
        }
        let url = self.mqtt.as_deref().unwrap_or_default();
        let (place, is_tls) =
            Place::of_broker(url).ok_or("`--mqtt` is no address of a broker, such as mqtt://localhost")?;
        let login = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => {
                let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                Some(Login { user: user.clone(), password: Secret::new(text.trim().into()) })
            }
            _ => None,
        };
        let tls = ClientTls { ca: self.ca.clone(), ..ClientTls::default() };
        Ok(Station::Broker(Box::new(Mqtt { place, is_tls, prefix: self.prefix.clone(), login, tls })))
    }
}

impl Station {
    /// Puts a document where the devices look: one of them, or all of the fleet.
    pub async fn put(&self, fleet: &str, device: Option<&str>, document: &str) -> Result<(), String> {
        match self {
            Self::Broker(mqtt) => {
                let topic = format!("{}/{fleet}/{}/desired", mqtt.prefix, device.unwrap_or("all"));
                let sent = publish(mqtt, &topic, document);
                tokio::time::timeout(PATIENCE, sent).await.map_err(|_| "the broker does not answer")?
            }
            Self::Folder(dir) => {
                let name = format!("{}.toml", device.unwrap_or(fleet));
                write(&dir.join(name), document).map_err(|error| format!("{}: {error}", dir.display()))
            }
        }
    }

    /// The reports that there are. A broker sends all that it keeps at once: a pause means that there are no more.
    pub async fn reports(&self, fleet: &str, pause: Duration) -> Result<Reports, String> {
        match self {
            Self::Broker(mqtt) => tokio::time::timeout(PATIENCE + pause * 4, heard(mqtt, fleet, pause))
                .await
                .map_err(|_| "the broker does not answer")?,
            Self::Folder(dir) => {
                let entries = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
                let is_report = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
                let files = entries.flatten().map(|entry| entry.path()).filter(is_report);
                let read = files.filter_map(|path| std::fs::read(path).ok());
                Ok(read.filter_map(|json| report(&json)).collect())
            }
        }
    }
}

fn report(json: &[u8]) -> Option<(String, Report)> {
    let report: Report = serde_json::from_slice(json).ok()?;
    Some((report.device.clone(), report))
}

/// A web server never shows half of a document.
fn write(file: &Path, document: &str) -> std::io::Result<()> {
    let beside = file.with_extension("part");
    std::fs::write(&beside, document)?;
    std::fs::rename(&beside, file)
}

/// Publishes a retained message, and waits until the broker has it.
async fn publish(mqtt: &Mqtt, topic: &str, text: &str) -> Result<(), String> {
    let (client, mut events) = connect(mqtt, "fleet")?;
    let options = PublishOptions::at_least_once().retained();
    client.publish(topic.to_string(), text.to_string(), options).await.map_err(|error| error.to_string())?;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::PubAck(_))) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(format!("{}: {error}", mqtt.place)),
        }
    }
}

/// The reports that a broker keeps.
async fn heard(mqtt: &Mqtt, fleet: &str, pause: Duration) -> Result<Reports, String> {
    let (client, mut events) = connect(mqtt, "fleet")?;
    let topic = format!("{}/{fleet}/+/reported", mqtt.prefix);
    client.subscribe(topic, QoS::AtLeastOnce).await.map_err(|error| error.to_string())?;
    let mut reports = Reports::new();
    let mut is_subscribed = false;
    loop {
        let event = if is_subscribed {
            match tokio::time::timeout(pause, events.poll()).await {
                Ok(event) => event,
                Err(_) => return Ok(reports),
            }
        } else {
            events.poll().await
        };
        match event {
            Ok(Event::Incoming(Packet::Publish(message))) => reports.extend(report(&message.payload)),
            Ok(Event::Incoming(Packet::SubAck(_))) => is_subscribed = true,
            Ok(_) => {}
            Err(error) => return Err(format!("{}: {error}", mqtt.place)),
        }
    }
}
