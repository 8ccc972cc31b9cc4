"""The ops port: `/live`, `/ready`, `/status`, `/usage` and `/metrics`.

It has its own process and never passes the gate, so a saturated app answers here as fast as an idle one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from peaker.asgi import Receive, Scope, Send
from peaker.meter.exposition import OPENMETRICS_TYPE, TEXT_TYPE, wants_openmetrics
from peaker.wire.host_header import is_local_name

Report = Callable[[], Awaitable[dict[str, Any]]]
Metrics = Callable[[bool], Awaitable[str]]
"""Given whether OpenMetrics is wanted, the page of metrics."""

IsReady = Callable[[], bool]

_JSON_TYPE = "application/json"


class Ops:
    """ASGI application.

    `/live` says that this process runs, `/ready` whether a worker takes requests, `/status` what runs and how, `/usage`
    what was used and cost, `/metrics` the same for Prometheus.
    Only a Host that is an address or localhost is answered: a web page that a developer opens can make the browser ask
    loopback, but only under the page's own name (DNS rebinding).
    """

    def __init__(self, is_ready: IsReady, *, report: Report, usage: Report, metrics: Metrics) -> None:
        self._is_ready = is_ready
        self._report = report
        self._usage = usage
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive  # No body is read: only GET and HEAD are answered.
        if scope["type"] != "http":
            return
        if scope["path"] == "/metrics" and _refused(scope) is None:
            openmetrics = wants_openmetrics(dict(scope["headers"]).get(b"accept", b"").decode("latin-1"))
            status, kind = 200, OPENMETRICS_TYPE if openmetrics else TEXT_TYPE
            payload = (await self._metrics(openmetrics)).encode()
        else:
            status, body = await self._answer(scope)
            kind, payload = _JSON_TYPE, json.dumps(body).encode() + b"\n"
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(payload)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else payload})

    async def _answer(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        wrong = _refused(scope)
        if wrong is not None:
            return wrong
        match scope["path"]:
            case "/live":
                return 200, {"live": True}
            case "/ready":
                ready = self._is_ready()
                return (200 if ready else 503), {"ready": ready}
            case "/status":
                return 200, await self._report()
            case "/usage":
                return 200, await self._usage()
            case _:
                return 404, {"error": "there are /live, /ready, /status, /usage and /metrics."}


def _refused(scope: Scope) -> tuple[int, dict[str, Any]] | None:
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    if not is_local_name(host):
        return 403, {"error": f"Host {host!r} is neither an address nor localhost."}
    if scope["method"] not in ("GET", "HEAD"):
        return 405, {"error": "only GET and HEAD."}
    return None
