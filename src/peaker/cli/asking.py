"""Speaking to the supervisor of a running app."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from peaker.control_socket import ControlClient, ControlUnavailable


@contextlib.asynccontextmanager
async def supervisor(path: Path) -> AsyncIterator[ControlClient]:
    """A connection to it; raises ControlUnavailable with what to do where there is none."""
    try:
        client = await ControlClient.connect(path)
    except ControlUnavailable as error:
        raise ControlUnavailable(
            "no supervisor answers here.",
            where=str(path),
            remedy="Start the app with `peaker run`, which also takes over one that serves on without.",
        ) from error
    try:
        yield client
    finally:
        client.close()
