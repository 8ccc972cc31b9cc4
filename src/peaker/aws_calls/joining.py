"""How buckets, topics and queues of a stand-in are joined to Peaker, so that nothing that happens there is missed.

The stand-in process does it before it answers anybody; sources do it again whenever they begin to listen, for the
stand-in may be somebody else's, or have been started anew. Every function may raise AwsUnreachable and AwsRefused.
"""

from __future__ import annotations

import hashlib

from peaker.aws_calls.client import AwsClient
from peaker.aws_calls.resources import (
    Queue,
    make_bucket,
    make_queue,
    make_queue_with_dead_letters,
    make_topic,
    notify_queue,
    subscribe,
)
from peaker.triggers import TriggerSection

INBOX_VISIBILITY_S = 5
"""A message is taken out of an inbox as soon as it is kept on disk; this is for a process that is killed in between."""
INBOX_KEPT_S = 1_209_600
"""Two weeks, the longest that SQS keeps a message."""
VISIBILITY_TIMES = 6
"""AWS's advice for the visibility time-out of a queue: six times the time limit of its function."""
VISIBILITY_S_MAX = 43_200
_NAME_MAX = 80


def inbox_name(app: str, name: str) -> str:
    """Name of the queue in which Peaker is told of `name`: no more than 80 letters, digits, hyphens and underscores."""
    plain = f"peaker-{app}-{name}".replace(".", "_").replace("/", "-")
    if len(plain) <= _NAME_MAX:
        return plain
    return f"{plain[: _NAME_MAX - 13]}-{hashlib.sha256(plain.encode()).hexdigest()[:12]}"


async def join_bucket(client: AwsClient, app: str, bucket: str) -> Queue:
    """The queue that is told of every object of the bucket that comes or goes."""
    await make_bucket(client, bucket)
    inbox = await _make_inbox(client, app, f"bucket/{bucket}")
    await notify_queue(client, bucket, inbox.arn)
    return inbox


async def join_topic(client: AwsClient, app: str, topic: str, function: str) -> tuple[Queue, str]:
    """The queue that a topic's messages for a function come to, and the ARN of its subscription."""
    topic_arn = await make_topic(client, topic)
    inbox = await _make_inbox(client, app, f"topic/{topic}/{function}")
    return inbox, await subscribe(client, topic_arn, inbox.arn)


async def join_queue(client: AwsClient, trigger: TriggerSection, *, timeout_s: float) -> Queue:
    """The queue that a function with this time limit reads from; one that is missing is made as the trigger says."""
    visibility_s = trigger.visibility_timeout_s or min(VISIBILITY_S_MAX, VISIBILITY_TIMES * timeout_s)
    attributes = {"VisibilityTimeout": str(max(1, round(visibility_s)))}
    if not trigger.dead_letter_queue:
        return await make_queue(client, trigger.queue, attributes)
    return await make_queue_with_dead_letters(
        client,
        trigger.queue,
        dead_letters=trigger.dead_letter_queue,
        receives_max=trigger.receives_max,
        attributes=attributes,
    )


async def _make_inbox(client: AwsClient, app: str, name: str) -> Queue:
    attributes = {"VisibilityTimeout": str(INBOX_VISIBILITY_S), "MessageRetentionPeriod": str(INBOX_KEPT_S)}
    return await make_queue(client, inbox_name(app, name), attributes)
