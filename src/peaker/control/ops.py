"""The ops port: `/live`, `/ready` and `/status`.

It has its own process and never passes the gate, so a saturated app answers here as fast as an idle one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from peaker.app import Receive, Scope, Send
from peaker.wire.host_header import is_local_name

Report = Callable[[], Awaitable[dict[str, Any]]]
IsReady = Callable[[], bool]


class Ops:
    """ASGI application.

    `/live` says that this process runs, `/ready` whether a worker takes requests, `/status` everything.
    Only a Host that is an address or localhost is answered: a web page that a developer opens can make the browser ask
    loopback, but only under the page's own name (DNS rebinding).
    """

    def __init__(self, is_ready: IsReady, report: Report) -> None:
        self._is_ready = is_ready
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive  # No body is read: only GET and HEAD are answered.
        if scope["type"] != "http":
            return
        status, body = await self._answer(scope)
        payload = json.dumps(body).encode() + b"\n"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(payload)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else payload})

    async def _answer(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if not is_local_name(host):
            return 403, {"error": f"Host {host!r} is neither an address nor localhost."}
        if scope["method"] not in ("GET", "HEAD"):
            return 405, {"error": "only GET and HEAD."}
        match scope["path"]:
            case "/live":
                return 200, {"live": True}
            case "/ready":
                ready = self._is_ready()
                return (200 if ready else 503), {"ready": ready}
            case "/status":
                return 200, await self._report()
            case _:
                return 404, {"error": "there are /live, /ready and /status."}
