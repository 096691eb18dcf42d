//! Translates errors of AMQP into classes of failures (`docs/reference/event-hubs.md`, "Errors").

use crate::sink::{Class, DeliverError};
use crate::telemetry::people;
use fe2o3_amqp::connection::ConnectionStopReason;
use fe2o3_amqp::link::{DetachError, LinkStateError, RecvError, SendError, SenderAttachError, SessionStopReason};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp_types::definitions::{Error as AmqpError, ErrorCondition};
use fe2o3_amqp_types::primitives::Symbol;
use std::time::Duration;

/// The pause after the service's error server-busy (pyamqp waits the same).
pub const BUSY: Duration = Duration::from_secs(4);
/// The pause after a timeout of the service; pyamqp waits the same (`docs/reference/event-hubs.md`, "Throttling").
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a quota was used up: a quota is not free again at once.
pub const QUOTA: Duration = Duration::from_secs(10);
/// The words for a connection that has ended and gave no reason.
const CLOSED: &str = "the connection was closed";
/// The advice in an error message when the event hub does not exist.
pub const NOT_FOUND: &str = "; check the event hub's name (EntityPath or `event_hub`)";

/// A failed send.
#[derive(Debug)]
pub struct Failed {
    /// The error for the courier.
    pub error: DeliverError,
    /// True when the link cannot be used any more.
    pub link_is_lost: bool,
    /// True when the connection cannot be used any more.
    pub connection_is_lost: bool,
}

/// An error condition's name.
fn name(condition: &ErrorCondition) -> String {
    match condition {
        ErrorCondition::AmqpError(error) => Symbol::from(error).0,
        ErrorCondition::ConnectionError(error) => Symbol::from(error).0,
        ErrorCondition::SessionError(error) => Symbol::from(error).0,
        ErrorCondition::LinkError(error) => Symbol::from(error).0,
        ErrorCondition::Custom(symbol) => symbol.0.clone(),
    }
}

/// The failure that an error of the service means.
pub fn from_service(error: &AmqpError) -> DeliverError {
    let condition = name(&error.condition);
    let class = class(&condition);
    let hint = hint(&condition);
    let description = error.description.as_deref().unwrap_or("no description");
    DeliverError { class, message: format!("the hub says {condition}: {description}{hint}") }
}

fn class(condition: &str) -> Class {
    match condition {
        "com.microsoft:server-busy" | "com.microsoft:container-close" => Class::Busy(BUSY),
        "com.microsoft:timeout" => Class::Busy(TIMEOUT),
        "amqp:resource-limit-exceeded" => Class::Busy(QUOTA),
        "amqp:link:message-size-exceeded" => Class::TooLarge,
        "com.microsoft:argument-error" | "com.microsoft:argument-out-of-range" | "amqp:decode-error" => Class::Refused,
        "amqp:unauthorized-access"
        | "amqp:not-found"
        | "amqp:not-allowed"
        | "com.microsoft:auth-failed"
        | "com.microsoft:entity-disabled"
        | "com.microsoft:precondition-failed"
        | "com.microsoft:publisher-revoked"
        | "amqp:link:redirect"
        | "amqp:connection:redirect" => Class::Denied,
        _ => Class::Transient,
    }
}

fn hint(condition: &str) -> &'static str {
    match condition {
        "amqp:unauthorized-access" | "com.microsoft:auth-failed" => {
            "; check the connection string's key, that its policy may send, and this machine's clock"
        }
        "amqp:not-found" => NOT_FOUND,
        "com.microsoft:entity-disabled" => "; the event hub is disabled in Azure",
        "com.microsoft:publisher-revoked" => "; this publisher was revoked in Azure (`publisher`)",
        "amqp:link:redirect" | "amqp:connection:redirect" => {
            "; this is another service: an IoT Hub gives its Event Hubs-compatible endpoint in the portal"
        }
        _ => "",
    }
}

fn of_connection(reason: &ConnectionStopReason) -> Option<&AmqpError> {
    match reason {
        ConnectionStopReason::ClosedWithError(error) | ConnectionStopReason::RemoteClosedWithError(error) => {
            Some(error)
        }
        _ => None,
    }
}

fn of_session(reason: &SessionStopReason) -> Option<&AmqpError> {
    match reason {
        SessionStopReason::EndedWithError(error) | SessionStopReason::RemoteEndedWithError(error) => Some(error),
        SessionStopReason::ConnectionStopped(reason) => of_connection(reason),
        _ => None,
    }
}

fn of_link(error: &LinkStateError) -> Option<&AmqpError> {
    match error {
        LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => Some(error),
        LinkStateError::SessionStopped(reason) => of_session(reason),
        _ => None,
    }
}

fn of_detach(error: &DetachError) -> Option<&AmqpError> {
    match error {
        DetachError::RemoteDetachedWithError(error) | DetachError::RemoteClosedWithError(error) => Some(error),
        DetachError::SessionStopped(reason) => of_session(reason),
        _ => None,
    }
}

