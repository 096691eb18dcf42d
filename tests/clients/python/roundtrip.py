"""Sends in every way the client knows, receives in every way the hub serves; prints JSON."""
import json
import sys

from azure.eventhub import EventData, EventHubProducerClient

from common import body, receive

connection = sys.argv[1]
out = {}
producer = EventHubProducerClient.from_connection_string(connection)
with producer:
    out["partitions"] = producer.get_eventhub_properties()["partition_ids"]
    batch = producer.create_batch(partition_id="1")
    for n in range(10):
        event = EventData(f"one-{n}")
        event.properties = {"n": n, "text": "ü"}
        batch.add(event)
    producer.send_batch(batch)
    batch = producer.create_batch(partition_key="press-7")
    for n in range(5):
        batch.add(EventData(f"keyed-{n}"))
    producer.send_batch(batch)
    batch = producer.create_batch(partition_id="2")
    batch.add(EventData(b"x" * 900_000))
    producer.send_batch(batch)
    producer.send_event(EventData("single"))
    last = producer.get_partition_properties("1")
    assert last["beginning_sequence_number"] == 0 and not last["is_empty"], last

events = receive(connection, 17)
texts = [(partition, body(event)) for partition, event in events]
out["to_partition"] = [t.decode() for p, t in texts if p == "1" and t.startswith(b"one-")]
keyed = [(p, e) for p, e in events if body(e).startswith(b"keyed-")]
out["keyed"] = sum(1 for _, e in keyed if e.partition_key == b"press-7")
out["keyed_partitions"] = len({p for p, _ in keyed})
out["large"] = max(len(t) for _, t in texts)
out["single"] = any(t == b"single" for _, t in texts)
third = next(e for p, e in events if body(e) == b"one-3")
plain = lambda v: v.decode() if isinstance(v, bytes) else v
out["properties"] = {plain(k): plain(v) for k, v in third.properties.items()}
ones = [e for p, e in events if p == "1" and body(e).startswith(b"one-")]
out["from_sequence"] = [
    body(e).decode()
    for _, e in receive(connection, 3, "1", ones[7].sequence_number, inclusive=True)
    if body(e).startswith(b"one-")
]
out["from_offset"] = [
    body(e).decode() for _, e in receive(connection, 2, "1", ones[7].offset) if body(e).startswith(b"one-")
]
print(json.dumps(out))
