//! The configuration of a running agent: the local file, the document that was pushed over it, and each change of them.
//!
//! A changed file (`kill -HUP`) and a pushed document take the same way: read both, check the whole, compare, apply what
//! changed. A pushed one is then on trial. A change that is not good changes nothing.

mod start;
mod take;

pub(super) use start::{Begun, begin};

use super::place;
use crate::agent::{Agent, PartId, plan};
use crate::config::{self, Config, Options, System, redact};
use crate::control::carrier::{self, Arrived, Handled, Wish};
use crate::control::ledger::Ledger;
use crate::control::trial::{LOOKS, Pace, Snapshot, Verdict};
use crate::control::{Report, Settings};
use crate::flow::stop::{Stop, StopSender, stop};
use crate::platform::clock;
use crate::section;
use crate::telemetry::{Event, event};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The interval at which a trial is judged.
const JUDGE: Duration = Duration::from_secs(1);
/// So many different things are told once each.
const MOST_TOLD: usize = 64;
/// A configuration that should run and does not is tried again after this time.
const AGAIN: Duration = Duration::from_secs(10);
/// Reports are sent again after this time, with new numbers.
const REPORT: Duration = Duration::from_secs(300);

/// The carriers of one configuration.
struct Carriers {
    remote: Settings,
    device: String,
    stop: StopSender,
    tasks: JoinSet<()>,
}

/// The configuration of a running agent.
pub(super) struct Pushed {
    path: PathBuf,
    /// The state directory, if the command line names it.
    state: Option<PathBuf>,
    ledger: Ledger,
    sender: mpsc::Sender<Arrived>,
    arrived: mpsc::Receiver<Arrived>,
    report: watch::Sender<String>,
    reported: Option<(Report, Instant)>,
    carriers: Option<Carriers>,
    /// The agent before the change, and the beginning of the trial.
    trial: Option<(Snapshot, Instant)>,
    /// What was told of documents that were not taken, so that each is told once.
    told: BTreeSet<String>,
    /// The document that is looked at, by its SHA-256.
    about: String,
    /// Since when the agent does what it does when all is well.
    started: Instant,
    judge: tokio::time::Interval,
    /// What sources brought lately, and the last look at it.
    pace: (Pace, Instant),
    /// The last try to bring back the configuration that the ledger names, as long as it does not run.
    unsettled: Option<Instant>,
}

impl Pushed {
    /// Goes on from what an agent was started with. Its store is open, and nobody else has the ledger.
    pub(super) fn new(path: &Path, state: Option<&Path>, (mut ledger, effective): (Ledger, &str)) -> Self {
        let (sender, arrived) = mpsc::channel(4);
        let trial = ledger.state.trial.as_ref().map(|trial| (trial.before.clone(), Instant::now()));
        let (report, _) = watch::channel(String::new());
        let (path, state) = (path.into(), state.map(PathBuf::from));
        let judge = tokio::time::interval(JUDGE);
        if let Err(error) = ledger.generation(effective, clock::wall_ms()) {
            tracing::error!(event = event::CONTROL_NOTE, %error, "the state of the configuration cannot be kept");
        }
        Self {
            path,
            state,
            ledger,
            sender,
            arrived,
            report,
            reported: None,
            carriers: None,
            trial,
            told: BTreeSet::new(),
            about: String::new(),
            started: Instant::now(),
            judge,
            pace: (Pace::default(), Instant::now()),
            unsettled: None,
        }
    }

    /// Starts the carriers, or other ones when the local file says so now.
    pub(super) fn carry(&mut self, config: &Config) {
        let wanted = config.remote.as_ref();
        let same = |running: &Carriers| Some(&running.remote) == wanted && running.device == config.device;
        if self.carriers.as_ref().is_some_and(same) {
            return;
        }
        self.halt();
        self.carriers = wanted.and_then(|remote| {
            let inbox = match self.ledger.inbox() {
                Ok(inbox) => inbox,
                Err(error) => {
                    tracing::error!(event = event::CONTROL_NOTE, %error, "no configuration can be pushed");
                    return None;
                }
            };
            let (sender, stopped): (StopSender, Stop) = stop();
            let around = carrier::Around {
                device: config.device.clone(),
                arrived: self.sender.clone(),
                report: self.report.subscribe(),
                stop: stopped,
            };
            let tasks = carrier::start(remote, inbox, &around);
            Some(Carriers { remote: remote.clone(), device: config.device.clone(), stop: sender, tasks })
        });
    }

    fn halt(&mut self) {
        if let Some(mut running) = self.carriers.take() {
            running.stop.stop();
            running.tasks.abort_all();
        }
    }

