"""Messages of an SQS queue, in batches, for one function.

SQS is their store: as Lambda does it, a batch is taken away after the function has succeeded with it, and else comes
back by itself when its visibility time-out is over.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": a batch is run when it is full, when its window is
over, or when its payload reaches 6 MB; of a FIFO queue a batch holds one group, and a group has one batch at a time;
`maximum_concurrency` bounds batches that run at once; a batch that was throttled is tried again for as long as it is
invisible; messages received too often go to the queue's own dead letter queue.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peaker.app import FunctionSpec
from peaker.aws_calls import messages
from peaker.aws_calls.joining import join_queue
from peaker.aws_calls.resources import Queue
from peaker.errors import PeakerError
from peaker.events.invoking import Call, Ran
from peaker.events.sources.inbox import hops_of
from peaker.events.sources.source import Source, Surroundings
from peaker.policy.retry import Ending
from peaker.triggers import TriggerSection
from peaker.wire import sqs
from peaker.wire.aws_event import to_payload

BATCH_BYTES_MAX = 6 * 1024 * 1024 - 64 * 1024
"""Lambda's limit for an event, with room for what stands around the records."""
AGAIN_S_FIRST = 0.1
AGAIN_S_MAX = 10.0
MARGIN_S_MAX = 1.0
MARGIN_SHARE = 0.1
"""A batch is not tried again in the last moment before its messages come back by themselves."""

_logger = logging.getLogger("peaker.events.sources")


