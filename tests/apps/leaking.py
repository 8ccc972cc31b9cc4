"""Handlers that leak, each call some more."""

from __future__ import annotations

import os
from typing import Any

HELD: list[Any] = []


def memory(event: Any, context: Any) -> dict[str, Any]:
    """`mb` megabytes a call, all of them written to."""
    HELD.append(os.urandom(1 << 16) * (16 * event["mb"]))
    return {"instance": context.log_stream_name, "calls": len(HELD)}


def descriptors(event: Any, context: Any) -> dict[str, Any]:
    """`count` open files a call."""
    HELD.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(event["count"]))
    return {"instance": context.log_stream_name, "held": len(HELD)}
