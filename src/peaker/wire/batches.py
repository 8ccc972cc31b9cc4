"""Batches of records: the event that a function gets, and what its answer says of each record.

Shapes: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", "Using AWS Lambda with Amazon DynamoDB", and
"Implementing partial batch responses".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from peaker.wire.sqs import reported_ids


def batch_payload(records: Sequence[bytes], receive_counts: Sequence[int]) -> bytes:
    """`{"Records": [...]}`; a record that tells how often it was received (SQS) tells the count of this time."""
    told = [
        _with_receive_count(record, count) if b'"ApproximateReceiveCount"' in record else record
        for record, count in zip(records, receive_counts, strict=True)
    ]
    return b'{"Records":[' + b",".join(told) + b"]}"


def _with_receive_count(record: bytes, count: int) -> bytes:
    document = _decoded(record)
    attributes = document.get("attributes") if isinstance(document, dict) else None
    if not isinstance(attributes, dict) or "ApproximateReceiveCount" not in attributes:
        return record
    attributes["ApproximateReceiveCount"] = str(count)
    return json.dumps(document, separators=(",", ":")).encode()


def record_id(record: bytes, place: int) -> str:
    """What a partial batch response calls it: `messageId`, of a stream its sequence number; else its place."""
    document = _decoded(record)
    if isinstance(document, dict):
        if isinstance(found := document.get("messageId"), str):
            return found
        for stream in ("dynamodb", "kinesis"):
            found = document.get(stream)
            number = found.get("SequenceNumber", found.get("sequenceNumber")) if isinstance(found, dict) else None
            if isinstance(number, str):
                return number
    return str(place)


def is_stream(record: bytes) -> bool:
    """It comes from a stream, whose records have an order."""
    document = _decoded(record)
    return isinstance(document, dict) and ("dynamodb" in document or "kinesis" in document)


def failures_named(answer: bytes) -> list[str] | None:
    """Ids in `batchItemFailures`; None where that is there and is no list of them, or the answer is no JSON.

    Lambda takes the last for a batch that has failed whole. An answer that does not speak of failures ("ok", a status
    code) names none: here partial answers are read unless they are switched off, on Lambda only once switched on.
    """
    document = _decoded(answer)
    if document is None and answer.strip() not in {b"", b"null"}:
        return None
    failures = document.get("batchItemFailures") if isinstance(document, dict) else None
    if not failures:
        return []
    named = reported_ids(failures)
    return None if named is None or "" in named else named


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
