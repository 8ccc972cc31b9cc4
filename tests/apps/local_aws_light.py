"""Handlers that write down what they were given, for tests of sources; nothing here needs AWS."""

import json
import os
import time
from pathlib import Path


def note(kind, **told):
    """One line of the file NOTES."""
    with Path(os.environ["NOTES"]).open("a") as file:
        file.write(json.dumps({"kind": kind, "at": time.time(), **told}) + "\n")


def seen(event, context):
    """Whatever the event: a note of each record."""
    record = event["Records"][0]
    source = record.get("eventSource") or record["EventSource"]
    if source in ("aws:dynamodb", "aws:sqs"):
        for one in event["Records"]:
            note({"aws:dynamodb": "table"}.get(source, source), record=one)
    else:
        note(source, record=record, records=len(event["Records"]), request=context.aws_request_id)


def fan_out(event, context):
    note("second", message=event["Records"][0]["Sns"]["Message"])


def parallel(event, context):
    """Stays until so many notes of a kind are there, as the body says, or until its time is almost over."""
    body = json.loads(event["Records"][0]["body"])
    began = time.time()
    note("begun", name=body["name"])
    while not (saw := notes(body["kind"]) >= body["count"]) and context.get_remaining_time_in_millis() > 1000:
        time.sleep(0.01)
    note("parallel", name=body["name"], saw=saw, began=began, ended=time.time())


def notes(kind):
    lines = Path(os.environ["NOTES"]).read_text().splitlines()
    return sum(f'"kind": "{kind}"' in line for line in lines)


def in_order(event, context):
    attributes = [record["attributes"] for record in event["Records"]]
    note(
        "fifo",
        groups=[one["MessageGroupId"] for one in attributes],
        bodies=[record["body"] for record in event["Records"]],
        began=time.time(),
    )
    time.sleep(0.1)


def fails_first(event, context):
    """Fails with the first receive of each message that says so, and always with those that are bad."""
    failed = []
    for record in event["Records"]:
        receives = int(record["attributes"]["ApproximateReceiveCount"])
        note("tried", body=record["body"], receives=receives)
        if record["body"].startswith("bad") or (record["body"].startswith("once") and receives == 1):
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
