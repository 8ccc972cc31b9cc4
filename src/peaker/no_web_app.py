"""The web app of a project that has none, but webhooks: servers take those, and there is nothing else to be found."""

from __future__ import annotations

from peaker.asgi import Receive, Scope, Send

_BODY = b"404 Not Found: there is no web app here, only webhooks\n"
_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(_BODY)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404; start and stop with nothing to do."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})
    else:
        await send({"type": "websocket.close"})
