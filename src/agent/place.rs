//! Where the store is: what a person should know of the place before it matters.

use crate::platform::disk::{filesystem, room};
use crate::telemetry::event;
use crate::telemetry::people;
use std::path::Path;

/// Before the store is made: a folder that is made together with its parent may be a missing mount.
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

/// When it is there: what the filesystem is, and whether the cap fits.
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
