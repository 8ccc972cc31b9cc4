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

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from peaker.asgi import adapt_wsgi, is_asgi, load_callable
from peaker.errors import AppImportError

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
    # asyncio is most of what a cold start would pay here, and a handler of events does not need it.
    from peaker.web_on_lambda import WebHandler

    return WebHandler(
        loaded if is_asgi(loaded) else adapt_wsgi(loaded, 1),
        warm_up=variables.get("PEAKER_WARM_UP", ""),
        began_s=began_s,
        metrics_of=variables.get("AWS_LAMBDA_FUNCTION_NAME", "") if variables.get("PEAKER_COLD_START_METRICS") else "",
    )
