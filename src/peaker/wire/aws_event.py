"""What the events of AWS services share: times, regions from ARNs, JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from peaker.messages import JSONValue

_to_json = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def to_payload(event: JSONValue) -> bytes:
    """An event as the payload of an invocation."""
    return _to_json(event).encode()


def time_ms(epoch_s: float) -> str:
    """`2030-01-31T09:00:00.000Z`, as S3 and SNS write times."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_s(epoch_s: float) -> str:
    """`2030-01-31T09:00:00Z`, as EventBridge writes times."""
    return datetime.fromtimestamp(int(epoch_s), UTC).isoformat().replace("+00:00", "Z")


def region_of(arn: str) -> str:
    """The region in an ARN, "" where it has none."""
    parts = arn.split(":", 4)
    return parts[3] if len(parts) == 5 else ""
