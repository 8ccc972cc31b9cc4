"""A real uvicorn in this process, serving an ASGI app on a free port of the loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

DEADLINE_S = 10.0


@contextmanager
def serving_app(app: Any, **config: Any) -> Iterator[tuple[str, int]]:
    """The address of `app` while it is served; connections are open once this returns, since the socket listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        server = uvicorn.Server(
            uvicorn.Config(app, http="httptools", ws="none", log_level="critical", proxy_headers=False, **config)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
