//! Claims-based security: tokens over the `$cbs` link pair (event-hubs.md, section 2).

use super::{entra, sas};
use crate::config::value::{Credential, EventHubs};
use crate::platform::{clock, random};
use crate::sink::{Class, DeliverError};
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Delivery, Receiver, Sender};
use fe2o3_amqp_types::messaging::{ApplicationProperties, Body, Message, MessageId, Properties};
use fe2o3_amqp_types::primitives::{SimpleValue, Timestamp, Value};
use std::time::Duration;
use tokio::time::timeout;

/// What a shared access signature is called.
const SAS: &str = "servicebus.windows.net:sastoken";
const NODE: &str = "forebay-cbs";
/// No answer in this time means that the connection is of no use.
const PATIENCE: Duration = Duration::from_secs(20);
const CREDIT: u32 = 20;

/// The link pair of a connection.
#[derive(Debug)]
pub struct Cbs {
    requests: Sender,
    replies: Receiver,
    next: u64,
}

/// When a token is to be made again, and when it ends; seconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    /// Before it ends.
    pub at_s: u64,
    /// When it ends.
    pub until_s: u64,
}

impl Cbs {
    /// Attaches the pair.
    ///
    /// # Errors
    /// When the service does not have it.
    pub async fn attach(session: &mut SessionHandle<()>) -> Result<Self, DeliverError> {
        let failed = |what: String| DeliverError::transient(format_args!("the $cbs link was not attached: {what}"));
        let requests = Sender::builder().name("forebay-cbs-request").source(NODE).target("$cbs").attach(session);
        let requests = requests.await.map_err(|error| failed(format!("{error:?}")))?;
        let replies = Receiver::builder()
            .name("forebay-cbs-reply")
            .source("$cbs")
            .target(NODE)
            .credit_mode(CreditMode::Auto(CREDIT))
            .attach(session);
        let replies = replies.await.map_err(|error| failed(format!("{error:?}")))?;
        Ok(Self { requests, replies, next: 1 })
    }

    /// Puts a token for the event hub; says when to do it again.
    ///
    /// # Errors
    /// `Denied` when the service refuses the token.
    pub async fn put_token(&mut self, settings: &EventHubs) -> Result<Option<Renewal>, DeliverError> {
        let resource = settings.connection.endpoint.address("sb", &settings.entity);
        let now = clock::wall_s();
        let (kind, token, expiry) = match &settings.connection.credential {
            Credential::Entra(entra) => {
                let (token, until) = entra::token(entra, settings.ca.as_deref()).await?;
                ("jwt", token, Some(until))
            }
            Credential::Key { name, key } => {
                let until = now + sas::LIFE_S;
                (SAS, sas::sign(&resource, name, key.expose(), until), Some(until))
            }
            Credential::Signature(token) => (SAS, token.expose().to_string(), None),
        };
        let done = timeout(PATIENCE, self.exchange(kind, &resource, token, expiry)).await;
        let (status, description) = done.map_err(|_| DeliverError::transient("no answer to the token"))??;
        if (200..300).contains(&status) {
            // At seven to eight tenths of its life, so that a few failed tries do no harm, and that a fleet that
            // was started together does not renew together.
            let tenth = expiry.map_or(0, |expiry| expiry.saturating_sub(now) / 10);
            let at = |until: u64| until - 2 * tenth - random::below(tenth + 1);
            return Ok(expiry.map(|until_s| Renewal { at_s: at(until_s), until_s }));
        }
        let denied = matches!(status, 400..=404) || matches!(settings.connection.credential, Credential::Signature(_));
        let class = if denied { Class::Denied } else { Class::Transient };
        let hint = match settings.connection.credential {
            Credential::Entra(_) => "check that it has the role Azure Event Hubs Data Sender, and this machine's clock",
            _ => "check the connection string's key name and key, and this machine's clock",
        };
        Err(DeliverError { class, message: format!("the hub refuses the token ({status} {description}); {hint}") })
    }

    async fn exchange(
        &mut self,
        kind: &str,
        resource: &str,
        token: String,
        expiry: Option<u64>,
    ) -> Result<(i64, String), DeliverError> {
        let id = self.next;
        self.next += 1;
        let mut about = ApplicationProperties::builder()
            .insert("operation", "put-token")
            .insert("type", kind)
            .insert("name", resource);
        if let Some(expiry) = expiry {
            let at = i64::try_from(expiry.saturating_mul(1000)).unwrap_or(i64::MAX);
            about = about.insert("expiration", Timestamp::from_milliseconds(at));
        }
        let message = Message::builder()
            .properties(Properties::builder().message_id(id).reply_to(NODE).build())
            .application_properties(about.build())
            .value(token)
            .build();
        self.requests.send(message).await.map_err(|error| DeliverError::transient(format_args!("{error:?}")))?;
        loop {
            let reply: Delivery<Body<Value>> =
                self.replies.recv().await.map_err(|error| DeliverError::transient(format_args!("{error:?}")))?;
            self.replies.accept(&reply).await.map_err(|error| DeliverError::transient(format_args!("{error:?}")))?;
            let message = reply.message();
            let correlation = message.properties.as_ref().and_then(|properties| properties.correlation_id.as_ref());
            if correlation == Some(&MessageId::Ulong(id)) {
                return Ok(status(message.application_properties.as_ref()));
            }
        }
    }

    /// Something to send, so that neither the service nor a router takes us for gone.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn keep_alive(&mut self) -> Result<(), DeliverError> {
        let sent = timeout(PATIENCE, self.replies.set_credit(CREDIT)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(DeliverError::transient(format_args!("{error:?}"))),
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
