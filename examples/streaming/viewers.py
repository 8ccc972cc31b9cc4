"""People who watch: WebSockets with a heartbeat every second, as the player of the app sends it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

HEARTBEAT_S = 1.0


@dataclasses.dataclass(slots=True)
class Viewers:
    """What became of all viewers together."""

    heartbeats: int = 0
    broken: int = 0


async def watch(url: str, count: int, seen: Viewers, chance: random.Random) -> None:
    """Let `count` viewers watch until cancelled; one that is cut off is counted and does not come back."""
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(_one(url, number, chance.random() * HEARTBEAT_S, seen))


async def _one(url: str, number: int, after_s: float, seen: Viewers) -> None:
    await asyncio.sleep(after_s)
    try:
        async with connect(f"{url.replace('http', 'ws', 1)}/play/{number}/heartbeat") as socket:
            position_s = 0
            while True:
                await socket.send(json.dumps({"position_s": position_s}))
                await socket.recv()
                seen.heartbeats += 1
                position_s += 1
                await asyncio.sleep(HEARTBEAT_S)
    except (OSError, WebSocketException):
        seen.broken += 1


@contextlib.asynccontextmanager
async def viewers(url: str, count: int, chance: random.Random):  # noqa: ANN201 - a context manager of Viewers
    """Viewers for as long as the block runs."""
    seen = Viewers()
    watching = asyncio.create_task(watch(url, count, seen, chance))
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.wait([watching])
