"""Event handlers that do what handlers do, and what they should not."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

CALLS = 0


def echo(event: Any, context: Any) -> Any:
    """The event, and what the function can know of itself."""
    global CALLS  # noqa: PLW0603 - how often this instance was invoked
    CALLS += 1
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "function": context.function_name,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory_mb": context.memory_limit_in_mb,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "client_context": getattr(context.client_context, "custom", None),
        "traceparent": os.environ.get("TRACEPARENT"),
        "trace_id": os.environ.get("_X_AMZN_TRACE_ID"),
        "pid": os.getpid(),
        "calls": CALLS,
    }


def _raise(event: Any) -> None:
    raise ValueError(event.get("text", "no"))


def _hang(_: Any) -> None:
    while True:
        time.sleep(60)


def _spin(_: Any) -> None:
    while True:
        pass


def _spin_behind(_: Any) -> str:
    threading.Thread(target=_spin, args=(None,), daemon=True).start()
    return "spinning"


def _eat(event: Any) -> int:
    return len([bytearray(os.urandom(1 << 20)) for _ in range(event.get("mb", 4096))])


def _flood(event: Any) -> str:
    for number in range(event.get("lines", 100_000)):
        sys.stdout.write(f"line {number} {'x' * 100}\n")
    return "flooded"


def _fork(_: Any) -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


def _thread(_: Any) -> str:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return "threaded"


def _print(event: Any) -> str:
    sys.stdout.write(event["text"] + "\n")
    return "printed"


def _sleep(event: Any) -> str:
    time.sleep(event["s"])
    return "slept"


_DEEDS: dict[str, Callable[[Any], Any]] = {
    "raise": _raise,
    "exit": lambda event: sys.exit(event.get("code", 1)),
    "exit at once": lambda event: os._exit(event.get("code", 1)),
    "crash": lambda _: ctypes.string_at(0),
    "hang": _hang,
    "spin": _spin,
    "spin behind": _spin_behind,
    "eat": _eat,
    "flood": _flood,
    "fork": _fork,
    "thread": _thread,
    "unencodable": lambda _: {"a": object()},
    "nan": lambda _: float("nan"),
    "large": lambda event: "x" * event["bytes"],
    "print": _print,
    "sleep": _sleep,
}


def misbehave(event: Any, _: Any) -> Any:
    """What `event["do"]` says."""
    return _DEEDS[event["do"]](event)
