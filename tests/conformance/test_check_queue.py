"""Every body of the event queue is held to the same examiner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from peaker.clock import VirtualClock
from peaker.events.memory_queue import MemoryQueue
from peaker.events.queue import Bounds, Queue
from peaker.testing.queues import BOUNDS, QUEUE_CHECKS, Check


@asynccontextmanager
async def in_memory(clock: VirtualClock, bounds: Bounds) -> AsyncIterator[Queue]:
    yield MemoryQueue(clock=clock, bounds=bounds)


@pytest.mark.parametrize("check", QUEUE_CHECKS, ids=lambda check: check.__name__)
def test_the_queue_in_memory(check: Check) -> None:
    async def examine() -> None:
        clock = VirtualClock()
        async with in_memory(clock, BOUNDS) as queue:
            await check(queue, clock)

    asyncio.run(examine())
