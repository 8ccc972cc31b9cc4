"""A bare ASGI app that shows what the worker gives it and does what a query asks."""

import asyncio
import hashlib
import json
import os
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from peaker.asgi import Receive, Scope, Send

Query = dict[str, str]

seen: dict[str, Any] = {"disconnects": 0, "background": 0, "websocket_codes": [], "running": 0, "body_bytes": 0}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await _websocket(scope, receive, send)
    else:
        query = {name: values[-1] for name, values in urllib.parse.parse_qs(scope["query_string"].decode()).items()}
        route = ROUTES.get(scope["path"], _not_found)
        seen["running"] += 1
        try:
            await route(scope, receive, send, query)
        finally:
            seen["running"] -= 1


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if failure := os.environ.get("WORKER_APP_START_FAILS"):
        await send({"type": "lifespan.startup.failed", "message": failure})
        return
    scope["state"]["pool"] = f"made in {os.getpid()}"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if path := os.environ.get("WORKER_APP_SHUTDOWN_FILE"):
        Path(path).write_text(  # noqa: ASYNC240 - the process ends here
            f"running={seen['running']} background={seen['background']}"
        )
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(send: Send, body: bytes, status: int = 200, kind: bytes = b"application/json") -> None:
    content = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": content})
    await send({"type": "http.response.body", "body": body})


async def _whole_body(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _echo(scope: Scope, receive: Receive, send: Send, _query: Query) -> None:
    body = await _whole_body(receive)
    if body is None:
        seen["disconnects"] += 1
        return
    shown = {
        name: value for name, value in scope.items() if name not in ("headers", "raw_path", "query_string", "state")
    }
    shown["raw_path"] = scope["raw_path"].decode("latin-1")
    shown["query_string"] = scope["query_string"].decode("latin-1")
    shown["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    shown["state"] = scope.get("state")
    shown["pid"] = os.getpid()
    shown["body"] = body.decode("latin-1") if len(body) < 10_000 else ""
    shown["body_sha256"] = hashlib.sha256(body).hexdigest()
    await _answer(send, json.dumps(shown).encode())


async def _digest(_scope: Scope, receive: Receive, send: Send, _query: Query) -> None:
    """A large upload without holding it."""
    digest, more = hashlib.sha256(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            seen["disconnects"] += 1
            return
        digest.update(message.get("body", b""))
        seen["body_bytes"] += len(message.get("body", b""))
        more = message.get("more_body", False)
    await _answer(send, digest.hexdigest().encode(), kind=b"text/plain")


async def _sleep(_scope: Scope, _receive: Receive, send: Send, query: Query) -> None:
    await asyncio.sleep(float(query["s"]))
    await _answer(send, str(os.getpid()).encode(), kind=b"text/plain")


async def _pid(_scope: Scope, _receive: Receive, send: Send, _query: Query) -> None:
    await _answer(send, str(os.getpid()).encode(), kind=b"text/plain")


async def _stream(_scope: Scope, _receive: Receive, send: Send, query: Query) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(int(query["n"])):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await asyncio.sleep(float(query.get("gap", 0)))
    await send({"type": "http.response.body", "body": b""})


async def _upper(_scope: Scope, receive: Receive, send: Send, _query: Query) -> None:
    """Both ways at once: each piece goes back as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        if message.get("body"):
            await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _big(_scope: Scope, _receive: Receive, send: Send, query: Query) -> None:
    await _answer(send, b"x" * int(query["bytes"]), kind=b"text/plain")


async def _too_large(_scope: Scope, _receive: Receive, send: Send, _query: Query) -> None:
    await _answer(send, b"too large", status=413, kind=b"text/plain")


async def _fail(_scope: Scope, _receive: Receive, _send: Send, _query: Query) -> None:
    raise ValueError("the app failed on purpose")


async def _fail_late(_scope: Scope, _receive: Receive, send: Send, _query: Query) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    raise ValueError("the app failed on purpose")


async def _until_gone(_scope: Scope, receive: Receive, _send: Send, _query: Query) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    seen["disconnects"] += 1


async def _background(_scope: Scope, _receive: Receive, send: Send, query: Query) -> None:
    await _answer(send, b"done", kind=b"text/plain")
    await asyncio.sleep(float(query["s"]))
    seen["background"] += 1


async def _seen(_scope: Scope, _receive: Receive, send: Send, _query: Query) -> None:
    await _answer(send, json.dumps({**seen, "running": seen["running"] - 1}).encode())


async def _headers(_scope: Scope, _receive: Receive, send: Send, _query: Query) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 207,
            "headers": [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-bytes", b"\xe9\xff")],
        }
    )
    await send({"type": "http.response.body", "body": b"multi"})


async def _environment(_scope: Scope, _receive: Receive, send: Send, query: Query) -> None:
    await _answer(send, os.environ.get(query["name"], "absent").encode(), kind=b"text/plain")


async def _not_found(_scope: Scope, _receive: Receive, send: Send, _query: Query) -> None:
    await _answer(send, b"not found", status=404, kind=b"text/plain")


ROUTES = {
    "/echo": _echo,
    "/echo/caf\u00e9": _echo,
    "/digest": _digest,
    "/sleep": _sleep,
    "/pid": _pid,
    "/stream": _stream,
    "/upper": _upper,
    "/big": _big,
    "/too-large": _too_large,
    "/fail": _fail,
    "/fail-late": _fail_late,
    "/until-gone": _until_gone,
    "/background": _background,
    "/seen": _seen,
    "/headers": _headers,
    "/environment": _environment,
}


async def _websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            seen["websocket_codes"].append(message["code"])
            return
        await send({"type": "websocket.send", "text": message.get("text") or "", "bytes": message.get("bytes")})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("content-type", "text/plain"), ("x-method", environ["REQUEST_METHOD"])])
    return [b"wsgi got %d bytes at %s" % (len(body), environ["PATH_INFO"].encode())]
