"""What a call to the stand-in is about, as far as waiting goes: does it wait, and what may it have changed?

SQS speaks two protocols, JSON with the action in X-Amz-Target and the older form with Action=; SDKs in use have either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

STREAMS = "streams"
"""What changes whenever a row of a table may have."""
EVERY_QUEUE = "queues"
"""What changes whenever a message may have come to any queue: an upload, a notification, a rule."""

WAIT_S_MAX = 20.0
"""Longest that SQS lets a receiver wait."""

_SCOPE = re.compile(r"Credential=[^/,]+/[^/,]*/[^/,]*/([a-z0-9-]+)/")
_READS = ("Get", "List", "Describe", "Query", "Scan", "BatchGet", "TransactGet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: `watched` is what an empty answer may wait for, for `wait_s`; `changes` is what it may have changed.

    `wait_s` is None where the queue itself says how long. `body` is what is to be sent on, never with a wait.
    """

    body: bytes
    watched: str = ""
    wait_s: float | None = 0.0
    empty_without: bytes = b""
    """An answer without these bytes is empty."""
    changes: frozenset[str] = frozenset()


def read_call(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Call:
    """What is known of a call; `headers` have names in lower case, `body` is b"" where it is large."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return Call(body=body)
    service, _, action = headers.get("x-amz-target", "").partition(".")
    if service == "AmazonSQS":
        return _sqs(action, _json_object(body), body)
    if service.startswith("DynamoDBStreams") and action == "GetRecords":
        wait_s = _seconds(headers.get("x-peaker-wait-s"))
        return Call(body=body, watched=STREAMS, wait_s=wait_s or 0.0, empty_without=b'"SequenceNumber"')
    if service.startswith("DynamoDB"):
        return Call(body=body, changes=frozenset() if action.startswith(_READS) else frozenset({STREAMS}))
    scope = _SCOPE.search(headers.get("authorization", ""))
    if scope is not None and scope[1] == "sqs":
        return _sqs_form(path, body)
    return Call(body=body, changes=frozenset({EVERY_QUEUE}))


def queue_key(url: str) -> str:
    """What changes with a queue, of its address."""
    return f"queue/{url.rstrip('/').rpartition('/')[2]}"


def _sqs(action: str, fields: dict[str, Any], body: bytes) -> Call:
    key = queue_key(str(fields.get("QueueUrl", "")))
    if action != "ReceiveMessage":
        return Call(body=body, changes=frozenset() if action.startswith(_READS) else frozenset({key}))
    wait_s = _seconds(fields.get("WaitTimeSeconds"))
    sent_on = json.dumps({**fields, "WaitTimeSeconds": 0}).encode()
    return Call(body=sent_on, watched=key, wait_s=wait_s, empty_without=b'"ReceiptHandle"')


def _sqs_form(path: str, body: bytes) -> Call:
    fields = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    key = queue_key(fields.get("QueueUrl", path))
    action = fields.get("Action", "")
    if action != "ReceiveMessage":
        return Call(body=body, changes=frozenset() if action.startswith(_READS) else frozenset({key}))
    wait_s = _seconds(fields.get("WaitTimeSeconds"))
    sent_on = urlencode({**fields, "WaitTimeSeconds": "0"}).encode()
    return Call(body=sent_on, watched=key, wait_s=wait_s, empty_without=b"<ReceiptHandle>")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}  # The service itself says what is wrong with it.
    return found if isinstance(found, dict) else {}


def _seconds(value: Any) -> float | None:
    try:
        return None if value is None else min(WAIT_S_MAX, max(0.0, float(value)))
    except (TypeError, ValueError):
        return 0.0  # Likewise.
