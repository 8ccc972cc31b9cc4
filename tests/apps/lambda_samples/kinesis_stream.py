"""A Kinesis stream: decode each record; stop at the first that cannot be, so that it is tried again from there."""

import base64
import json


def lambda_handler(event, context):
    total = 0
    for record in event["Records"]:
        try:
            total += json.loads(base64.b64decode(record["kinesis"]["data"]))["amount"]
        except (ValueError, KeyError):
            return {"batchItemFailures": [{"itemIdentifier": record["kinesis"]["sequenceNumber"]}]}
    print(f"total {total}")
    return {"batchItemFailures": []}
