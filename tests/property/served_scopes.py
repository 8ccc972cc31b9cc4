"""Real uvicorn servers that keep the scope and body of each request they were sent."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

DEADLINE_S = 10.0

Seen = tuple[dict[str, Any], bytes]


@dataclass
class ScopeServer:
    """One server; `address` is a TCP address or the path of a unix socket."""

    address: tuple[str, int] | str
    seen: queue.SimpleQueue[Seen] = field(default_factory=queue.SimpleQueue)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        # uvicorn appends trailers to the same list while the body arrives, so what the app saw first is kept.
        first_seen = dict(scope) | {"headers": list(scope["headers"])}
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.seen.put((first_seen, body))
        await send({"type": "http.response.start", "status": 204, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b""})

    def scope_of(self, request: bytes) -> Seen | None:
        """Send these bytes; None when the server refused them before the app."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(DEADLINE_S)
            connection.connect(self.address)
            connection.sendall(request)
            status_line = connection.makefile("rb").readline()
        return self.seen.get(timeout=DEADLINE_S) if b" 204 " in status_line else None


@contextmanager
def serving(listener: socket.socket, **config: Any) -> Iterator[ScopeServer]:
    """A server on `listener` with these uvicorn settings, stopped at the end."""
    served = ScopeServer(address=listener.getsockname())
    server = uvicorn.Server(
        uvicorn.Config(served, http="httptools", ws="none", lifespan="off", log_level="critical", **config)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def tcp_listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(64)
    return listener
