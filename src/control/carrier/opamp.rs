//! A server of `OpAMP` (github.com/open-telemetry/opamp-spec) over plain HTTP: each message has the whole state of the
//! agent, and the answer may have a document.
//!
//! The document is the one file of the offered configuration. Field numbers are those of `opamp.proto`.

use super::web::{PATIENCE, body, pause, proven};
use super::{Around, Handled, Wish};
use crate::control::Report;
use crate::control::document::LONGEST;
use crate::control::settings::Opamp;
use crate::monitor::{web_client, web_error};
use crate::platform::protobuf::{Message, Value, bytes_of, fields};
use crate::platform::{clock, digest};
use crate::telemetry::event;
use crate::telemetry::outage::{Outage, Tell};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use std::time::Duration;

/// `ReportsStatus`, `AcceptsRemoteConfig`, `ReportsHealth`, `ReportsRemoteConfig`, `ReportsHeartbeat`.
const CAPABILITIES: u64 = 0x3803;
/// The states of `RemoteConfigStatuses`.
const APPLIED: u64 = 1;
const APPLYING: u64 = 2;
const FAILED: u64 = 3;
/// The bytes of an answer besides the document.
const FRAME: usize = 64 << 10;
/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What is remembered between two messages.
struct Talk {
    server: Opamp,
    fleet: String,
    uid: Vec<u8>,
    number: u64,
    /// The hash of the configuration that was offered last and taken, or refused for good.
    hash: Vec<u8>,
}

/// What an answer asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// The offered document, with its hash.
    offered: Option<(Vec<u8>, Vec<u8>)>,
    /// Another id for this agent.
    uid: Option<Vec<u8>>,
    /// An error of the server.
    error: Option<String>,
}

pub async fn run(server: Opamp, fleet: String, mut around: Around) {
    let id = digest::sha256(format!("{fleet}\n{}", around.device).as_bytes());
    let uid = id.as_bytes()[..32].chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).unwrap_or_default();
        u8::from_str_radix(text, 16).unwrap_or(0)
    });
    let mut talk = Talk { server, fleet, uid: uid.collect(), number: 0, hash: Vec::new() };
    let mut outage = Outage::default();
    let (mut failures, mut followed) = (0, false);
    loop {
        let mut stop = around.stop.clone();
        let Ok(done) = stop.or(talk.exchange(&around)).await else { return };
        let mut wait = pause(talk.server.every, failures);
        match done {
            Ok(again) => {
                failures = 0;
                if outage.over(clock::boot_ms()).is_some() {
                    tracing::info!(event = event::CONTROL_UP, by = "opamp", "the server of the configuration answers");
                }
                // What became of a document is told at once.
                if again && !followed {
                    followed = true;
                    continue;
                }
                followed = false;
            }
            Err((error, asked)) => {
                failures += 1;
                // A server may slow its agents down, not up.
                wait = asked.map_or(wait, |asked| asked.max(wait)).min(LONGEST_PAUSE.max(wait));
                if outage.failed(&error, clock::boot_ms()) != Tell::Nothing {
                    let by = "opamp";
                    tracing::warn!(
                        event = event::CONTROL_DOWN,
                        by,
                        error,
                        "the server of the configuration cannot be asked"
                    );
                }
            }
        }
        tokio::select! {
            ended = around.stop.pause(wait) => if ended.is_err() { return },
            changed = around.report.changed(), if failures == 0 => if changed.is_err() { return },
        }
    }
}

impl Talk {
    /// One message and its answer; whether another message should follow at once. The error may have a pause that the
    /// server asks for.
    async fn exchange(&mut self, around: &Around) -> Result<bool, (String, Option<Duration>)> {
        let plain = |error: String| (error, None);
        let report = serde_json::from_str::<Report>(&around.report.borrow()).ok();
        self.number += 1;
        let message = self.message(&around.device, report.as_ref()).into_bytes();
        let request = web_client(&self.server.tls, PATIENCE).map_err(plain)?.post(&self.server.url).body(message);
        let request = request.header(CONTENT_TYPE, "application/x-protobuf");
        let answer =
            proven(request, self.server.token.as_ref()).send().await.map_err(|error| plain(web_error(error)))?;
        if answer.status() != StatusCode::OK {
            let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Err((format!("the server answers {}", answer.status()), seconds.map(Duration::from_secs)));
        }
        let bytes = body(answer, LONGEST + FRAME).await.map_err(plain)?;
        let Some(answer) = read(&bytes) else { return Err(plain("the answer is no message of OpAMP".into())) };
        if let Some(error) = answer.error {
            return Err(plain(format!("the server says: {error}")));
        }
        if let Some(uid) = answer.uid {
            self.uid = uid;
        }
        let Some((document, hash)) = answer.offered.filter(|(_, hash)| *hash != self.hash) else { return Ok(false) };
        // Without content it offers nothing.
        if !document.is_empty() && around.hand_over(Wish::Take(document), "opamp").await == Handled::Later {
            return Ok(false);
        }
        self.hash = hash;
        Ok(true)
    }

