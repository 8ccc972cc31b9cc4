"""DynamoDB Streams: changes of a table, as the event of a function.

Source: AWS Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB", example event; Amazon DynamoDB Streams API,
GetRecords.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from peaker.messages import JSONValue
from peaker.wire.aws_event import region_of
from peaker.wire.sqs import reported_ids

_IMAGES = ("Keys", "NewImage", "OldImage")


def event(records: Iterable[JSONValue]) -> JSONValue:
    """The event of a batch."""
    return {"Records": list(records)}


def record_of(received: Mapping[str, Any], stream_arn: str) -> JSONValue:
    """The record of a change as boto3's `get_records` gives it; `stream_arn` is the stream's.

    Raises:
        KeyError: it has no eventID, eventName or dynamodb, and so is no record of a stream.
    """
    change = received["dynamodb"]
    told: dict[str, Any] = {}
    if (created := change.get("ApproximateCreationDateTime")) is not None:
        epoch_s = created.timestamp() if isinstance(created, datetime) else float(created)
        told["ApproximateCreationDateTime"] = int(epoch_s)
    told.update({name: _plain(change[name]) for name in _IMAGES if name in change})
    told.update({name: change[name] for name in ("SequenceNumber", "SizeBytes", "StreamViewType") if name in change})
    record: dict[str, Any] = {
        "eventID": received["eventID"],
        "eventName": received["eventName"],
        "eventVersion": received.get("eventVersion", "1.1"),
        "eventSource": received.get("eventSource", "aws:dynamodb"),
        "awsRegion": received.get("awsRegion") or region_of(stream_arn),
        "dynamodb": told,
        "eventSourceARN": stream_arn,
    }
    if identity := received.get("userIdentity"):  # an item that its time to live has ended
        record["userIdentity"] = {"principalId": identity["PrincipalId"], "type": identity["Type"]}
    return record


def _plain(value: Any) -> JSONValue:
    """An attribute value as JSON: bytes as base64, the rest as it stands."""
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner) for inner in value]
    return value


def failed_ids(answer: JSONValue, sequence_numbers: Iterable[str]) -> list[str]:
    """What of a batch is to be tried again: from the lowest sequence number that the function reports as failed on.

    As Lambda does it (Developer Guide, "Configuring partial batch response with DynamoDB and Lambda"): order by key is
    kept, so everything after the first failure is run again; an entry without a known itemIdentifier means the batch.
    """
    every = list(sequence_numbers)
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not failures:
        return []
    named = reported_ids(failures)
    if named is None or not set(named) <= set(every):
        return every
    return every[min(every.index(name) for name in named) :]
