"""An ASGI app that answers every request by way of a function's event, as API Gateway would.

What `losses` names goes to the app itself, as it does in the product; those requests are counted.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from peaker.functions.web import WebApp
from peaker.wire import http_api


class FunctionGateway:
    """One instance of `app` behind an event each request; requests wait for each other, as an instance takes one."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.kept: list[str] = []
        self.events = 0
        self._instance: WebApp | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif loss := http_api.losses(scope):
            self.kept.append(loss)
            await self.app(scope, receive, send)
        else:
            await self._through_function(scope, receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        self._instance = WebApp(self.app)
        await self._instance.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert await self._instance.stop() == ""
        await send({"type": "lifespan.shutdown.complete"})

    async def _through_function(self, scope: Any, receive: Any, send: Any) -> None:
        self.events += 1
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = http_api.scope_to_request(scope, body)
        event = http_api.request_to_event(request, request_id=f"r-{self.events}", epoch_s=time.time())
        # The event is read again as the Invoke API hands it over, and must be plain JSON for it.
        assert isinstance(json.loads(event), dict)
        assert self._instance is not None
        async with self._one_at_a_time:
            result = await self._instance.answer(event)
        response, _ = http_api.result_to_response(result)
        await send({"type": "http.response.start", "status": response.status, "headers": list(response.headers)})
        await send({"type": "http.response.body", "body": response.body})