    /// What there is to do next: a wish, or `None` for a look at the trial.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        let idle = self.carriers.is_none() && self.trial.is_none();
        tokio::select! {
            arrived = self.arrived.recv() => arrived,
            _ = self.judge.tick(), if !idle => None,
        }
    }

    /// Does it.
    pub(super) async fn turn(&mut self, agent: &mut Agent, arrived: Option<Arrived>) {
        match arrived {
            Some(Arrived { wish, by, answer }) => {
                let handled = match wish {
                    Wish::Take(bytes) => Box::pin(self.take(agent, &bytes, by)).await,
                    Wish::Back => self.back(agent).await,
                };
                // A carrier that is gone needs no answer.
                let _ = answer.send(handled);
            }
            None => self.judge(agent).await,
        }
        self.tell(agent);
    }

    /// Tells the carriers how it stands, when there is news.
    fn tell(&mut self, agent: &Agent) {
        let Some(carriers) = &self.carriers else { return };
        let (state, generation) = (&self.ledger.state, agent.config().generation);
        let holds = |(last, at): &(Report, Instant)| last.holds(state, generation) && at.elapsed() < REPORT;
        if self.reported.as_ref().is_some_and(holds) {
            return;
        }
        let now = Report::of(state, &carriers.remote.labels, &agent.view());
        if let Ok(json) = serde_json::to_string(&now) {
            self.report.send_replace(json);
            self.reported = Some((now, Instant::now()));
        }
    }

    fn is_news(&mut self, what: String) -> bool {
        if self.told.len() >= MOST_TOLD {
            self.told.clear();
        }
        self.told.insert(what)
    }

    /// Tells once that the state cannot be written.
    fn not_kept(&mut self, error: &std::io::Error) {
        if self.is_news(format!("not kept: {error}")) {
            tracing::error!(event = event::CONTROL_NOTE, %error, "the state of the configuration cannot be kept");
        }
    }

    /// Looks at what is on trial.
    async fn judge(&mut self, agent: &mut Agent) {
        if self.unsettled.is_some_and(|tried| tried.elapsed() >= AGAIN) {
            self.settle(agent).await;
        }
        let Some(remote) = &agent.config().remote else { return };
        let is_due = self.pace.1.elapsed() >= remote.probation / LOOKS;
        if !is_due && self.trial.is_none() {
            return;
        }
        let now = Snapshot::of(&agent.view(), agent.metrics());
        if is_due {
            self.pace.0.look(&now);
            self.pace.1 = Instant::now();
        }
        let Some((before, since)) = &self.trial else { return };
        match before.judge(&now, since.elapsed(), remote.probation) {
            Verdict::Open => {}
            Verdict::Bad(why) => self.give_up(agent, why).await,
            verdict @ (Verdict::Good | Verdict::Unconfirmed) => {
                let is_unconfirmed = verdict == Verdict::Unconfirmed;
                if let Err(error) = self.ledger.confirm(is_unconfirmed) {
                    // It stays on trial until the disk takes it.
                    return self.not_kept(&error);
                }
                self.trial = None;
                let serial = self.ledger.state.production.as_ref().map(|mark| mark.serial);
                let words = if is_unconfirmed {
                    "document stays in force; no sink could be reached before or since, so it is not confirmed"
                } else {
                    "document stays in force"
                };
                tracing::info!(event = event::CONFIG_TRIAL, serial, "{words}");
            }
        }
    }

    /// Gives up what is on trial: the configuration before comes back.
    async fn give_up(&mut self, agent: &mut Agent, why: String) {
        let serial = self.ledger.state.trial.as_ref().map_or(0, |trial| trial.mark.serial);
        let problem = redact::text(&why);
        if let Err(error) = self.ledger.give_up(problem.clone(), clock::wall_ms()) {
            // It is judged again until the disk takes it.
            return self.not_kept(&error);
        }
        self.trial = None;
        // What a bad document did is no measure for the next one: that one waits until there is another.
        (self.pace, self.started) = ((Pace::default(), Instant::now()), Instant::now());
        self.settle(agent).await;
        let generation = agent.config().generation;
        agent.tell(&Event::ConfigRolledBack { serial, generation, problem });
    }

    /// Brings the configuration that the ledger names into force; else the document before, else the local file alone,
    /// as at a start. If none is good at this moment, all are tried again.
    async fn settle(&mut self, agent: &mut Agent) {
        let state = &self.ledger.state;
        let marks = [state.current().cloned().map(Some), state.previous.clone().map(Some), Some(None)];
        let mut told = Vec::new();
        for mark in marks.into_iter().flatten() {
            let document = match mark.as_ref().map(|mark| self.ledger.read(mark)).transpose() {
                Ok(document) => document,
                Err(error) => {
                    tracing::error!(event = event::CONTROL_NOTE, %error, "a document cannot be read");
                    continue;
                }
            };
            let config =
                mark.map_or_else(|| self.path.display().to_string(), |mark| format!("document {}", mark.serial));
            let events = self.with(agent, document.as_deref(), config).await;
            let is_refused = events.iter().any(|event| matches!(event, Event::ConfigRefused { .. }));
            told.extend(events);
            if !is_refused {
                self.unsettled = None;
                for event in &told {
                    agent.tell(event);
                }
                return;
            }
        }
        if self.unsettled.replace(Instant::now()).is_none() {
            for event in &told {
                agent.tell(event);
            }
        }
    }

    /// A person wants the document before this one back.
    async fn back(&mut self, agent: &mut Agent) -> Handled {
        match self.ledger.back() {
            Ok(serial) => {
                self.trial = None;
                tracing::warn!(event = event::CONTROL_NOTE, serial, "a person asked for the document before");
                self.settle(agent).await;
            }
            Err(error) => tracing::warn!(event = event::CONTROL_NOTE, %error, "there is nothing to roll back"),
        }
        Handled::Done
    }

    /// A person says that something has changed: the local file, or a secret. What was refused may be good now, and so
    /// the carriers begin anew.
    pub(super) async fn reload(&mut self, agent: &mut Agent) -> Vec<Event> {
        let events = self.read_again(agent).await;
        self.told.clear();
        self.halt();
        self.carry(&agent.config().clone());
        events
    }

    /// Reads the configuration again; what the user is told of it. One that is not good changes nothing.
    async fn read_again(&mut self, agent: &mut Agent) -> Vec<Event> {
        let config = self.path.display().to_string();
        let refused =
            |line: Option<usize>, problem: String| Event::ConfigRefused { config: config.clone(), line, problem };
        let document = match self.ledger.current() {
            Ok(document) => document,
            Err(error) => return vec![refused(None, format!("the pushed document cannot be read: {error}"))],
        };
        // Without `[remote]` a document counts no more.
        let is_remote = self.read(None).is_ok_and(|(local, _)| local.remote.is_some());
        self.with(agent, document.as_deref().filter(|_| is_remote), config).await
    }

    /// Changes to the local file with this document over it.
    async fn with(&mut self, agent: &mut Agent, document: Option<&str>, config: String) -> Vec<Event> {
        let refused =
            |line: Option<usize>, problem: String| Event::ConfigRefused { config: config.clone(), line, problem };
        match self.read(document) {
            Ok((new, effective)) => self.apply(agent, new, &effective, config).await,
            Err(report) => {
                let refusal = |problem| refused(Some(report.position(problem).line), redact::text(&problem.message));
                report.problems().iter().map(refusal).collect()
            }
        }
    }

    /// The local file with a document over it, checked, and its effective text.
    fn read(&self, document: Option<&str>) -> Result<(Config, String), section::Report> {
        let options =
            Options { path: Some(&self.path), pushed: document, state: self.state.as_deref(), ..Options::default() };
        let unread = |error: std::io::Error| {
            let message = format!("cannot be read: {error}");
            section::Report::new(section::Texts::new(""), vec![section::Problem { span: 0..0, message, hint: None }])
        };
        let text = std::fs::read_to_string(&self.path).map_err(unread)?;
        let (new, notes) = config::load_with(&text, &System, options)?;
        place::warn(&notes.warnings);
        Ok((new, config::effective(&text, &System, options)?))
    }

    /// The number of the next generation.
    fn after(&self, agent: &Agent) -> u64 {
        let last = self.ledger.state.generations.last().map_or(0, |last| last.number);
        last.max(agent.config().generation) + 1
    }

    /// Changes the agent to a configuration that was checked.
    async fn apply(&mut self, agent: &mut Agent, mut new: Config, effective: &str, config: String) -> Vec<Event> {
        let refused = |problem| vec![Event::ConfigRefused { config: config.clone(), line: None, problem }];
        let fixed = |keys: Vec<&str>| format!("{} can only change at a restart", keys.join(", "));
        match plan(agent.config(), &new) {
            Err(keys) => return refused(fixed(keys)),
            Ok(plan) if plan.is_empty() => {}
            Ok(_) => match self.ledger.begin_generation(self.after(agent), effective, clock::wall_ms()) {
                Ok(generation) => new.generation = generation,
                Err(error) => return refused(format!("its number cannot be kept: {error}")),
            },
        }
        match agent.apply(new).await {
            Ok(plan) => {
                self.carry(&agent.config().clone());
                let names = |parts: &[PartId]| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                let (stopped, started, kept) = (names(&plan.stop), names(&plan.start), plan.keep.len());
                vec![Event::ConfigApplied { config, generation: agent.config().generation, stopped, started, kept }]
            }
            Err(keys) => refused(fixed(keys)),
        }
    }
}
