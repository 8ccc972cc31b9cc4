"""An SQS trigger that reports the messages it could not process."""

import json


def process(message):
    order = json.loads(message["body"])
    if order["quantity"] < 1:
        raise ValueError(f"order {order['id']} orders nothing")
    print(f"order {order['id']} processed")


def lambda_handler(event, context):
    failures = []
    for record in event["Records"]:
        try:
            process(record)
        except Exception as error:
            print(f"{record['messageId']}: {error!r}")
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
