//! What becomes of a document that was brought: it is proven, read, checked, and put on trial, or refused.

use super::Pushed;
use crate::agent::{Agent, PartId, plan};
use crate::config::{Config, PUSHED, redact};
use crate::control::carrier::Handled;
use crate::control::document::{Document, Who};
use crate::control::ledger::{Decision, Problem};
use crate::control::trial::Snapshot;
use crate::platform::{clock, digest};
use crate::section;
use crate::telemetry::{Event, event};
use std::time::Instant;

/// The first problem of a report, for programs: its message without secrets, and its place in the document.
pub fn first_problem(report: &section::Report) -> Problem {
    let first = report.problems().first();
    let place = first.filter(|first| report.file(first) == Some(PUSHED)).map(|first| report.position(first));
    Problem {
        serial: None,
        code: "bad-configuration".into(),
        message: first.map_or_else(String::new, |first| redact::text(&first.message)),
        place: place.map(|place| (place.line, place.column)),
        at_ms: clock::wall_ms(),
    }
}

impl Pushed {
    /// Notes that a document is refused, and tells it once.
    fn refuse(&mut self, agent: &Agent, problem: Problem, by: &str) -> Handled {
        let named = problem.serial.map_or_else(String::new, |serial| format!(" {serial}"));
        if self.is_news(format!("{} {} {}", self.about, problem.code, problem.message)) {
            let (config, line) = (format!("document{named}, by {by}"), problem.place.map(|(line, _)| line));
            agent.tell(&Event::ConfigRefused { config, line, problem: problem.message.clone() });
            if let Err(error) = self.ledger.note(problem) {
                self.not_kept(&error);
            }
        }
        Handled::Done
    }

    /// Takes a document, or says why not.
    pub async fn take(&mut self, agent: &mut Agent, bytes: &[u8], by: &'static str) -> Handled {
        let Some(remote) = agent.config().remote.clone() else { return Handled::Done };
        self.about = digest::sha256(bytes);
        let now_ms = clock::wall_ms();
        let problem = |serial, code: &str, message: String| Problem {
            serial,
            code: code.into(),
            message,
            place: None,
            at_ms: now_ms,
        };
        let document = match Document::read(bytes, &remote.keys, remote.required) {
            Ok(document) => document,
            Err(refusal) => return self.refuse(agent, problem(None, refusal.code(), refusal.to_string()), by),
        };
        let serial = document.header.serial;
        let device = agent.config().device.clone();
        let who = Who { device: &device, fleet: &remote.fleet, labels: &remote.labels };
        if document.header.fleet != remote.fleet {
            let why = document.header.is_for(who).err().unwrap_or_default();
            return self.refuse(agent, problem(Some(serial), "other-fleet", why), by);
        }
        if let Err(why) = document.header.is_for(who) {
            if self.is_news(document.sha256.clone()) {
                tracing::info!(event = event::CONTROL_NOTE, serial, by, "document not taken: {why}");
            }
            return Handled::Done;
        }
        let trusted = clock::is_credible(now_ms).then_some(now_ms);
        let refused = match self.ledger.state.decide(&document, trusted) {
            Decision::Take => None,
            Decision::Known => return Handled::Done,
            Decision::Busy => return Handled::Later,
            Decision::Early(at) => {
                if self.is_news(document.sha256.clone()) {
                    let at = clock::utc(at);
                    tracing::info!(event = event::CONTROL_NOTE, serial, by, at, "document waits for its time");
                }
                return Handled::Later;
            }
            Decision::Old(highest) => {
                Some(("replayed", format!("serial {serial} is lower than {highest}, which was here before")))
            }
            Decision::Twice => Some(("same-serial", format!("another document had the serial {serial}"))),
        };
        if let Some((code, why)) = refused {
            return self.refuse(agent, problem(Some(serial), code, why), by);
        }
        let (new, effective) = match self.read(Some(&document.text)) {
            Ok(read) => read,
            Err(report) => {
                let why = Problem { serial: Some(serial), ..first_problem(&report) };
                return self.refuse(agent, why, by);
            }
        };
        let kept = match plan(agent.config(), &new) {
            Ok(plan) => plan.keep,
            Err(keys) => {
                let keys = keys.join(", ");
                let why = format!("the local file changed {keys}, and the agent must be started again first");
                return self.refuse(agent, problem(Some(serial), "needs-restart", why), by);
            }
        };
        // Nobody knows yet what this agent does when all is well.
        if !agent.config().sources.is_empty() && self.started.elapsed() < remote.probation {
            if self.is_news(document.sha256.clone()) {
                tracing::info!(
                    event = event::CONTROL_NOTE,
                    serial,
                    by,
                    "document waits until the agent has run for a while"
                );
            }
            return Handled::Later;
        }
        self.try_out(agent, &document, (new, effective), (by, &kept)).await
    }

    /// Puts a checked document on trial.
    async fn try_out(
        &mut self,
        agent: &mut Agent,
        document: &Document,
        (new, effective): (Config, String),
        (by, kept): (&'static str, &[PartId]),
    ) -> Handled {
        let serial = document.header.serial;
        let kept = kept.iter().filter_map(|part| match part {
            PartId::Source(name) => Some(name.as_str()),
            _ => None,
        });
        let before = self.pace.0.over(Snapshot::of(&agent.view(), agent.metrics())).keeping(kept);
        if let Err(error) = self.ledger.begin_trial(document, before.clone(), clock::wall_ms()) {
            if self.is_news(error.to_string()) {
                tracing::error!(event = event::CONTROL_NOTE, serial, %error, "the document cannot be kept; it is tried again later");
            }
            return Handled::Later;
        }
        self.told.clear();
        tracing::info!(event = event::CONFIG_TRIAL, serial, by, "document is on trial");
        let events = self.apply(agent, new, &effective, format!("document {serial}")).await;
        for event in &events {
            agent.tell(event);
        }
        let refused = events.iter().find_map(|event| match event {
            Event::ConfigRefused { problem, .. } => Some(problem.clone()),
            _ => None,
        });
        // What the old parts did while they stopped is not the work of the new ones.
        let before = before.counted_from(&Snapshot::of(&agent.view(), agent.metrics()));
        self.trial = Some((before.clone(), Instant::now()));
        if let Some(why) = refused {
            self.give_up(agent, why).await;
        } else if let Err(error) = self.ledger.set_before(&before) {
            self.not_kept(&error);
        }
        Handled::Done
    }
}
