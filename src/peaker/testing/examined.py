"""The functions that the examiners invoke: deploy these wherever a body of `Functions` is to be examined.

Handlers for `check_functions`; for `check_streaming_functions` also `app`, an ASGI application that streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import urllib.parse
from collections.abc import AsyncGenerator
from typing import Any

from peaker.asgi import Receive, Scope, Send

CALLS = 0


def echo(event: Any, context: Any) -> dict[str, Any]:
    """What came in, under which request id, and how often this instance was called."""
    global CALLS  # noqa: PLW0603 - state of the module is what is examined
    CALLS += 1
    return {"event": event, "request_id": context.aws_request_id, "calls": CALLS}


def raises(event: Any, _: Any) -> None:
    """The handler's own exception."""
    raise ValueError(event["text"])


def exits(_: Any, __: Any) -> None:
    """The end of the process, without a word."""
    os._exit(3)


def sleeps(event: Any, _: Any) -> float:
    """Take this many seconds."""
    time.sleep(event["s"])
    return float(event["s"])


async def written(path: str, query: dict[str, str]) -> AsyncGenerator[bytes, None]:
    """The body that `app` streams as the answer to `path`: so many pieces, so long, so far apart, and then an end."""
    for number in range(int(query.get("count", "1"))):
        yield piece(number, int(query.get("bytes", "10")))
        await asyncio.sleep(float(query.get("pause_s", "0")))
    if path == "/raises":
        raise ValueError("in the middle")
    if path == "/exits":
        os._exit(3)
    if path == "/hangs":
        await asyncio.sleep(60)


def piece(number: int, length: int) -> bytes:
    """No piece is like another, so that none is lost or moved unseen."""
    return (f"{number}:".encode() * length)[:length]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Streams what `written` gives."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await receive()
    headers = [(b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    query = dict(urllib.parse.parse_qsl(scope["query_string"].decode()))
    async with contextlib.aclosing(written(scope["path"], query)) as parts:
        async for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})
