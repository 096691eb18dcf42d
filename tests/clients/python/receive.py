"""Reads what Forebay sent, as docs/design/envelope.md tells consumers to; prints JSON."""
import gzip
import json
import sys

from common import body, receive

connection, expected = sys.argv[1], int(sys.argv[2])
plain = lambda v: v.decode() if isinstance(v, bytes) else v
numbers, highest, first = [], {}, None
events = receive(connection, 10**9, seconds=12)
for _, event in events:
    about = {plain(k): plain(v) for k, v in event.properties.items()}
    first = first or (about, event)
    lane = (about["store"], about["stream"], about["epoch"], about["lane"])
    for line in gzip.decompress(body(event)).splitlines():
        record = json.loads(line)
        if record["seq"] > highest.get(lane, 0):
            highest[lane] = record["seq"]
            numbers.append(record["payload"]["n"])
right = numbers == list(range(expected))
print(json.dumps({
    "numbers": f"0..{expected - 1} in order, each once" if right else f"{len(numbers)}: {numbers[:20]}",
    "content_type": plain(first[1].content_type),
    "partition_key": plain(first[1].partition_key),
    "first_properties": first[0],
}))
