"""An app whose work is known: waiting, computing, few at a time; each by its path."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

SLEEP_S = 0.03
BURN_S = 0.01
HELD_S = 0.04
AT_ONCE = 2
DIES_AFTER = 250
"""More than are asked one at a time, fewer than under the first load."""

_asked: list[str] = []
_room = asyncio.Semaphore(AT_ONCE)


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    status = await work(scope)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})


async def work(scope: dict[str, Any]) -> int:
    path = scope["path"]
    if path == "/sleep":
        await asyncio.sleep(SLEEP_S)
    elif path == "/burn":
        began_s = time.process_time()
        while time.process_time() - began_s < BURN_S:
            pass
    elif path == "/few":
        async with _room:
            await asyncio.sleep(HELD_S)
    elif path == "/dies":
        _asked.append(path)
        if len(_asked) > DIES_AFTER:
            os._exit(7)
    elif path == "/post":
        return 200 if scope["method"] == "POST" else 405
    else:
        return 404
    return 200
