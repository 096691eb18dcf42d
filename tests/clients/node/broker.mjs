// An MQTT broker that shares no code with mosquitto: node broker.mjs PORT
import { createServer } from "node:net";
import { Aedes } from "aedes";

const broker = await Aedes.createBroker({ queueLimit: 1_000_000 });
createServer(broker.handle).listen(Number(process.argv[2]), "127.0.0.1");
