"""What settings name is made in a stand-in: what `[local_aws]` lists, and what `[[function.on]]` listens to."""

from __future__ import annotations

from peaker.app import functions
from peaker.aws_calls.client import AwsClient
from peaker.aws_calls.joining import join_bucket, join_queue, join_topic
from peaker.aws_calls.resources import make_bucket, make_queue, make_table, make_topic
from peaker.local_aws_section import table_keys
from peaker.object_pattern import ObjectPattern
from peaker.settings import Settings
from peaker.triggers import Kind


async def make_declared(client: AwsClient, settings: Settings) -> None:
    """Make what is missing, and join what is listened to.

    Raises:
        AwsUnreachable, AwsRefused: the stand-in does not answer, or does not do it.
    """
    declared = settings.local_aws
    await _join_triggers(client, settings)  # First: the attributes of a queue are those of whoever makes it.
    for name in [*declared.buckets, *declared.folders]:
        await make_bucket(client, name)
    for name in declared.queues:
        await make_queue(client, name)
    for name in declared.topics:
        await make_topic(client, name)
    for name, keys in declared.tables.items():
        await make_table(client, name, table_keys(keys))


async def _join_triggers(client: AwsClient, settings: Settings) -> None:
    app = settings.app.name
    timeouts = {spec.name: spec.timeout_s for spec in functions(settings)}
    for function in settings.started:
        for trigger in function.on:
            if trigger.kind is Kind.QUEUE:
                await join_queue(client, trigger, timeout_s=timeouts[function.name])
            elif trigger.kind is Kind.TOPIC:
                await join_topic(client, app, trigger.topic, function.name)
            elif pattern := trigger.object_created or trigger.object_removed:
                bucket = ObjectPattern.parse(pattern).bucket
                if bucket not in settings.local_aws.folders:
                    await join_bucket(client, app, bucket)
