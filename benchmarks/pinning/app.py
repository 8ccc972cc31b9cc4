"""A request that waits 100 ms for something else, as web requests mostly do, and a quick one that says who answers."""

import asyncio
import os

from peaker.asgi import Receive, Scope, Send

WORK_S = 0.1


async def app(scope: Scope, _receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    if scope["path"] == "/work":
        await asyncio.sleep(WORK_S)
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
