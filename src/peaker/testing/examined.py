"""The functions that `check_functions` invokes: deploy these wherever a body of `Functions` is to be examined."""

from __future__ import annotations

import os
import time
from typing import Any

CALLS = 0


def echo(event: Any, context: Any) -> dict[str, Any]:
    """What came in, under which request id, and how often this instance was called."""
    global CALLS  # noqa: PLW0603 - state of the module is what is examined
    CALLS += 1
    return {"event": event, "request_id": context.aws_request_id, "calls": CALLS}


def raises(event: Any, _: Any) -> None:
    """The handler's own exception."""
    raise ValueError(event["text"])


def exits(_: Any, __: Any) -> None:
    """The end of the process, without a word."""
    os._exit(3)


def sleeps(event: Any, _: Any) -> float:
    """Take this many seconds."""
    time.sleep(event["s"])
    return float(event["s"])
