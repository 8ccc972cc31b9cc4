"""Every body of the event queue is held to the same examiner."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peaker.clock import VirtualClock
from peaker.events.memory_queue import MemoryQueue
from peaker.events.queue import Bounds, Queue
from peaker.events.sqlite_queue import SqliteQueue
from peaker.testing.queues import BOUNDS, QUEUE_CHECKS, Check, MakeQueue


@asynccontextmanager
async def in_memory(clock: VirtualClock, bounds: Bounds) -> AsyncIterator[Queue]:
    yield MemoryQueue(clock=clock, bounds=bounds)


@asynccontextmanager
async def on_disk(clock: VirtualClock, bounds: Bounds) -> AsyncIterator[Queue]:
    with tempfile.TemporaryDirectory() as folder:
        queue = SqliteQueue(Path(folder) / "events.sqlite", clock=clock, bounds=bounds)
        try:
            yield queue
        finally:
            await queue.close()


@pytest.mark.parametrize("make", [in_memory, on_disk], ids=["memory", "sqlite"])
@pytest.mark.parametrize("check", QUEUE_CHECKS, ids=lambda check: check.__name__)
def test_each_body_does_what_a_queue_must(check: Check, make: MakeQueue) -> None:
    async def examine() -> None:
        clock = VirtualClock()
        async with make(clock, BOUNDS) as queue:
            await check(queue, clock)

    asyncio.run(examine())
