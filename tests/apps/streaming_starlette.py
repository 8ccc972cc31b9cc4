# ruff: noqa: ASYNC110, ASYNC240 - files are how the tests and the app, in another process, meet
"""A Starlette app that streams as its documentation shows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

WAIT_S_MAX = 20.0


async def waits(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first "
        async with asyncio.timeout(WAIT_S_MAX):
            while not Path(request.query_params["until"]).exists():
                await asyncio.sleep(0.005)
        yield b"last"

    return StreamingResponse(parts(), media_type="text/plain")


class Noted(StreamingResponse):
    """Writes into a file that it has ended."""

    notes: Path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.notes.write_text("ended")


async def endless(request: Request) -> Noted:
    """Never ends by itself: Starlette cancels it, in the middle of a send, when it hears that the client has gone."""

    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield bytes(200_000)

    response = Noted(parts(), media_type="text/plain")
    response.notes = Path(request.query_params["notes"])
    return response


app = Starlette(routes=[Route("/waits", waits), Route("/endless", endless)])
