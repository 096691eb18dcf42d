//! The configuration for the page: what counts now, what was pushed, and how it came to be.

use crate::control::ledger::{Ledger, State};
use crate::control::trial::Snapshot;
use serde::Serialize;
use std::path::Path;

/// What was pushed, and the generations.
#[derive(Debug, Serialize)]
struct Shown {
    /// What goes on, in one word.
    phase: &'static str,
    #[serde(flatten)]
    state: State,
}

/// One generation.
#[derive(Debug, Serialize)]
struct Text {
    /// The effective configuration, without secrets.
    text: String,
    /// What changed from the generation before; empty when that one is not kept.
    diff: String,
}

/// The state, or a generation, as JSON; `None` when the generation is not kept.
///
/// # Errors
/// The state cannot be read.
pub fn of(state: &Path, generation: Option<u64>) -> Result<Option<Vec<u8>>, String> {
    let Some(generation) = generation else {
        let mut state = Ledger::look(state).map_err(|error| error.to_string())?;
        // It is of use to the judge alone.
        if let Some(trial) = &mut state.trial {
            trial.before = Snapshot::default();
        }
        let shown = Shown { phase: state.phase(), state };
        return serde_json::to_vec(&shown).map(Some).map_err(|error| error.to_string());
    };
    let Ok(text) = Ledger::text(state, generation) else { return Ok(None) };
    let diff = Ledger::diff(state, generation.saturating_sub(1), generation).unwrap_or_default();
    serde_json::to_vec(&Text { text, diff }).map(Some).map_err(|error| error.to_string())
}
