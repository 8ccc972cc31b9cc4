"""All sources of an app: which there are, and starting and stopping them."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from peaker.app import functions
from peaker.aws_calls.client import AwsClient
from peaker.clock import Clock
from peaker.events.invoking import Invoke
from peaker.events.sources.bucket import BucketSource, ObjectRule
from peaker.events.sources.folder import FolderSource
from peaker.events.sources.queue import QueueSource
from peaker.events.sources.source import Source, Surroundings
from peaker.events.sources.table import TableSource
from peaker.events.sources.topic import TopicSource
from peaker.messages import Event
from peaker.object_pattern import ObjectPattern
from peaker.settings import Settings
from peaker.stand_in_variables import ENDPOINT
from peaker.state import StateDirectory
from peaker.triggers import Kind, TriggerSection
from peaker.wire.sigv4 import SigningKey

OBJECTS = (Kind.OBJECT_CREATED, Kind.OBJECT_REMOVED)


class Listening:
    """The sources of one app.

    Args:
        put: accepts events into the durable queue.
        invoke: runs functions for batches of SQS queues.
        environ: where the supervisor says which stand-in there is.
    """

    def __init__(
        self,
        settings: Settings,
        state: StateDirectory,
        *,
        put: Callable[[Event], Awaitable[str]],
        invoke: Invoke,
        clock: Clock,
        environ: dict[str, str] | os._Environ[str],
    ) -> None:
        self._client = client_of(settings, environ, clock)
        around = Surroundings(
            settings=settings,
            put=put,
            invoke=invoke,
            client=self._client,
            clock=clock,
            positions=state.source_positions,
        )
        self._sources = sources_of(around)

    def start(self) -> None:
        """Begin to listen to all of them."""
        for source in self._sources:
            source.start()

    async def stop(self, timeout_s: float) -> None:
        """Take nothing more; what was taken is brought to its end for at most this long."""
        await asyncio.gather(*(source.stop(timeout_s) for source in self._sources))
        if self._client is not None:
            self._client.close()

    def describe(self) -> list[dict[str, Any]]:
        """For people: each source, and how it does."""
        return [source.describe() for source in self._sources]


def client_of(settings: Settings, environ: dict[str, str] | os._Environ[str], clock: Clock) -> AwsClient | None:
    """A client of what stands in for AWS, None where nothing does: AWS itself is never called."""
    if not settings.aws.endpoint or not environ.get(ENDPOINT):
        return None
    key = SigningKey(environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", ""))
    return AwsClient(environ[ENDPOINT], region=environ.get("AWS_REGION", settings.aws.region), key=key, clock=clock)


def sources_of(around: Surroundings) -> list[Source]:
    """One source for each bucket, and for each queue, topic and table of each function; most need a client."""
    folders = around.settings.local_aws.folders
    sources: list[Source] = []
    for bucket, rules in object_rules(around.settings).items():
        if bucket in folders:
            folder = Path(around.settings.directory, folders[bucket]).resolve()
            sources.append(FolderSource(bucket, folder, rules, around))
        elif around.client is not None:
            sources.append(BucketSource(bucket, rules, around))
    if around.client is None:
        return sources
    specs = {spec.name: spec for spec in functions(around.settings)}
    for name, trigger in _triggers(around.settings):
        if trigger.kind is Kind.QUEUE:
            sources.append(QueueSource(trigger, specs[name], around))
        elif trigger.kind is Kind.TOPIC:
            sources.append(TopicSource(trigger.topic, name, around))
        elif trigger.kind is Kind.TABLE:
            sources.append(TableSource(trigger, name, around))
    return sources


def object_rules(settings: Settings) -> dict[str, list[ObjectRule]]:
    """By bucket: which functions are run for which objects."""
    rules: dict[str, list[ObjectRule]] = defaultdict(list)
    for name, trigger in _triggers(settings):
        if trigger.kind in OBJECTS:
            pattern = ObjectPattern.parse(getattr(trigger, trigger.kind.value))
            rules[pattern.bucket].append(ObjectRule(name, trigger.kind, pattern))
    return dict(rules)


def waits_for_aws(settings: Settings) -> list[str]:
    """Triggers that start nothing without a stand-in: `queue orders`, `table carts`."""
    return [
        f"{trigger.kind.value} {getattr(trigger, trigger.kind.value)}"
        for _, trigger in _triggers(settings)
        if trigger.kind in (Kind.QUEUE, Kind.TOPIC, Kind.TABLE)
        or (
            trigger.kind in OBJECTS
            and ObjectPattern.parse(getattr(trigger, trigger.kind.value)).bucket not in settings.local_aws.folders
        )
    ]


def _triggers(settings: Settings) -> list[tuple[str, TriggerSection]]:
    return [(function.name, trigger) for function in settings.started for trigger in function.on]
