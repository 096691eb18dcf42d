"""Tries to send and prints the kind of error."""
import json
import sys

from azure.eventhub import EventData, EventHubProducerClient

producer = EventHubProducerClient.from_connection_string(sys.argv[1], retry_total=0)
try:
    with producer:
        producer.send_batch([EventData("x")])
    print(json.dumps({"error": None}))
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}))
