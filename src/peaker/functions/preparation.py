"""What a zygote does with the user's code before it is forked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from peaker.asgi import ASGIApp, stop_wsgi_threads
from peaker.errors import PeakerError
from peaker.functions import instance
from peaker.functions.web import WebApp, warm_up_event


def warm_up(code: Callable[..., Any], path: str) -> str:
    """Start the app, ask it for `path` unless that is "", stop it and leave nothing running.

    Returns:
        What the user should know about it, "" for nothing.

    Raises:
        AppStartError: the app's start-up failed.
    """
    application = instance.as_asgi(code)
    try:
        with asyncio.Runner() as runner:
            return runner.run(_start_ask_stop(application, path))
    finally:
        stop_wsgi_threads(application)


async def _start_ask_stop(application: ASGIApp, path: str) -> str:
    web = WebApp(application)
    await web.start()
    note = await _ask(web, path) if path else ""
    failure = await web.stop()
    return note or (f"the app's shutdown (lifespan) failed: {failure}" if failure else "")


async def _ask(web: WebApp, path: str) -> str:
    try:
        status = json.loads(await web.answer(warm_up_event(path)))["statusCode"]
    except PeakerError as error:
        return f"the warm-up request GET {path} failed: {error}"
    return f"the warm-up request GET {path} was answered with status {status}" if status >= 400 else ""


def run_before_snapshot_hooks() -> None:
    """The hooks of AWS's snapshot-restore-py, in the order Lambda SnapStart runs them: the last registered first."""
    if "snapshot_restore_py" in sys.modules:
        hooks = sys.modules["snapshot_restore_py"].get_before_snapshot()
        while hooks:
            function, arguments, named = hooks.pop()
            function(*arguments, **named)
