//! Microsoft's Rust SDK: sends a keyed batch and a large event, receives all there is; prints JSON.
//!
//!     forebay-test-client CONNECTION ENDPOINT EXPECTED      ENDPOINT as in amqp://127.0.0.1:5672, or
//!     wss://localhost:443 for AMQP over a WebSocket, with the roots that SSL_CERT_FILE has

use azure_messaging_eventhubs::models::{AmqpTransport, EventData};
use azure_messaging_eventhubs::{
    ConsumerClient, EventDataBatchOptions, OpenReceiverOptions, ProducerClient, StartLocation, StartPosition,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use std::error::Error;
use std::time::Duration;

/// Nothing more comes after such a silence.
const SILENCE: Duration = Duration::from_secs(2);

/// The SDK waits for ever where an answer escapes it.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let done = tokio::time::timeout(PATIENCE, run()).await;
    // Its own way out waits for links that nobody needs any more.
    std::process::exit(match done {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            eprintln!("{error}");
            1
        }
        Err(_) => {
            eprintln!("not done in {PATIENCE:?}");
            1
        }
    });
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [connection, endpoint, expected] = &arguments[..] else {
        return Err("CONNECTION ENDPOINT EXPECTED".into());
    };
    let expected: usize = expected.parse()?;
    let transport = if endpoint.starts_with("wss:") { AmqpTransport::WebSocket } else { AmqpTransport::Tcp };
    let producer = ProducerClient::builder().with_custom_endpoint(endpoint.clone()).with_transport(transport);
    let producer = producer.open_with_connection_string(connection, None).await?;
    let partitions = producer.get_eventhub_properties().await?.partition_ids;
    let options = EventDataBatchOptions { partition_key: Some("press-7".into()), ..Default::default() };
    let batch = producer.create_batch(Some(options)).await?;
    for n in 0..5 {
        let event =
            EventData::builder().with_body(format!("rust-{n}").into_bytes()).add_property("n".into(), n).build();
        assert!(batch.try_add_event_data(event, None)?);
    }
    producer.send_batch(batch, None).await?;
    let options = EventDataBatchOptions { partition_id: Some("1".into()), ..Default::default() };
    let batch = producer.create_batch(Some(options)).await?;
    assert!(batch.try_add_event_data(vec![b'x'; 400_000], None)?);
    producer.send_batch(batch, None).await?;
    producer.close().await?;

    let consumer = ConsumerClient::builder().with_custom_endpoint(endpoint.clone()).with_transport(transport);
    let consumer = consumer.open_with_connection_string(connection, None).await?;
    let mut seen = Vec::new();
    for partition in &partitions {
        let start_position = Some(StartPosition { location: StartLocation::Earliest, inclusive: false });
        let options = OpenReceiverOptions { start_position, ..Default::default() };
        let receiver = consumer.open_receiver_on_partition(partition.clone(), Some(options)).await?;
        let mut events = receiver.stream_events();
        while seen.len() < expected {
            let Ok(Some(event)) = tokio::time::timeout(SILENCE, events.next()).await else { break };
            let event = event?;
            let data = event.event_data();
            seen.push(serde_json::json!({
                "partition": partition,
                "key": event.partition_key(),
                "body": STANDARD.encode(data.body().unwrap_or_default()),
                "content_type": data.content_type(),
                "properties": data.properties().map_or(0, std::collections::HashMap::len),
            }));
        }
    }
    println!("{}", serde_json::json!({ "partitions": partitions, "events": seen }));
    Ok(())
}
