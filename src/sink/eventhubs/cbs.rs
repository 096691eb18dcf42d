//! Claims-based security: tokens over the `$cbs` link pair (`docs/reference/event-hubs.md`, "CBS").

use super::Settings as EventHubs;
use super::error::{from_attach, from_ended, from_service};
use super::token::{Renewal, Token};
use crate::sink::DeliverError;
use fe2o3_amqp::link::ReceiverAttachError;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Delivery, Receiver, Sender};
use fe2o3_amqp_types::messaging::{ApplicationProperties, Body, Message, MessageId, Properties};
use fe2o3_amqp_types::primitives::{SimpleValue, Timestamp, Value};
use std::time::Duration;
use tokio::time::timeout;

const NODE: &str = "forebay-cbs";
/// The time limit for an answer; after it the connection is of no use.
const PATIENCE: Duration = Duration::from_secs(20);
const CREDIT: u32 = 20;
const ENDED: &str = "the $cbs link ended";

/// The link pair of a connection.
#[derive(Debug)]
pub struct Cbs {
    requests: Sender,
    replies: Receiver,
    next: u64,
}

impl Cbs {
    /// Attaches the pair of links.
    ///
    /// # Errors
    /// When the service does not attach one of the links.
    pub async fn attach(session: &mut SessionHandle<()>) -> Result<Self, DeliverError> {
        let failed = |what: String| DeliverError::transient(format_args!("the $cbs link was not attached: {what}"));
        let requests = Sender::builder().name("forebay-cbs-request").source(NODE).target("$cbs").attach(session);
        let requests = requests.await.map_err(|error| failed(from_attach(&error).message))?;
        let replies = Receiver::builder()
            .name("forebay-cbs-reply")
            .source("$cbs")
            .target(NODE)
            .credit_mode(CreditMode::Auto(CREDIT))
            .attach(session);
        let replies = replies.await.map_err(|error| match error {
            ReceiverAttachError::RemoteClosedWithError(error) => failed(from_service(&error).message),
            other => from_ended("the $cbs link was not attached", &other),
        })?;
        Ok(Self { requests, replies, next: 1 })
    }

    /// Sends a token for the event hub, and returns the time of its renewal.
    ///
    /// # Errors
    /// `Denied` when the service refuses the token.
    pub async fn put_token(&mut self, settings: &EventHubs) -> Result<Option<Renewal>, DeliverError> {
        let resource = settings.connection.endpoint.address("sb", &settings.audience());
        let token = Token::make(settings, "sb").await?;
        let done = timeout(PATIENCE, self.exchange(&token, &resource)).await;
        let (status, description) = done.map_err(|_| DeliverError::transient("no answer to the token"))??;
        if (200..300).contains(&status) { Ok(token.renewal()) } else { Err(token.refused(status, &description)) }
    }

    async fn exchange(&mut self, token: &Token, resource: &str) -> Result<(i64, String), DeliverError> {
        let id = self.next;
        self.next += 1;
        let mut about = ApplicationProperties::builder()
            .insert("operation", "put-token")
            .insert("type", token.kind)
            .insert("name", resource);
        if let Some(expiry) = token.until_s {
            let at = i64::try_from(expiry.saturating_mul(1000)).unwrap_or(i64::MAX);
            about = about.insert("expiration", Timestamp::from_milliseconds(at));
        }
        let message = Message::builder()
            .properties(Properties::builder().message_id(id).reply_to(NODE).build())
            .application_properties(about.build())
            .value(token.text.clone())
            .build();
        self.requests.send(message).await.map_err(|error| from_ended(ENDED, &error))?;
        loop {
            let reply: Delivery<Body<Value>> = self.replies.recv().await.map_err(|error| from_ended(ENDED, &error))?;
            self.replies.accept(&reply).await.map_err(|error| from_ended(ENDED, &error))?;
            let message = reply.message();
            let correlation = message.properties.as_ref().and_then(|properties| properties.correlation_id.as_ref());
            if correlation == Some(&MessageId::Ulong(id)) {
                return Ok(status(message.application_properties.as_ref()));
            }
        }
    }

    /// Sends the credit of the link again, so that neither the service nor a router takes the connection for dead.
    ///
    /// # Errors
    /// When the link has ended, or the connection takes nothing.
    pub async fn keep_alive(&mut self) -> Result<(), DeliverError> {
        let sent = timeout(PATIENCE, self.replies.set_credit(CREDIT)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(from_ended(ENDED, &error)),
            Err(_) => Err(DeliverError::transient("the connection takes nothing")),
        }
    }
}

fn status(properties: Option<&ApplicationProperties>) -> (i64, String) {
    let find = |names: [&str; 2]| {
        let properties = properties?;
        names.iter().find_map(|name| properties.get(*name))
    };
    let code = match find(["status-code", "statusCode"]) {
        Some(SimpleValue::Int(code)) => i64::from(*code),
        Some(SimpleValue::Long(code)) => *code,
        Some(SimpleValue::Uint(code)) => i64::from(*code),
        _ => 0,
    };
    let description = match find(["status-description", "statusDescription"]) {
        Some(SimpleValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    (code, description)
}