class VisibilityTooShort(PeakerError):  # noqa: N818 - named for what is wrong
    """Messages would come back while their function still runs."""


Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages for one run; after `back_s` (of the event loop's clock) others may receive them."""

    received: list[Message]
    back_s: float


class QueueSource(Source):
    """One queue that starts one function."""

    def __init__(self, trigger: TriggerSection, spec: FunctionSpec, around: Surroundings) -> None:
        super().__init__(f"queue/{trigger.queue}", around)
        self._trigger = trigger
        self._spec = spec
        self._queue: Queue | None = None
        self.at_once_max = min(trigger.maximum_concurrency or spec.concurrency_max, spec.concurrency_max)
        self._room = asyncio.Semaphore(self.at_once_max)
        self._running: set[asyncio.Task[None]] = set()
        self._filling: list[Message] = []
        self._filling_since_s = 0.0
        self._whole: list[Batch] = []

    def describe(self) -> dict[str, Any]:
        """As every source, how many batches run, and how many messages have been received and not begun."""
        held = len(self._filling) + sum(len(batch.received) for batch in self._whole)
        return {**super().describe(), "function": self._spec.name, "running": len(self._running), "held": held}

    async def join(self) -> None:
        """Find the queue, or make it. Raises VisibilityTooShort, as Lambda refuses such an event source mapping."""
        self._queue = await join_queue(self.around.aws, self._trigger, timeout_s=self._spec.timeout_s)
        if self._queue.visibility_timeout_s < self._spec.timeout_s:
            raise VisibilityTooShort(
                f"the visibility time-out of {self._queue.visibility_timeout_s:g} s is shorter than the "
                f"{self._spec.timeout_s:g} s that function {self._spec.name!r} may take.",
                where=self.name,
                remedy="Make the queue's longer, six times the function's, or the function's shorter.",
            )
        self._is_well()

    async def read(self) -> None:
        """Take what there is room for, as soon as there is room for another batch, and begin what is whole."""
        assert self._queue is not None
        async with self._room:
            pass  # Messages that nobody may run yet stay in the queue, visible to others.
        received = await self._receive(self._queue)
        loop = asyncio.get_running_loop()
        if not self._filling:
            self._filling_since_s = loop.time()
        self._filling += received
        too_much = self._fill_batches(self._queue, loop.time())
        while self._whole:
            await self._room.acquire()
            self._begin(self._whole.pop(0))
        await messages.give_back(self.around.aws, self._queue.url, [one["ReceiptHandle"] for one in too_much])

    async def _receive(self, queue: Queue) -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        wanted = self._trigger.records_max - len(self._filling)
        wait_s = messages.WAIT_S_MAX
        if self._filling:
            wait_s = min(wait_s, max(0.0, self._filling_since_s + self._trigger.window_s - loop.time()))
        began_s = loop.time()
        received = await messages.receive(self.around.aws, queue.url, at_most=wanted, wait_s=wait_s)
        if not received and loop.time() - began_s < min(0.5, wait_s):
            await asyncio.sleep(min(0.5, wait_s))  # A stand-in that does not let receivers wait.
        elif not received and self._filling and wait_s < 1:
            await asyncio.sleep(wait_s)  # SQS knows whole seconds alone.
        return received

    def _fill_batches(self, queue: Queue, now_s: float) -> list[Message]:
        """Make batches of what is full, or whose window is over; returns what is too much of one FIFO group."""
        if not self._filling:
            return []
        is_over = now_s >= self._filling_since_s + self._trigger.window_s
        batches, too_much = batches_of(self._filling, self._trigger.records_max, is_fifo=self._trigger.is_fifo)
        is_left = not is_over and len(batches[-1]) < self._trigger.records_max
        self._filling = batches.pop() if is_left else []
        back_s = self._filling_since_s + queue.visibility_timeout_s
        self._whole += [Batch(batch, back_s) for batch in batches]
        return too_much

    def _begin(self, batch: Batch) -> None:
        task = asyncio.get_running_loop().create_task(self._run(batch))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Nothing is lost: what was not taken away comes back.
            self._is_failing(error if isinstance(error, Exception) else RuntimeError(str(error)))

    async def _run(self, batch: Batch) -> None:
        """One batch, to its end."""
        assert self._queue is not None
        usable_s = batch.back_s - min(MARGIN_S_MAX, MARGIN_SHARE * self._queue.visibility_timeout_s)
        if asyncio.get_running_loop().time() > usable_s:
            return  # It waited for room for so long that others may have its messages by now.
        records = [sqs.record_of(message, self._queue.arn) for message in batch.received]
        call = Call(
            function=self._spec.name,
            payload=to_payload(sqs.event(records)),
            request_id=str(uuid.uuid4()),
            timeout_s=self._spec.timeout_s,
            headers=trace_of(batch.received),
        )
        ran = await self._invoke(call, until_s=usable_s)
        failed = self._failed(ran, [message["MessageId"] for message in batch.received])
        done = [message["ReceiptHandle"] for message in batch.received if message["MessageId"] not in failed]
        if failed:
            _logger.warning(
                "%s: %d of %d messages failed in %s %s and come back: %s",
                self.name, len(failed), len(batch.received), self._spec.name, call.request_id,
                ran.error or "batchItemFailures",
                extra={"action": "batch"},
            )  # fmt: skip
        self.taken += len(done)
        await messages.delete(self.around.aws, self._queue.url, done)

    async def _invoke(self, call: Call, *, until_s: float) -> Ran:
        """Run it; what was not started is tried again for as long as the messages are this batch's."""
        loop = asyncio.get_running_loop()
        again_s = AGAIN_S_FIRST
        while True:
            ran = await self.around.invoke.run(call)
            is_not_started = ran.was_throttled or ran.host_is_away
            if not is_not_started or loop.time() + again_s + call.timeout_s > until_s:
                return ran
            await asyncio.sleep(again_s)
            again_s = min(AGAIN_S_MAX, again_s * 2)

    def _failed(self, ran: Ran, ids: Sequence[str]) -> frozenset[str]:
        if ran.ending is not Ending.SUCCEEDED:
            return frozenset(ids)
        if not self._trigger.report_batch_item_failures:
            return frozenset()
        try:
            answer = json.loads(ran.answer or b"null")
        except ValueError:
            return frozenset(ids)  # Lambda takes an answer it cannot read for a batch that failed whole.
        return sqs.failed_ids(answer, ids)

    async def finish(self, timeout_s: float) -> None:
        """Let batches end, give back what was not begun; what is cut off comes back by itself."""
        left = [message for batch in self._whole for message in batch.received] + self._filling
        self._whole, self._filling = [], []
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        if left and self._queue is not None:
            try:
                await messages.give_back(self.around.aws, self._queue.url, [one["ReceiptHandle"] for one in left])
            except PeakerError as error:
                _logger.info("%s: not given back: %s", self.name, error, extra={"action": "source"})


def trace_of(received: Sequence[Message]) -> list[tuple[str, str]]:
    """The trace header of the batch: that of the message whose chain of runs is the longest, by what it names."""
    traces = [trace for one in received if (trace := one.get("Attributes", {}).get("AWSTraceHeader"))]
    longest = max(traces, key=hops_of, default="")
    return [("x-amzn-trace-id", longest)] if longest else []


def batches_of(
    received: Sequence[Message], size: int, *, is_fifo: bool, bytes_max: int = BATCH_BYTES_MAX
) -> tuple[list[list[Message]], list[Message]]:
    """Cut into batches of at most `size` messages and `bytes_max`, in order; of a FIFO queue each of one group.

    A group has one batch at a time, so what passes the limit of a FIFO batch is returned beside, to be given back.
    """
    batches: list[list[Message]] = []
    too_much: list[Message] = []
    newest: dict[str, tuple[list[Message], int]] = {}
    for message in received:
        group = message.get("Attributes", {}).get("MessageGroupId", "") if is_fifo else ""
        weight = len(json.dumps(message))
        batch, weighs = newest.get(group, ([], 0))
        is_full = bool(batch) and (len(batch) >= size or weighs + weight > bytes_max)
        if is_full and is_fifo:
            too_much.append(message)
            newest[group] = (batch, bytes_max)  # Nothing of the group may come before it.
            continue
        if is_full or not batch:
            batch, weighs = [], 0
            batches.append(batch)
        batch.append(message)
        newest[group] = (batch, weighs + weight)
    return batches, too_much
