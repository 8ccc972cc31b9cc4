"""An app that notes in the file TRACE_FILE which process began and ended which request, before it does anything else.

GET /work?id=ID&ms=MS waits MS milliseconds; the answer is the pid of the process that gave it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import parse_qs


def note(what: str, request_id: str) -> None:
    """One line, written whole by one write: O_APPEND keeps lines of many processes apart."""
    descriptor = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{what} {request_id} {os.getpid()}\n".encode())
    os.close(descriptor)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    query = parse_qs(scope["query_string"].decode())
    request_id = query.get("id", ["-"])[0]
    note("begin", request_id)
    await asyncio.sleep(float(query.get("ms", ["0"])[0]) / 1000)
    body = str(os.getpid()).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    note("end", request_id)
