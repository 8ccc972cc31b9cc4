# ruff: noqa: ASYNC110, ASYNC240 - files are how the tests and the app, in another process, meet
"""An app that streams in every shape, and records in files what becomes of it: a function runs in another process."""

import asyncio
import os
import signal
from pathlib import Path
from urllib.parse import parse_qs

from peaker.asgi import Receive, Scope, Send

WAIT_S_MAX = 20.0
PIECE = bytes(range(256)) * 256


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    query = {
        name: values[0] for name, values in parse_qs(scope["query_string"].decode(), keep_blank_values=True).items()
    }
    await _ROUTES[scope["path"].split("/")[1]](query, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})


async def shape(query: dict[str, str], receive: Receive, send: Send) -> None:
    """Pieces of the sizes asked for; each begins with its number, and the whole is told apart by any lost byte."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    sizes = [int(size) for size in query.get("pieces", "").split(",") if size]
    pieces = [(b"%d:" % number + PIECE * (size // len(PIECE) + 1))[:size] for number, size in enumerate(sizes)]
    headers = [(b"content-type", b"application/x-shape"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    if "length" in query:
        headers.append((b"content-length", b"%d" % sum(sizes)))
    if "latin" in query:
        headers.append((b"x-latin", "grüße".encode("latin-1")))
    await send({"type": "http.response.start", "status": int(query.get("status", "200")), "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def waits(query: dict[str, str], receive: Receive, send: Send) -> None:
    """The rest of the response is sent once the client has made a file, which it does after the first piece."""
    await receive()
    await _begin(send)
    await send({"type": "http.response.body", "body": b"first ", "more_body": True})
    async with asyncio.timeout(WAIT_S_MAX):
        while not Path(query["until"]).exists():
            await asyncio.sleep(0.005)
    await send({"type": "http.response.body", "body": b"last", "more_body": False})


async def endless(query: dict[str, str], receive: Receive, send: Send) -> None:
    """Sends until it is told that the client has gone; the file says how many bytes `send` has taken by then."""
    await receive()
    gone = asyncio.ensure_future(receive())
    notes = Path(query["notes"])
    await _begin(send)
    taken = 0
    while not gone.done() and taken < 100_000_000:
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        taken += len(PIECE)
        notes.write_text(f"{os.getpid()} sending {taken}")
        await asyncio.sleep(0)
    notes.write_text(f"{os.getpid()} {gone.result()['type']} {taken}")


async def dies(query: dict[str, str], receive: Receive, send: Send) -> None:
    """The process is killed in the middle of a response."""
    await receive()
    await _begin(send)
    await send({"type": "http.response.body", "body": b"before", "more_body": True})
    os.kill(os.getpid(), signal.Signals[query["by"]])
    await asyncio.sleep(WAIT_S_MAX)


async def raises(query: dict[str, str], receive: Receive, send: Send) -> None:
    await receive()
    if query["when"] == "before":
        raise RuntimeError("no response at all")
    await _begin(send)
    await send({"type": "http.response.body", "body": b"before", "more_body": True})
    raise RuntimeError("in the middle")


async def sleeps(_: dict[str, str], receive: Receive, send: Send) -> None:
    """Begins, and never goes on."""
    await receive()
    await _begin(send)
    await send({"type": "http.response.body", "body": b"before", "more_body": True})
    await asyncio.sleep(60)


async def holds(query: dict[str, str], receive: Receive, send: Send) -> None:
    """Takes a slot on a server until the file is there; placed on servers."""
    await receive()
    Path(query["begun"]).touch()
    async with asyncio.timeout(WAIT_S_MAX):
        while not Path(query["until"]).exists():
            await asyncio.sleep(0.005)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def _begin(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})


_ROUTES = {
    "shape": shape,
    "waits": waits,
    "endless": endless,
    "dies": dies,
    "raises": raises,
    "sleeps": sleeps,
    "holds": holds,
}
