"""Sends over HTTP as Azure's REST interface is documented, with nothing but Python: https_send.py CONNECTION URL

A single event with properties, a batch, one to a partition, and one with a wrong key; prints the answers.
"""
import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

connection, url = sys.argv[1:3]
parts = dict(part.split("=", 1) for part in connection.split(";"))
name, key, hub = parts["SharedAccessKeyName"], parts["SharedAccessKey"], parts["EntityPath"]
BATCH = "application/vnd.microsoft.servicebus.json"


def token(key):
    resource = urllib.parse.quote_plus(f"{url}/{hub}".lower())
    end = str(int(time.time()) + 600)
    signature = hmac.new(key.encode(), f"{resource}\n{end}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote_plus(base64.b64encode(signature))
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={end}&skn={name}"


def send(path, body, key=key, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(
        f"{url}/{hub}{path}?api-version=2014-01", body.encode(), {"Authorization": token(key), **headers}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


batch = json.dumps([{"Body": f"batch-{n}", "UserProperties": {"n": n}} for n in range(3)])
print(json.dumps([
    send("/messages", "single", Content_Type="text/plain", BrokerProperties='{"PartitionKey": "press-7"}', colour='"red"'),
    send("/messages", batch, Content_Type=BATCH),
    send("/partitions/2/messages", "placed", Content_Type="text/plain"),
    send("/messages", "never", key="wrong", Content_Type="text/plain"),
]))
