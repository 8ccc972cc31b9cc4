"""A function whose effect can be counted: every run appends its event to a file and syncs it."""

from __future__ import annotations

import os
import time
from typing import Any


def note(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Write `id, request id, moment` as one line; `event["fails"]` runs before it fail."""
    line = f"{event['n']} {context.aws_request_id} {time.time():.6f} {os.getpid()}\n"
    descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if event.get("fails"):
        raise ValueError(f"event {event['n']} fails")
    return {"n": event["n"]}
