"""Sources that hear of things by messages in a queue of Peaker's own: buckets and topics tell it of everything."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from peaker.aws_calls import messages
from peaker.aws_calls.resources import Queue
from peaker.events.sources.source import Source, Surroundings
from peaker.messages import Event
from peaker.wire.trace_header import parse_trace

_NAMESPACE = uuid.UUID("6a3c5e7b-2f0c-4a57-9d6c-9a54cbb0b8f1")

_logger = logging.getLogger("peaker.events.sources")


def event_id(*parts: str) -> str:
    """The same for the same message, however often it comes: by that a repeat is known."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


def led_to_by(message: Mapping[str, Any], event: Event) -> Event:
    """The event with the trace of the run that led to it: functions that start each other for ever are ended by it."""
    trace = message.get("Attributes", {}).get("AWSTraceHeader")
    if not trace:
        return event
    return replace(event, headers=(*event.headers, ("x-amzn-trace-id", trace)), hops=hops_of(trace))


def hops_of(trace: str) -> int:
    """How many runs a trace header tells of."""
    return parse_trace(trace, epoch_s=0.0, chance=random.Random(0)).runs  # noqa: S311 - for an id that nobody sees


class Inbox(Source):
    """Each message becomes events in the durable queue, and is taken away when they are there."""

    def __init__(self, name: str, around: Surroundings) -> None:
        super().__init__(name, around)
        self._queue: Queue | None = None

    @abstractmethod
    async def inbox(self) -> Queue:
        """The queue in which messages are; what sends them there is joined to it, if it is not."""

    @abstractmethod
    def events_of(self, message_id: str, body: Mapping[str, Any]) -> Sequence[Event]:
        """What a message is about; raises KeyError, TypeError or ValueError where it is of no known form."""

    async def join(self) -> None:
        """Have messages sent to the queue."""
        self._queue = await self.inbox()
        self._is_well()

    async def read(self) -> None:
        """One answer of the queue; it waits for the first message."""
        assert self._queue is not None
        client, url = self.around.aws, self._queue.url
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        received = await messages.receive(client, url, at_most=messages.RECEIVED_MAX, wait_s=messages.WAIT_S_MAX)
        events = [event for message in received for event in self._events_of(message)]
        if events:
            await self.put(events)
        if received:
            await messages.delete(client, url, [message["ReceiptHandle"] for message in received])
        else:
            # Somebody may have written the notifications of the bucket anew, without Peaker's.
            await self.join()
            if loop.time() - began_s < 1:
                await asyncio.sleep(0.5)  # A stand-in that does not let receivers wait.

    def _events_of(self, message: Mapping[str, Any]) -> Sequence[Event]:
        try:
            events = self.events_of(message["MessageId"], json.loads(message["Body"]))
            return [led_to_by(message, event) for event in events]
        except (KeyError, TypeError, ValueError) as error:
            # Nobody but the stand-in writes here; a message nobody can read would come for ever.
            _logger.error(  # noqa: TRY400 - the cause is what the message holds
                "%s: a message of no known form is dropped: %s: %.500s", self.name, error, message.get("Body"),
                extra={"action": "source"},
            )  # fmt: skip
            return ()
