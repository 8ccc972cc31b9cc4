"""SQS: messages of a queue, as the event of a function.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", example events of standard and FIFO queues.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from peaker.messages import JSONValue
from peaker.wire.aws_event import region_of

SYSTEM_ATTRIBUTES = "All"
"""To be asked for in ReceiveMessage: a record tells every system attribute."""


def event(records: Iterable[JSONValue]) -> JSONValue:
    """The event of a batch."""
    return {"Records": list(records)}


def record_of(received: Mapping[str, Any], queue_arn: str) -> JSONValue:
    """The record of a message as boto3's `receive_message` gives it; `queue_arn` is the queue's.

    Raises:
        KeyError: it has no MessageId, ReceiptHandle or Body, and so is no message.
    """
    body = received["Body"]
    record: dict[str, Any] = {
        "messageId": received["MessageId"],
        "receiptHandle": received["ReceiptHandle"],
        "body": body,
        "attributes": dict(received.get("Attributes", {})),
        "messageAttributes": {name: _attribute(value) for name, value in received.get("MessageAttributes", {}).items()},
        "md5OfBody": received.get("MD5OfBody") or md5_of(body),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region_of(queue_arn),
    }
    if md5 := received.get("MD5OfMessageAttributes"):
        record["md5OfMessageAttributes"] = md5
    return record


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if "StringValue" in value:
        told["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        told["binaryValue"] = b64encode(value["BinaryValue"]).decode("ascii")
    # SQS has these two lists in its interface and never fills them.
    return {**told, "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}


def md5_of(body: str) -> str:
    """SQS's checksum of a message body."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def failed_ids(answer: JSONValue, message_ids: Iterable[str]) -> frozenset[str]:
    """Which messages of a batch a function reports as failed by `batchItemFailures`; its answer is no error.

    As Lambda reads it (Developer Guide, "Implementing partial batch responses"): nothing, null or an empty list is
    success; an entry without a known itemIdentifier makes the whole batch fail.
    """
    every = frozenset(message_ids)
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not failures:
        return frozenset()
    named = reported_ids(failures)
    return every if named is None or not every.issuperset(named) else frozenset(named)


def reported_ids(failures: JSONValue) -> list[str] | None:
    """The item identifiers in `batchItemFailures`; None where it is no list of them."""
    if not isinstance(failures, list):
        return None
    named = [failure.get("itemIdentifier") if isinstance(failure, dict) else None for failure in failures]
    texts = [name for name in named if isinstance(name, str)]
    return texts if len(texts) == len(named) else None
