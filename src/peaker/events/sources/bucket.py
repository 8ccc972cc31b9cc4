"""Objects of a bucket that come and go.

S3 tells a queue of everything that happens in the bucket; which functions that is for is decided here, so that patterns
of two functions may overlap. One source is there for each bucket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from peaker.aws_calls.joining import join_bucket
from peaker.aws_calls.resources import Queue
from peaker.events.sources.inbox import Inbox, event_id
from peaker.events.sources.source import Surroundings
from peaker.messages import Event
from peaker.object_pattern import ObjectPattern
from peaker.triggers import Kind
from peaker.wire import s3
from peaker.wire.aws_event import to_payload


@dataclass(frozen=True, slots=True)
class ObjectRule:
    """Which function is run for which objects; `kind` is OBJECT_CREATED or OBJECT_REMOVED."""

    function: str
    kind: Kind
    pattern: ObjectPattern

    @property
    def source(self) -> str:
        """What the events are known by."""
        return f"{self.kind.value}/{self.pattern.bucket}"

    def matches(self, name: str, key: str) -> bool:
        """Whether it is for what is called `name` (ObjectCreated:Put) of the object `key`."""
        wanted = s3.CREATED if self.kind is Kind.OBJECT_CREATED else s3.REMOVED
        return name.partition(":")[0] == wanted and self.pattern.matches(key)


class BucketSource(Inbox):
    """All functions that the objects of one bucket start."""

    def __init__(self, bucket: str, rules: Sequence[ObjectRule], around: Surroundings) -> None:
        super().__init__(f"bucket/{bucket}", around)
        self._bucket = bucket
        self._rules = rules

    async def inbox(self) -> Queue:
        """Make the bucket, and have it tell the queue, beside whomever else it tells."""
        return await join_bucket(self.around.aws, self.around.settings.app.name, self._bucket)

    def events_of(self, message_id: str, body: Mapping[str, Any]) -> Sequence[Event]:
        """For each record one event to each function it is for."""
        if body.get("Event") == "s3:TestEvent":
            return ()
        changes = [change_of(record, message_id) for record in body["Records"] if not is_second_telling(record)]
        return [
            object_event(rule, change, message_id=message_id)
            for change in changes
            for rule in self._rules
            if rule.matches(change.name, change.key)
        ]


def is_second_telling(record: Mapping[str, Any]) -> bool:
    """Of a multipart upload moto tells twice, as Put and as CompleteMultipartUpload; S3 tells the second alone.

    Only the ETag of a multipart upload has a hyphen: the number of its parts stands behind it.
    """
    return bool(record["eventName"] == "ObjectCreated:Put" and "-" in record["s3"]["object"].get("eTag", ""))


def change_of(record: Mapping[str, Any], message_id: str) -> s3.ObjectChange:
    """A record of a notification, whatever it leaves out."""
    described = record["s3"]["object"]
    epoch_s = datetime.fromisoformat(record["eventTime"]).timestamp()
    is_removed = record["eventName"].startswith(s3.REMOVED)
    return s3.ObjectChange(
        name=record["eventName"],
        bucket=record["s3"]["bucket"]["name"],
        key=unquote_plus(described["key"]),
        epoch_s=epoch_s,
        sequencer=described.get("sequencer") or f"{int(epoch_s * 1_000_000):016X}",
        size=None if is_removed else int(described.get("size", 0)),
        etag="" if is_removed else described.get("eTag", ""),
        version_id=described.get("versionId", ""),
        region=record.get("awsRegion", "us-east-1"),
        request_id=message_id,
        configuration_id=record["s3"].get("configurationId", "peaker"),
    )


def object_event(rule: ObjectRule, change: s3.ObjectChange, *, message_id: str) -> Event:
    """The event of one change for one function."""
    name = event_id(rule.source, message_id, change.name, change.key, rule.function)
    return Event(
        id=name, function=rule.function, payload=to_payload(s3.event([change])), source=rule.source, dedup_key=name
    )
