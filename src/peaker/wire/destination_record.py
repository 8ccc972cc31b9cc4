"""The record that a destination gets of an event that has ended.

Shape: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations", version 1.0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peaker.wire.function_names import LATEST

SUCCESS = "Success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An event that has ended. `condition` is Success, RetriesExhausted, EventAgeExceeded or another reason.

    `answer` is the last run's payload, None where none was run; `function_error` is "" or `Unhandled`.
    """

    request_id: str
    function_arn: str
    condition: str
    invoke_count: int
    payload: bytes
    epoch_s: float
    answer: bytes | None = None
    function_error: str = ""
    executed_version: str = LATEST


def destination_record(ended: Ended) -> bytes:
    """As JSON; without `responseContext` and `responsePayload` where the function was not run."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": _timestamp(ended.epoch_s),
        "requestContext": {
            "requestId": ended.request_id,
            "functionArn": ended.function_arn,
            "condition": ended.condition,
            "approximateInvokeCount": ended.invoke_count,
        },
        "requestPayload": _value(ended.payload),
    }
    if ended.answer is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": ended.executed_version}
        if ended.function_error:
            context["functionError"] = ended.function_error
        record["responseContext"] = context
        record["responsePayload"] = _value(ended.answer)
    return json.dumps(record, separators=(",", ":")).encode()


def _value(payload: bytes) -> Any:
    try:
        return json.loads(payload) if payload else None
    except (ValueError, RecursionError):
        return payload.decode("utf-8", "replace")


def _timestamp(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
