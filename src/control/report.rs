//! What a device says of its configuration, alike on every carrier: one JSON object.

use super::ledger::{Mark, Problem, State};
use crate::monitor::view::View;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The configuration of a device, and how the device is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The name of the device.
    pub device: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The version of the program.
    pub version: String,
    /// The number of the configuration in force.
    pub generation: u64,
    /// `local`, `probation`, `applied`, `applied-unconfirmed`, `rolled-back` or `refused`.
    pub phase: String,
    /// The highest serial that was ever taken.
    #[serde(default)]
    pub highest_serial: Option<u64>,
    /// The document in force.
    pub production: Option<Mark>,
    /// The document on trial.
    pub trial: Option<Mark>,
    /// The document before the one in force.
    pub last_good: Option<Mark>,
    /// Why the newest document is not in force.
    pub last_error: Option<Problem>,
    /// The age of the oldest record that waits for a sink, in seconds.
    pub backlog_age_s: u64,
    /// How full the store is, in percent.
    pub buffer_percent: u64,
    /// The parts that need attention, with their reasons.
    pub unhealthy: Vec<String>,
}

impl Report {
    /// The report of an agent.
    #[must_use]
    pub fn of(state: &State, labels: &[(String, String)], view: &View) -> Self {
        let bad = view.parts.iter().filter(|part| !part.is_good);
        Self {
            device: view.device.clone(),
            labels: labels.iter().cloned().collect(),
            version: view.version.clone().into_owned(),
            generation: view.generation,
            phase: state.phase().into(),
            highest_serial: state.highest.as_ref().map(|mark| mark.serial),
            production: state.production.clone(),
            trial: state.trial.as_ref().map(|trial| trial.mark.clone()),
            last_good: state.previous.clone(),
            last_error: state.problem.clone(),
            backlog_age_s: view.age_ms().unwrap_or(0) / 1000,
            buffer_percent: view.fill.waits.saturating_mul(100) / view.fill.room.max(1),
            unhealthy: bad.map(|part| format!("{}.{}: {}", part.kind.label(), part.name, part.state)).collect(),
        }
    }

    /// Whether the report still says what is so: other numbers alone are no news.
    #[must_use]
    pub fn holds(&self, state: &State, generation: u64) -> bool {
        (self.phase.as_str(), self.generation) == (state.phase(), generation)
            && (&self.last_error, &self.production) == (&state.problem, &state.production)
    }
}
