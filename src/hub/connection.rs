//! One client: SASL, sessions, links.

use super::Shared;
use super::address::Address;
use super::consumer::{self, Start};
use super::epoch::Taken;
use super::node::{self, Pairs};
use super::producer;
use super::refusal::{Grants, about_us, error};
use crate::platform::stream::{Cutter, Stream};
use fe2o3_amqp::acceptor::{
    ConnectionAcceptor, LinkAcceptor, LinkEndpoint, ListenerSessionHandle, SaslAnonymousMechanism, SessionAcceptor,
    SupportedReceiverSettleModes, SupportedSenderSettleModes,
};
use fe2o3_amqp_types::definitions::{
    AmqpError, Error, ErrorCondition, LinkError, ReceiverSettleMode, Role, SenderSettleMode,
};
use fe2o3_amqp_types::messaging::TargetArchetype;
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::{Symbol, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const FRAME_BYTES: u32 = 64 << 10;
const IDLE_TIME_OUT_MS: u32 = 240_000;
const QUEUE: usize = 256;

/// Serves a client until its connection ends.
pub async fn serve(stream: Box<dyn Stream>, shared: Arc<Shared>, socket: Cutter) {
    let acceptor = ConnectionAcceptor::builder()
        .container_id("forebay-hub")
        .max_frame_size(FRAME_BYTES)
        .channel_max(255_u16)
        .idle_time_out(IDLE_TIME_OUT_MS)
        .properties(about_us())
        .buffer_size(QUEUE)
        .sasl_acceptor(SaslAnonymousMechanism::new())
        .build();
    let mut connection = match timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            return shared.refuse(&format!("a client does not speak AMQP with SASL ANONYMOUS: {error:?}"));
        }
        Err(_) => return shared.refuse("a client did not finish the AMQP handshake in time"),
    };
    let sessions = SessionAcceptor::builder().handle_max(255_u32).properties(about_us()).buffer_size(QUEUE).build();
    let grants = Arc::new(Grants::default());
    while let Ok(session) = sessions.accept(&mut connection).await {
        tokio::spawn(links(session, shared.clone(), grants.clone(), socket.clone()));
    }
    // However the connection ended, the client is gone.
    let _ = connection.on_close().await;
}

async fn links(mut session: ListenerSessionHandle, shared: Arc<Shared>, grants: Arc<Grants>, socket: Cutter) {
    let pairs = Pairs::default();
    while let Some(attach) = session.next_incoming_attach().await {
        let text = address_of(&attach).unwrap_or_default();
        let address = Address::parse(&text);
        let (start, epoch) = (Start::of(&attach), epoch(&attach));
        let refused = match &address {
            None => Some(error(AmqpError::NotFound, format!("the messaging entity '{text}' could not be found"))),
            Some(Address::Hub { hub, partition, .. }) => refusal(&shared, &grants, hub, *partition),
            Some(_) => None,
        };
        let numbered = address.as_ref().filter(|_| refused.is_none());
        let numbered = numbered.and_then(|address| shared.producers.asked(&attach, address));
        let acceptor = LinkAcceptor::builder()
            .supported_receiver_settle_modes(SupportedReceiverSettleModes::First)
            .fallback_receiver_settle_mode(ReceiverSettleMode::First)
            .supported_sender_settle_modes(SupportedSenderSettleModes::Mixed)
            .fallback_sender_settle_mode(SenderSettleMode::Mixed)
            .max_message_size(shared.settings.max_message_size)
            .properties(numbered.as_ref().map_or_else(about_us, |(_, answered)| answered.clone()))
            .build();
        let Ok(endpoint) = acceptor.accept_incoming_attach(attach, &mut session).await else {
            continue;
        };
        if let Some(error) = refused {
            shared.refuse(error.description.as_deref().unwrap_or("refused"));
            tokio::spawn(close(endpoint, error));
            continue;
        }
        match (address, endpoint) {
            (Some(Address::Hub { hub, partition, publisher, .. }), LinkEndpoint::Receiver(link)) => {
                let to = producer::To { hub, partition, publisher, numbered: numbered.map(|(producer, _)| producer) };
                tokio::spawn(producer::serve(link, shared.clone(), to, socket.clone()));
            }
            (Some(Address::Hub { hub, partition: Some(partition), group, .. }), LinkEndpoint::Sender(link)) => {
                match shared.epochs.sit((hub, group.unwrap_or_default(), partition), epoch) {
                    Ok(place) => drop(tokio::spawn(consumer::serve(link, shared.clone(), place, start))),
                    Err(taken) => drop(tokio::spawn(close(LinkEndpoint::Sender(link), no_place(taken)))),
                }
            }
            (Some(node @ (Address::Cbs | Address::Management)), LinkEndpoint::Receiver(link)) => {
                let reply = pairs.request(&node);
                tokio::spawn(node::requests(link, reply, node, shared.clone(), grants.clone()));
            }
            (Some(node @ (Address::Cbs | Address::Management)), LinkEndpoint::Sender(link)) => {
                if let Some(replies) = pairs.reply(&node) {
                    tokio::spawn(node::replies(link, replies));
                }
            }
            (_, endpoint) => {
                let description = format!("receive from a partition of '{text}', not from the hub");
                tokio::spawn(close(endpoint, error(AmqpError::NotAllowed, description)));
            }
        }
    }
    let _ = session.on_end().await;
}

/// The epoch that a receiver asks for (`com.microsoft:epoch`).
fn epoch(attach: &Attach) -> Option<i64> {
    match attach.properties.as_ref()?.get("com.microsoft:epoch")? {
        Value::Long(epoch) => Some(*epoch),
        Value::Int(epoch) => Some(i64::from(*epoch)),
        _ => None,
    }
}

fn no_place(taken: Taken) -> Error {
    match taken {
        Taken::Stolen(epoch) => error(
            LinkError::Stolen,
            format!("At least one receiver for the endpoint is created with epoch of '{epoch}'."),
        ),
        Taken::Full => error(
            AmqpError::ResourceLimitExceeded,
            "Exceeded the maximum number of allowed receivers per partition: 5.",
        ),
    }
}

fn refusal(shared: &Shared, grants: &Grants, hub: &str, partition: Option<u16>) -> Option<Error> {
    if !grants.allows(hub) {
        let text = format!("Unauthorized access. a valid token for '{hub}' is required on this connection");
        return Some(error(AmqpError::UnauthorizedAccess, text));
    }
    let Some(memory) = shared.hubs.get(hub) else {
        return Some(error(AmqpError::NotFound, format!("the event hub '{hub}' could not be found")));
    };
    let count = memory.count();
    let unknown = partition.filter(|partition| *partition >= count)?;
    let text = format!("partition {unknown} is out of range: '{hub}' has {count}");
    Some(error(ErrorCondition::Custom(Symbol::from("com.microsoft:argument-out-of-range")), text))
}

/// The address of a link: its target when the client sends, its source when the client receives.
fn address_of(attach: &Attach) -> Option<String> {
    match attach.role {
        Role::Sender => match attach.target.as_deref()? {
            TargetArchetype::Target(target) => target.address.clone(),
            #[allow(unreachable_patterns)]
            _ => None,
        },
        Role::Receiver => attach.source.as_deref()?.address.clone(),
    }
}

async fn close(endpoint: LinkEndpoint, error: Error) {
    let _ = timeout(PATIENCE, async {
        match endpoint {
            LinkEndpoint::Sender(link) => link.close_with_error(error).await,
            LinkEndpoint::Receiver(link) => link.close_with_error(error).await,
        }
    })
    .await;
}
