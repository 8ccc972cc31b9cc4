"""S3 event notifications: what happened to objects of a bucket, as the event of a function.

Source: Amazon S3 User Guide, "Event message structure", version 2.1. Keys are encoded as in a URL, spaces as +; a
removal has neither size nor eTag; versionId is there where the bucket keeps versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from peaker.messages import JSONValue
from peaker.wire.aws_event import time_ms

CREATED = "ObjectCreated"
REMOVED = "ObjectRemoved"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """One object that came or went.

    Args:
        name: `ObjectCreated:Put`, `:Post`, `:Copy`, `:CompleteMultipartUpload`; `ObjectRemoved:Delete`, ...
        key: as the user knows it, not encoded.
        epoch_s: when it happened.
        size: bytes; None of a removal.
        etag: without quotes; "" of a removal.
        sequencer: hexadecimal; of two changes of one key the later one's is greater as text.
    """

    name: str
    bucket: str
    key: str
    epoch_s: float
    sequencer: str
    size: int | None = None
    etag: str = ""
    version_id: str = ""
    region: str = "us-east-1"
    request_id: str = ""
    principal: str = "peaker"
    source_ip: str = "127.0.0.1"
    configuration_id: str = "peaker"


def event(changes: Iterable[ObjectChange]) -> JSONValue:
    """The event of these changes; S3 sends one record each."""
    return {"Records": [_record(change) for change in changes]}


def _record(change: ObjectChange) -> dict[str, Any]:
    described: dict[str, Any] = {"key": quote_plus(change.key, safe="/")}
    if change.size is not None:
        described["size"] = change.size
    if change.etag:
        described["eTag"] = change.etag
    if change.version_id:
        described["versionId"] = change.version_id
    described["sequencer"] = change.sequencer
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": change.region,
        "eventTime": time_ms(change.epoch_s),
        "eventName": change.name,
        "userIdentity": {"principalId": change.principal},
        "requestParameters": {"sourceIPAddress": change.source_ip},
        "responseElements": {"x-amz-request-id": change.request_id, "x-amz-id-2": change.request_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": change.configuration_id,
            "bucket": {
                "name": change.bucket,
                "ownerIdentity": {"principalId": change.principal},
                "arn": f"arn:aws:s3:::{change.bucket}",
            },
            "object": described,
        },
    }
