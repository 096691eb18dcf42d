//! Warnings about the place of the store, before the place causes a problem.

use crate::platform::disk::{filesystem, room};
use crate::telemetry::event;
use crate::telemetry::people;
use std::path::Path;

/// Warns before the store is made: a folder that is made together with its parent may be a missing mount.
pub fn before(state: &Path) {
    if let Some(parent) = state.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        let (state, parent) = (state.display().to_string(), parent.display().to_string());
        tracing::warn!(
            event = event::STORE_OPENED,
            state,
            parent,
            "the folder above the state directory was not there and is made: is a disk not mounted?"
        );
    }
}

/// Warns when the store is there: about an unsuitable filesystem, and a `cap` that is more than the disk has.
pub fn after(state: &Path, cap: u64) {
    let shown = state.display().to_string();
    if let Some((kind, why)) = filesystem(state) {
        tracing::warn!(event = event::STORE_OPENED, state = shown, filesystem = kind, "{why}");
    }
    if let Some(disk) = room(state).filter(|disk| cap > *disk) {
        let (cap, disk) = (people::size(cap), people::size(disk));
        tracing::warn!(
            event = event::STORE_OPENED,
            state = shown,
            cap,
            disk,
            "`cap` is more than the disk has: the disk will be full before the store is"
        );
    }
}
