// Microsoft's JavaScript client as an idempotent producer: what it sends again is known by its number.
//   node idempotent.mjs CONNECTION COUNT
import { EventHubBufferedProducerClient } from "@azure/event-hubs";

const [connection, count] = process.argv.slice(2);
const failed = [];
const producer = new EventHubBufferedProducerClient(connection, {
  enableIdempotentRetries: true,
  onSendEventsErrorHandler: async ({ error }) => failed.push(`${error}`),
  retryOptions: { maxRetries: 5, retryDelayInMs: 100 },
});
for (let n = 0; n < Number(count); n++) {
  await producer.enqueueEvent({ body: Buffer.from(`event-${n}`) }, { partitionId: "0" });
  await producer.flush();
}
await producer.close();
console.log(JSON.stringify(failed));
process.exit(0);