    /// `AgentToServer`.
    fn message(&self, device: &str, report: Option<&Report>) -> Message {
        let text = |value: &str| Message::default().text(1, value);
        let pair = |key: &str, value: &str| Message::default().text(1, key).message(2, &text(value));
        let own = [
            ("service.name", "forebay"),
            ("service.instance.id", device),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let about = own.iter().fold(Message::default(), |about, (key, value)| about.message(1, &pair(key, value)));
        let about = about.message(2, &pair("host.name", device)).message(2, &pair("fleet", &self.fleet));
        let labels = report.into_iter().flat_map(|report| &report.labels);
        let about = labels.fold(about, |about, (key, value)| about.message(2, &pair(key, value)));
        let message =
            Message::default().text(1, &self.uid).varint(2, self.number).message(3, &about).varint(4, CAPABILITIES);
        let Some(report) = report else { return message };
        let healthy = report.unhealthy.is_empty();
        let health = Message::default().varint(1, u64::from(healthy)).text(4, &report.phase);
        let health = report.unhealthy.iter().take(1).fold(health, |health, why| health.text(3, why));
        let message = message.message(5, &health);
        if self.hash.is_empty() {
            return message;
        }
        let problem = report.last_error.as_ref().map(|problem| format!("{}: {}", problem.code, problem.message));
        let status = match report.phase.as_str() {
            "probation" => APPLYING,
            "rolled-back" | "refused" => FAILED,
            _ if problem.is_some() => FAILED,
            _ => APPLIED,
        };
        let status = Message::default().text(1, &self.hash).varint(2, status).text(3, problem.unwrap_or_default());
        message.message(7, &status)
    }
}

/// Reads `ServerToAgent`; `None` when it is none.
fn read(bytes: &[u8]) -> Option<Answer> {
    let mut answer = Answer::default();
    for (field, value) in fields(bytes)? {
        let Value::Bytes(message) = value else { continue };
        match field {
            2 => answer.error = Some(String::from_utf8_lossy(bytes_of(message, 2).unwrap_or(b"an error")).into_owned()),
            3 => {
                let config = bytes_of(message, 1)?;
                let hash = bytes_of(message, 2)?.to_vec();
                // `map<string, AgentConfigFile>`: each entry has a name and a file. A document is one file.
                let mut files = fields(config)?.into_iter().rev().filter_map(|(field, value)| match value {
                    Value::Bytes(entry) if field == 1 => bytes_of(entry, 2),
                    _ => None,
                });
                let document = files.next().and_then(|file| bytes_of(file, 1)).unwrap_or_default().to_vec();
                answer.offered = Some((document, hash));
            }
            8 => answer.uid = bytes_of(message, 1).filter(|uid| uid.len() == 16).map(<[u8]>::to_vec),
            _ => {}
        }
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_offers_is_found() {
        let file = Message::default().text(1, "a = 1").text(2, "text/toml");
        let entry = Message::default().text(1, "").message(2, &file);
        let map = Message::default().message(1, &entry);
        let offered = Message::default().message(1, &map).text(2, "hash");
        let id = Message::default().text(1, [7; 16]);
        let whole = Message::default().text(1, [1; 16]).message(3, &offered).varint(7, 3).message(8, &id).into_bytes();
        let answer = read(&whole).unwrap();
        assert_eq!(answer.offered, Some((b"a = 1".to_vec(), b"hash".to_vec())));
        assert_eq!((answer.uid, answer.error), (Some(vec![7; 16]), None));
        let error = Message::default().varint(1, 2).text(2, "busy");
        assert_eq!(read(&Message::default().message(2, &error).into_bytes()).unwrap().error.unwrap(), "busy");
        assert_eq!((read(b""), read(b"<html>")), (Some(Answer::default()), None));
        assert_eq!(read(&Message::default().text(3, [0xff]).into_bytes()), None);
    }
}
