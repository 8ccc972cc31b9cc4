"""Putting events into the queue: those that come at the same moment together, for one trip to its writer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from peaker.errors import MalformedEvent, PeakerError, QueueFull
from peaker.events.keeping import check_event
from peaker.events.queue import Queue
from peaker.events.tally import Tally
from peaker.messages import Event

TOGETHER_MAX = 256


class Putting:
    """What the intake and all sources put events by."""

    def __init__(self, queue: Queue, tally: Tally) -> None:
        self._queue = queue
        self._tally = tally
        self._waiting: list[tuple[Event, asyncio.Future[str]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, event: Event) -> str:
        """Have it kept; returns its id, or that of the event that it is a duplicate of. Then it is on disk.

        Raises:
            QueueFull: there is no room for it.
            QueueUnavailable: the disk failed; nothing was accepted.
            MalformedEvent: it cannot be kept as it is.
        """
        try:
            check_event(event)
        except ValueError as error:
            raise MalformedEvent(str(error)) from error
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._put_waiting)
        kept: asyncio.Future[str] = loop.create_future()
        # When it was accepted is for the queue to say.
        self._waiting.append((replace(event, accepted_at_s=0.0), kept))
        return await kept

    async def settled(self) -> None:
        """Until nothing is on its way to the queue."""
        while self._waiting or self._tasks:
            await asyncio.sleep(0) if self._waiting else await asyncio.wait(self._tasks)

    def _put_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), TOGETHER_MAX):
            task = asyncio.get_running_loop().create_task(self._put_together(waiting[start : start + TOGETHER_MAX]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _put_together(self, waiting: Sequence[tuple[Event, asyncio.Future[str]]]) -> None:
        try:
            put = await self._queue.put([event for event, _ in waiting])
        except QueueFull as error:
            if len(waiting) > 1:  # All or none: there may be room for some of them.
                for one in waiting:
                    await self._put_together([one])
                return
            self._tally.refused += 1
            _fail(waiting, error)
        except PeakerError as error:
            _fail(waiting, error)
        else:
            self._tally.accepted += len(put.accepted)
            self._tally.duplicates += len(put.duplicates)
            for event, kept in waiting:
                if not kept.done():
                    kept.set_result(put.duplicates.get(event.id, event.id))


def _fail(waiting: Sequence[tuple[Event, asyncio.Future[str]]], error: PeakerError) -> None:
    for _, kept in waiting:
        if not kept.done():
            kept.set_exception(error)
