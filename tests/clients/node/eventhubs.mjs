// Microsoft's JavaScript client: sends in the ways it knows, receives all there is; prints JSON.
//   node eventhubs.mjs CONNECTION amqp|websocket EXPECTED
import { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } from "@azure/event-hubs";
import { gunzipSync } from "node:zlib";
import WebSocket from "ws";

const [connection, transport, expected] = process.argv.slice(2);
const options = transport === "websocket" ? { webSocketOptions: { webSocket: WebSocket } } : {};

const producer = new EventHubProducerClient(connection, options);
const partitions = await producer.getPartitionIds();
const keyed = await producer.createBatch({ partitionKey: "press-7" });
for (let n = 0; n < 5; n++) keyed.tryAdd({ body: Buffer.from(`js-${n}`), properties: { n, text: "ü" } });
await producer.sendBatch(keyed);
const placed = await producer.createBatch({ partitionId: "1" });
placed.tryAdd({ body: Buffer.alloc(900_000, 120) });
await producer.sendBatch(placed);
await producer.close();

const consumer = new EventHubConsumerClient("$Default", connection, options);
const seen = [];
const all = new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error(`only ${seen.length} of ${expected} came`)), 40_000).unref();
  consumer.subscribe({
    processEvents: async (events, context) => {
      for (const event of events) seen.push({ partition: context.partitionId, event });
      if (seen.length >= Number(expected)) resolve();
    },
    processError: async (error) => reject(error),
  }, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1 });
});
await all;
await consumer.close();

const own = seen.filter(({ event }) => event.properties?.text === "ü");
const readings = seen.filter(({ event }) => event.properties?.device);
const lines = readings.flatMap(({ event }) => gunzipSync(event.body).toString().trim().split("\n").map((line) => JSON.parse(line)));
console.log(JSON.stringify({
  partitions,
  keyed: own.map(({ event }) => event.body.toString()),
  keyed_partitions: new Set(own.map(({ partition }) => partition)).size,
  key: own[0]?.event.partitionKey,
  large: seen.some(({ event }) => event.body.length === 900_000),
  readings: lines.map((line) => line.payload),
  reading_key: readings[0]?.event.partitionKey,
  about: readings[0]?.event.properties,
}));
process.exit(0);
