"""All messages of a topic as JSON: kafka_read.py BROKERS TOPIC"""
import base64
import json
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

brokers, topic = sys.argv[1:3]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "enable.auto.commit": False})
found = consumer.list_topics(topic, timeout=20).topics[topic]
messages = []
deadline = time.monotonic() + 60


def watermarks(partition):
    """First and next offset. While a partition's leader moves, the one that is asked may not be it."""
    while True:
        try:
            return consumer.get_watermark_offsets(partition, timeout=20)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
            consumer.list_topics(topic, timeout=20)
            time.sleep(0.2)


def next_message():
    """The next one, or what is in the way at the deadline."""
    while True:
        message = consumer.poll(1)
        if message is not None and not message.error() or time.monotonic() > deadline:
            return message


for number in sorted(found.partitions):
    low, high = watermarks(TopicPartition(topic, number))
    consumer.assign([TopicPartition(topic, number, low)])
    position = low
    while position < high:
        message = next_message()
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