/// What an error of the AMQP library means in words, when the service gave no reason. Some of its texts are types of
/// Rust.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let link = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(RecvError::LinkStateError(state)), _) | (_, Some(SendError::LinkStateError(state))) => Some(state),
        _ => error.downcast_ref(),
    };
    let detach = match error.downcast_ref() {
        Some(SendError::Detached(detach)) => Some(detach),
        _ => error.downcast_ref(),
    };
    match (link, detach, error.downcast_ref()) {
        (Some(LinkStateError::SessionStopped(reason)), ..) | (_, Some(DetachError::SessionStopped(reason)), _) => {
            session_words(reason)
        }
        (.., Some(BeginError::ConnectionStopped(_))) => CLOSED.into(),
        (Some(link), ..) => people::cause(link),
        (_, Some(detach), _) => people::cause(detach),
        _ => people::cause(error),
    }
}

fn session_words(reason: &SessionStopReason) -> String {
    match (of_session(reason), reason) {
        (Some(error), _) => from_service(error).message,
        (None, SessionStopReason::ConnectionStopped(_)) => CLOSED.into(),
        (None, _) => "the session ended".into(),
    }
}

/// The failure when a link or a session that serves no batch has ended.
pub fn from_ended(what: &str, error: &(dyn std::error::Error + 'static)) -> DeliverError {
    DeliverError::transient(format_args!("{what}: {}", words(error)))
}

/// The failure when the link ended before the outcome of a batch came.
pub fn from_detach(error: &DetachError) -> Failed {
    let answered = of_detach(error).map(from_service);
    let lost = matches!(error, DetachError::SessionStopped(_));
    Failed {
        error: answered.unwrap_or_else(|| DeliverError::transient(format_args!("the link ended: {}", words(error)))),
        link_is_lost: true,
        connection_is_lost: lost,
    }
}

/// The failure when sending itself failed.
pub fn from_send(error: &SendError) -> Failed {
    let answered = match error {
        SendError::LinkStateError(state) => of_link(state),
        SendError::Detached(detach) => of_detach(detach),
        SendError::MessageSizeExceeded(_) => {
            let error = DeliverError { class: Class::TooLarge, message: error.to_string() };
            return Failed { error, link_is_lost: false, connection_is_lost: false };
        }
        _ => None,
    };
    let known = answered.is_some();
    Failed {
        error: answered
            .map_or_else(|| DeliverError::transient(format_args!("sending failed: {}", words(error))), from_service),
        link_is_lost: true,
        connection_is_lost: !known,
    }
}

/// The failure when the service refused the link.
pub fn from_attach(error: &SenderAttachError) -> DeliverError {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => {
            let error = from_service(error);
            // A refused link is not the fault of a batch: no batch is set aside for it.
            let class =
                if matches!(error.class, Class::Refused | Class::TooLarge) { Class::Denied } else { error.class };
            DeliverError { class, ..error }
        }
        other => DeliverError::transient(format_args!("the link was not attached: {}", words(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_library_is_said_in_words() {
        let closed = || SessionStopReason::ConnectionStopped(ConnectionStopReason::Closed);
        let all: [Box<dyn std::error::Error>; 4] = [
            Box::new(SendError::LinkStateError(LinkStateError::SessionStopped(closed()))),
            Box::new(SendError::Detached(DetachError::SessionStopped(closed()))),
            Box::new(RecvError::LinkStateError(LinkStateError::SessionStopped(closed()))),
            Box::new(BeginError::ConnectionStopped(ConnectionStopReason::Closed)),
        ];
        assert!(all.iter().all(|error| words(&**error) == CLOSED));
        let ended = LinkStateError::SessionStopped(SessionStopReason::RemoteEnded);
        assert_eq!(words(&ended), "the session ended");
        assert_eq!(words(&SendError::LinkStateError(LinkStateError::IllegalState)), "Illegal local state");
    }

    #[test]
    fn conditions_have_the_class_that_the_service_documents() {
        assert_eq!(class("com.microsoft:server-busy"), Class::Busy(Duration::from_secs(4)));
        assert_eq!(class("com.microsoft:timeout"), Class::Busy(Duration::from_secs(2)));
        assert_eq!(class("amqp:resource-limit-exceeded"), Class::Busy(Duration::from_secs(10)));
        assert_eq!(class("amqp:link:redirect"), Class::Denied);
        assert_eq!(class("amqp:unauthorized-access"), Class::Denied);
        assert_eq!(class("amqp:link:message-size-exceeded"), Class::TooLarge);
        assert_eq!(class("com.microsoft:argument-error"), Class::Refused);
        for passing in
            ["amqp:internal-error", "amqp:link:detach-forced", "com.microsoft:operation-cancelled", "anything"]
        {
            assert_eq!(class(passing), Class::Transient, "{passing}");
        }
    }
}
