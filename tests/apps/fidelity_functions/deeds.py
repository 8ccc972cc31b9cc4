"""What the functions of the fidelity table do; plain Lambda handlers, for any host of Python functions.

Nothing but the standard library and nothing of Peaker: the same folder is given to other tools.
"""

from __future__ import annotations

import collections
import ctypes
import decimal
import logging
import math
import os
import subprocess
import sys
import threading
import time
import uuid

LOADED = uuid.uuid4().hex
"""Of this instance: module state lives as long as it does."""

CALLS = 0
TICKS = 0
CHILDREN = []


class SeatTakenError(Exception):
    pass


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def _context(_, context):
    names = ["function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "aws_request_id"]
    names += ["log_group_name", "log_stream_name", "tenant_id"]
    told = {name: getattr(context, name, "absent") for name in names}
    identity, client = getattr(context, "identity", None), getattr(context, "client_context", "absent")
    told["identity"] = identity and [identity.cognito_identity_id, identity.cognito_identity_pool_id]
    told["client_context"] = client
    if hasattr(client, "custom"):
        app = client.client.app_title if client.client else None
        told["client_context"] = {"custom": client.custom, "env": client.env, "app_title": app}
    return told


def _remaining(event, context):
    before = context.get_remaining_time_in_millis()
    time.sleep(event["s"])
    return [before, context.get_remaining_time_in_millis()]


def _raise(event, _):
    raise SeatTakenError(event.get("text", "")) if "text" in event else SeatTakenError


def _raise_chained(_, __):
    try:
        return {}["seat"]
    except KeyError as error:
        raise SeatTakenError("taken") from error


def _raise_mute(_, __):
    raise MuteError


def _leave(event, _):
    sys.exit(event["code"])


def _leave_at_once(event, _):
    os._exit(event["code"])


def _crash(_, __):
    ctypes.string_at(0)


def _hang(_, __):
    while True:
        time.sleep(60)


def _eat(event, _):
    held = []
    for _ in range(event["mb"]):
        held.append(b"x" * 2**20)
    return len(held)


def _say(event, _):
    print(event["text"])
    print("to stderr", file=sys.stderr, flush=True)
    return None


def _log(event, _):
    logging.getLogger(event.get("logger")).log(event["level"], event["text"])


def _log_exception(_, __):
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("shop").exception("sold out")


def _tick():
    global TICKS
    while True:
        TICKS += 1
        time.sleep(0.005)


def _thread(_, __):
    threading.Thread(target=_tick, daemon=True).start()


def _leave_a_child(_, __):
    CHILDREN.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))


def _write(event, _):
    try:
        with open(event["path"], "a") as file:
            file.write("x")
        with open(event["path"]) as file:
            return len(file.read())
    except OSError as error:
        return type(error).__name__


def _open_files(event, _):
    held = []
    try:
        while len(held) < event["most"]:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return [len(held), error.strerror]
    finally:
        for descriptor in held:
            os.close(descriptor)
    return [len(held), ""]


async def _coroutine(_, __):
    return "never"


def _results(event, _):
    seat = collections.namedtuple("seat", "row number")  # noqa: PYI024
    return {
        "decimal": lambda: decimal.Decimal("1.10000000000000000000000000001"),
        "nan": lambda: math.nan,
        "bytes": lambda: {"text": b"gr\xc3\xbc\xc3\x9fe"},
        "set": lambda: {1, 2},
        "object": lambda: {"a": object()},
        "named tuple": lambda: seat(3, 7),
        "tuple": lambda: (1, (2, 3)),
        "keys": lambda: {1: "a", None: "b"},
        "large integer": lambda: 10**100,
        "unicode": lambda: "grüße \u2028 \U0001f600 \x00",
        "none": lambda: None,
        "raw": lambda: b'{"raw":   1}',
        "large": lambda: "x" * event["bytes"],
    }[event["kind"]]()


DEEDS = {
    "echo": lambda event, _: event.get("value"),
    "context": _context,
    "remaining": _remaining,
    "environment": lambda *_: dict(os.environ),
    "working directory": lambda *_: os.getcwd(),
    "local time": lambda *_: [time.tzname[0], time.timezone],
    "who": lambda *_: {"loaded": LOADED, "pid": os.getpid(), "calls": CALLS, "ticks": TICKS},
    "children": lambda *_: [child.poll() is None for child in CHILDREN],
    "sleep": lambda event, _: time.sleep(event["s"]),
    "result": _results,
    "coroutine": _coroutine,
    "raise": _raise,
    "raise chained": _raise_chained,
    "raise mute": _raise_mute,
    "leave": _leave,
    "leave at once": _leave_at_once,
    "crash": _crash,
    "hang": _hang,
    "eat": _eat,
    "say": _say,
    "log": _log,
    "log exception": _log_exception,
    "print much": lambda event, _: [print(f"line {n} {'x' * 90}") for n in range(event["lines"])] and None,
    "thread": _thread,
    "leave a child": _leave_a_child,
    "write": _write,
    "open files": _open_files,
    "remove": lambda event, _: os.remove(event["path"]),
}


def handler(event, context):
    """Do `event["do"]`; without one, tell what the event was."""
    global CALLS
    CALLS += 1
    if not isinstance(event, dict) or "do" not in event:
        return {"event": event}
    return DEEDS[event["do"]](event, context)


class Counter:
    """A handler that is an object."""

    def __init__(self):
        self.calls = 0

    def __call__(self, event, context):
        self.calls += 1
        return {"calls": self.calls, "event": event}


counter = Counter()
