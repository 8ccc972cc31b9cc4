"""The entry point on AWS Lambda: `peaker.aws.handler`, in front of the web app or of an event handler.

What it runs stands in the function's environment: `PEAKER_WEB = "module:app"` for a web app, which then answers events
of HTTP APIs, Function URLs, load balancers and Peaker's gates; or `PEAKER_HANDLER = "module:function"` for events.
Lambda's runtime asks this module for `handler` before the first event, so that import, start-up (lifespan) and the
request of `PEAKER_WARM_UP`, if there is one, are part of the initialisation, and of a SnapStart snapshot. Lambda tells
nobody when it ends an instance, so an app's shutdown does not run there.

Secrets (`PEAKER_SECRETS`, names and ARNs) are read before the app is imported, and again when a snapshot is restored,
which may be older than the last rotation. What the app has kept of the old ones by then is its own to renew.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from peaker.asgi import ASGIApp, adapt_wsgi, is_asgi, load_callable
from peaker.errors import AppImportError
from peaker.functions.web import WebApp, warm_up_event
from peaker.messages import JSONValue, RunNotes
from peaker.wire.http_api import result_for

if TYPE_CHECKING:
    Handler = Callable[[Any, Any], Any]

_BEGAN_S = time.perf_counter()


def __getattr__(name: str) -> Any:
    """`handler`, made when Lambda's runtime asks for it, and not for who only imports this module."""
    if name != "handler":
        raise AttributeError(name)
    made = make_handler(os.environ, began_s=_BEGAN_S)
    globals()["handler"] = made
    return made


def make_handler(variables: Mapping[str, str], *, began_s: float) -> Handler:
    """The handler that the environment describes, ready for its first event; `began_s` is when initialisation began.

    Raises:
        AppImportError: neither or both of the variables are set, or the code does not import.
        AppStartError: the app's start-up failed, in its own words.
    """
    web, target = variables.get("PEAKER_WEB", ""), variables.get("PEAKER_HANDLER", "")
    if bool(web) == bool(target):
        raise AppImportError(
            f"PEAKER_WEB = {web!r} and PEAKER_HANDLER = {target!r}: exactly one of them must be set.",
            where="environment of the function",
            remedy='Set PEAKER_WEB = "module:app" or PEAKER_HANDLER = "module:function".',
        )
    if references := variables.get("PEAKER_SECRETS"):
        from peaker.secrets_in_function import put_secrets

        put_secrets(references, os.environ)
    directory = variables.get("LAMBDA_TASK_ROOT", os.curdir)
    loaded = load_callable(web or target, directory)
    if target:
        return loaded
    return WebHandler(
        loaded if is_asgi(loaded) else adapt_wsgi(loaded, 1),
        warm_up=variables.get("PEAKER_WARM_UP", ""),
        began_s=began_s,
    )


class WebHandler:
    """A web app as a handler. All its requests run in one event loop, which stands still in between, as Lambda does.

    `init_ms` is how long it took from `began_s` to here, app included; raises AppStartError.
    """

    def __init__(self, application: ASGIApp, *, warm_up: str = "", began_s: float) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._web = self._loop.run_until_complete(_started(application, warm_up))
        self._is_first = True
        self.init_ms = (time.perf_counter() - began_s) * 1000

    def __call__(self, event: JSONValue, context: object) -> JSONValue:
        """The result of one event, in the format of the event.

        Raises:
            MalformedEvent: the event is not that of an HTTP request.
            PayloadTooLarge: the response is longer than a result may be.
            ResponseBroken: the app ended before its response was complete.
        """
        del context  # A request has all it needs in its event.
        began_s = time.perf_counter()
        response = self._loop.run_until_complete(self._web.respond(event))
        duration_ms = (time.perf_counter() - began_s) * 1000
        is_cold, self._is_first = self._is_first, False
        notes = RunNotes(cold=is_cold, init_ms=self.init_ms if is_cold else 0.0, duration_ms=duration_ms)
        return json.loads(result_for(event, response, notes))


async def _started(application: ASGIApp, warm_up: str) -> WebApp:
    web = WebApp(application)
    await web.start()
    if warm_up:
        await web.answer(warm_up_event(warm_up))
    return web
