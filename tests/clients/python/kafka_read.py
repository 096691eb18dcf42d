"""All messages of a topic as JSON: kafka_read.py BROKERS TOPIC"""
import base64
import json
import sys

from confluent_kafka import Consumer, TopicPartition

brokers, topic = sys.argv[1:3]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "enable.auto.commit": False})
found = consumer.list_topics(topic, timeout=20).topics[topic]
messages = []
for number in sorted(found.partitions):
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
    consumer.assign([TopicPartition(topic, number, low)])
    position = low
    while position < high:
        message = consumer.poll(20)
        if message is None or message.error():
            sys.exit(f"partition {number} ends at {high}, and after {position} comes {message and message.error()}")
        position = message.offset() + 1
        messages.append({
            "partition": number,
            "offset": message.offset(),
            "timestamp": message.timestamp()[1],
            "key": (message.key() or b"").decode(),
            "headers": {name: value.decode() for name, value in message.headers()},
            "value": base64.b64encode(message.value()).decode(),
        })
consumer.close()
print(json.dumps(messages))
