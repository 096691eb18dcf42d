"""Sends and receives over WebSockets with TLS: websocket.py CONNECTION PORT CA; prints JSON."""
import json
import sys
import threading

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient, TransportType

connection, port, ca = sys.argv[1:4]
options = {
    "transport_type": TransportType.AmqpOverWebsocket,
    "custom_endpoint_address": f"sb://localhost:{port}",
    "connection_verify": ca,
}
with EventHubProducerClient.from_connection_string(connection, **options) as producer:
    batch = producer.create_batch(partition_id="0")
    for n in range(5):
        batch.add(EventData(f"py-{n}"))
    producer.send_batch(batch)

consumer = EventHubConsumerClient.from_connection_string(connection, consumer_group="$Default", **options)
seen, done = [], threading.Event()


def on_event(context, event):
    seen.append(event.body_as_str())
    if len(seen) == 5:
        done.set()


thread = threading.Thread(
    target=lambda: consumer.receive(on_event=on_event, partition_id="0", starting_position="-1"), daemon=True
)
thread.start()
done.wait(30)
consumer.close()
print(json.dumps(seen))
