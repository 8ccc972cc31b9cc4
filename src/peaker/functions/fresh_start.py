"""How long the app takes to start in a process of its own: `python -P -m peaker.functions.fresh_start SETTINGS FD`.

It does what Lambda's init phase does: start the interpreter, import the app, run its start-up (lifespan). When that is
done it writes the time on the monotonic clock, which all processes share, to the descriptor FD; then it stops the app.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from peaker.app import environment, pool_variables
from peaker.asgi import ASGIApp, load_callable, stop_wsgi_threads
from peaker.errors import PeakerError
from peaker.functions import instance
from peaker.functions.web import WebApp
from peaker.settings import Settings


def main(arguments: list[str]) -> int:
    """Start and stop the app; 1 with a sentence on standard error where it does not start."""
    settings = Settings.from_json(Path(arguments[0]).read_text(encoding="utf-8"))
    os.environ.update(environment(settings) | pool_variables(settings, in_instance=True))
    try:
        application = instance.as_asgi(load_callable(settings.app.web, settings.directory))
        try:
            asyncio.run(_start_tell_stop(application, int(arguments[1])))
        finally:
            stop_wsgi_threads(application)
    except PeakerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _start_tell_stop(application: ASGIApp, descriptor: int) -> None:
    web = WebApp(application)
    await web.start()
    os.write(descriptor, str(time.monotonic_ns()).encode())
    await web.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
