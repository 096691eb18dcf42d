//! What a client may do by its tokens, and errors as Microsoft's clients read them.

use super::address::hub_of;
use crate::platform::clock;
use fe2o3_amqp_types::definitions::{Error, ErrorCondition, Fields};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What tokens of this connection allow: event hub (`None`: all), and until when.
#[derive(Debug, Default)]
pub struct Grants(Mutex<HashMap<Option<String>, u64>>);

impl Grants {
    /// A token was put.
    pub fn allow(&self, resource: &str, expiry_s: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hub_of(resource), expiry_s);
    }

    /// Whether a token of an event hub was put and has not ended.
    pub fn allows(&self, hub: &str) -> bool {
        let grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::wall_s();
        [None, Some(hub.to_string())].iter().any(|who| grants.get(who).is_some_and(|expiry| *expiry > now))
    }
}

/// Not empty: Microsoft's Python client reads the field by its place (`docs/reference/event-hubs.md`).
pub fn about_us() -> Fields {
    let mut fields = Fields::new();
    fields.insert(Symbol::from("product"), Value::from("forebay-hub"));
    fields
}

/// An error in the form that Microsoft's Python client can read: no part left out.
pub fn error(condition: impl Into<ErrorCondition>, description: impl Into<String>) -> Error {
    Error::new(condition, Some(description.into()), Some(about_us()))
}
