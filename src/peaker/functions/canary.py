"""A trial instance: forked before any real one, asked to do what they will do, and given up on after a time."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from peaker import frames
from peaker.functions import proc, working_set
from peaker.functions.web import warm_up_event


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went; `failure` is "" where all went well, `kind` is `import`, `start` or `canary`.

    `written` is the memory it took copies of; `handler` is a `HandlerImportError` as JSON, if that is what failed.
    """

    kind: str = ""
    failure: str = ""
    written: working_set.Ranges = field(default_factory=list)
    handler: dict[str, Any] | None = None


def try_fork(become_instance: Callable[[int], NoReturn], warm_up: str, limit_s: float) -> Trial:
    """Fork, let the child become an instance on the channel it is given, and question it for `limit_s` at most.

    `warm_up` is the path it is asked for, "" for none.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        become_instance(theirs.detach())
    theirs.close()
    with ours:
        trial = _question(ours, warm_up, time.monotonic() + limit_s, limit_s)
        if not trial.failure:
            trial = replace(trial, written=working_set.written_by(pid))
    proc.kill_group(pid)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if trial.kind == "ended":
        return Trial("canary", f"a trial instance {_how_it_ended(status)}")
    return trial


def _question(channel: socket.socket, warm_up: str, give_up_s: float, limit_s: float) -> Trial:
    try:
        channel.sendall(frames.pack({"kind": "check"}))
        if warm_up:
            head: frames.Head = {
                "kind": "run",
                "request_id": "warm-up",
                "deadline_s": give_up_s,
                "cold": True,
                "init_ms": 0.0,
            }
            channel.sendall(frames.pack(head, warm_up_event(warm_up)))
        for expected in ("ready", "checked", "result")[: 3 if warm_up else 2]:
            channel.settimeout(max(0.001, give_up_s - time.monotonic()))
            if (trial := _judge(frames.receive(channel), expected)).failure:
                return trial
    except TimeoutError:
        return Trial("canary", f"a trial instance did not answer within {limit_s:g} s")
    except (OSError, frames.FrameError):
        return Trial("ended", "the channel broke")
    return Trial()


def _judge(frame: tuple[frames.Head, bytes] | None, expected: str) -> Trial:
    if frame is None:
        return Trial("ended", "the channel ended")
    head, body = frame
    if head["kind"] == "failed":
        return Trial(head["error"], head["message"], handler=head.get("handler"))
    if head["kind"] != expected:
        return Trial("canary", f"a trial instance answered {head['kind']!r} where {expected!r} was due")
    if head.get("function_error"):
        return Trial("canary", f"a trial instance failed the warm-up: {json.loads(body)['errorMessage']}")
    return Trial()


def _how_it_ended(status: int) -> str:
    """In words; a status of our own SIGKILL means that only the channel had been closed."""
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return "closed its channel or was killed"
    return f"exited with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
