"""What the scripts share: receiving a known number of events, from all partitions or one."""
import threading

from azure.eventhub import EventHubConsumerClient


def body(event):
    data = event.body
    return data if isinstance(data, bytes) else b"".join(data)


def receive(connection, count, partition=None, position="-1", inclusive=False, seconds=40):
    """The first `count` events as (partition, event), in order of each partition."""
    client = EventHubConsumerClient.from_connection_string(connection, consumer_group="$Default")
    events, lock = [], threading.Lock()
    done = threading.Event()

    def on_batch(context, batch):
        with lock:
            events.extend((context.partition_id, event) for event in batch)
            if len(events) >= count:
                done.set()

    def run():
        more = {} if partition is None else {"partition_id": partition}
        client.receive_batch(
            on_event_batch=on_batch, max_batch_size=300, max_wait_time=0.2, starting_position=position,
            starting_position_inclusive=inclusive, **more
        )

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    done.wait(seconds)
    client.close()
    thread.join(10)
    return sorted(events, key=lambda item: (item[0], item[1].sequence_number))
