//! The rights of a client by its tokens, and errors in the form that Microsoft's clients read.

use super::address::hub_of;
use crate::platform::clock;
use fe2o3_amqp_types::definitions::{Error, ErrorCondition, Fields};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The rights of a connection: event hub (`None`: all), and the end of the right, in seconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct Grants(Mutex<HashMap<Option<String>, u64>>);

impl Grants {
    /// Notes that a client put a valid token.
    pub fn allow(&self, resource: &str, expiry_s: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hub_of(resource), expiry_s);
    }

    /// Whether a token for the event hub was put and is still valid.
    pub fn allows(&self, hub: &str) -> bool {
        let grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::wall_s();
        [None, Some(hub.to_string())].iter().any(|who| grants.get(who).is_some_and(|expiry| *expiry > now))
    }
}

/// The properties of the hub. They are not empty: Microsoft's Python client reads the field by its place
/// (`docs/reference/event-hubs.md`).
pub fn about_us() -> Fields {
    let mut fields = Fields::new();
    fields.insert(Symbol::from("product"), Value::from("forebay-hub"));
    fields
}

/// An error in the form that Microsoft's Python client can read, with all of its parts.
pub fn error(condition: impl Into<ErrorCondition>, description: impl Into<String>) -> Error {
    Error::new(condition, Some(description.into()), Some(about_us()))
}
