"""The asynchronous client: sends, and receives as an event processor with checkpoints; prints JSON.

processor.py CONNECTION
"""
import asyncio
import json
import sys
import time

from azure.eventhub import EventData
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, EventHubProducerClient

CONNECTION = sys.argv[1]
COUNT = 40


class Checkpoints(CheckpointStore):
    """In memory, for several clients of one process."""

    def __init__(self):
        self.ownership, self.checkpoints = {}, {}

    async def list_ownership(self, namespace, hub, group, **kwargs):
        return list(self.ownership.values())

    async def claim_ownership(self, ownership_list, **kwargs):
        for ownership in ownership_list:
            ownership["etag"] = str(len(self.ownership))
            ownership["last_modified_time"] = time.time()
            self.ownership[ownership["partition_id"]] = ownership
        return ownership_list

    async def update_checkpoint(self, checkpoint, **kwargs):
        self.checkpoints[checkpoint["partition_id"]] = checkpoint

    async def list_checkpoints(self, namespace, hub, group, **kwargs):
        return list(self.checkpoints.values())


async def process(checkpoints, enough):
    """What a processor receives until it has enough; each event is checkpointed."""
    seen, done = [], asyncio.Event()
    client = EventHubConsumerClient.from_connection_string(
        CONNECTION, consumer_group="$Default", checkpoint_store=checkpoints, load_balancing_interval=1
    )

    async def on_event(context, event):
        if len(seen) < enough:
            seen.append(event.body_as_str())
            await context.update_checkpoint(event)
        if len(seen) >= enough:
            done.set()

    receiving = asyncio.ensure_future(client.receive(on_event=on_event, starting_position="-1"))
    await asyncio.wait_for(done.wait(), 60)
    await client.close()
    await receiving
    return seen


async def displaced():
    """A receiver with an epoch is displaced by one with a higher epoch: the error that it gets."""
    errors, begun = [], asyncio.Event()
    low = EventHubConsumerClient.from_connection_string(CONNECTION, consumer_group="$Default", retry_total=0)
    high = EventHubConsumerClient.from_connection_string(CONNECTION, consumer_group="$Default")

    async def on_event(context, event):
        begun.set()

    async def on_error(context, error):
        errors.append(f"{type(error).__name__}: {error}")

    async def wait_for(condition):
        for _ in range(300):
            if condition():
                return
            await asyncio.sleep(0.1)

    where = {"partition_id": "0", "starting_position": "-1"}
    first = asyncio.ensure_future(low.receive(on_event=on_event, on_error=on_error, owner_level=1, **where))
    await asyncio.wait_for(begun.wait(), 30)
    begun.clear()
    second = asyncio.ensure_future(high.receive(on_event=on_event, owner_level=2, **where))
    await asyncio.wait_for(begun.wait(), 30)
    await wait_for(lambda: errors)
    await low.close()
    await high.close()
    await asyncio.gather(first, second)
    return errors


async def main():
    async with EventHubProducerClient.from_connection_string(CONNECTION) as producer:
        for partition in await producer.get_partition_ids():
            batch = await producer.create_batch(partition_id=partition)
            for n in range(COUNT // 4):
                batch.add(EventData(f"aio-{partition}-{n}"))
            await producer.send_batch(batch)
    checkpoints = Checkpoints()
    first = await process(checkpoints, COUNT // 2)
    second = await process(checkpoints, COUNT - COUNT // 2)
    print(json.dumps({"first": first, "second": second, "displaced": await displaced()}))


asyncio.run(main())
