"""Where records of ended events go that are not for a function: SQS queues and SNS topics of the stand-in for AWS.

A record is an event like any other, for a "function" named `queue:NAME` or `topic:NAME`; to run it is to send it. So
it is tried again as events are, and what cannot be sent is a dead letter.
"""

from __future__ import annotations

from typing import Protocol

from peaker.aws_calls.client import AwsClient
from peaker.aws_calls.resources import find_queue, make_topic
from peaker.errors import PeakerError
from peaker.events.invoking import Call, Invoke, Ran
from peaker.policy.retry import Ending

QUEUE = "queue"
TOPIC = "topic"
DELIVERIES_AT_ONCE_MAX = 10
DELIVERY_S_MAX = 30.0


class Send(Protocol):
    """What sends a record to a queue or topic."""

    async def __call__(self, client: AwsClient, name: str, record: str) -> None:
        """Send it once; raises PeakerError where that fails."""
        ...


def is_sent(target: str) -> bool:
    """A destination or "function" of this name is no function."""
    return target.partition(":")[0] in _SENDS and ":" in target


class Delivering:
    """An `Invoke`: sends what is for a queue or a topic, and has all else run by `functions`."""

    def __init__(self, functions: Invoke, client: AwsClient | None) -> None:
        self._functions = functions
        self._client = client

    async def run(self, call: Call) -> Ran:
        """Run or send it once."""
        kind, _, name = call.function.partition(":")
        send = _SENDS.get(kind) if name else None
        if send is None:
            return await self._functions.run(call)
        if self._client is None:
            error = "there is no stand-in for AWS that it could be sent to ([aws] endpoint, `peaker run --aws local`)."
            return Ran(ending=Ending.REFUSED, error=error)
        try:
            await send(self._client, name, call.payload.decode())
        except PeakerError as failure:
            return Ran(ending=Ending.NOT_STARTED, error=str(failure))
        return Ran(ending=Ending.SUCCEEDED, answer=b"null")

    def is_there(self) -> bool:
        """Somebody would take a call now."""
        return self._functions.is_there()


class NoQueue(PeakerError):  # noqa: N818 - named for what is known
    """There is no such queue."""


async def _to_queue(client: AwsClient, name: str, record: str) -> None:
    queue = await find_queue(client, name)
    if queue is None:
        raise NoQueue(where=name)
    await client.json("sqs", "SendMessage", {"QueueUrl": queue.url, "MessageBody": record})


async def _to_topic(client: AwsClient, name: str, record: str) -> None:
    # CreateTopic is how a topic's ARN is asked for by its name; one that is there stays as it is.
    topic_arn = await make_topic(client, name)
    await client.sns("Publish", {"TopicArn": topic_arn, "Message": record}, wanted="MessageId")


_SENDS: dict[str, Send] = {QUEUE: _to_queue, TOPIC: _to_topic}
