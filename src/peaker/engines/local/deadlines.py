"""When a process of the running app is killed: too slow to start, to drain, or to end after it failed."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from peaker.control_socket import Status
from peaker.engines.local.member import Member
from peaker.settings import Settings

KILL_GRACE_S = 2.0
"""A process ends its own drain at drain_s_max; the supervisor's knife falls this much later."""
FAILED_GRACE_S = 2.0

_logger = logging.getLogger("peaker.supervisor")


def judge(members: Iterable[Member], settings: Settings, now_s: float) -> None:
    """Set or lift each member's moment by what it says of itself."""
    for member in members:
        if member.status is Status.READY and not member.is_draining:
            member.kill_at_s = None
        elif member.status is Status.DRAINING and not member.is_draining:
            member.is_draining = True  # On its own account: it was without a supervisor for too long.
            member.kill_at_s = now_s + settings.servers.drain_s_max + KILL_GRACE_S
        elif member.status is Status.FAILED and not member.has_failed:
            member.has_failed = True  # It ends by itself after saying why.
            member.kill_at_s = now_s + FAILED_GRACE_S


def kill_overdue(members: Iterable[Member], settings: Settings, now_s: float) -> None:
    """Kill those whose moment has come."""
    for member in members:
        if member.kill_at_s is None or now_s < member.kill_at_s or member.child.has_exited:
            continue
        if member.status is Status.STARTING and not member.is_draining:
            member.error = f"it did not start within servers.start_s_max = {settings.servers.start_s_max:g} s"
        else:
            _logger.warning("%s did not end in time and is killed", member.name, extra={"action": "kill"})
        member.child.kill_session()
        member.kill_at_s = None


def next_kill_s(members: Iterable[Member]) -> float | None:
    """The earliest moment there is."""
    return min((member.kill_at_s for member in members if member.kill_at_s is not None), default=None)
