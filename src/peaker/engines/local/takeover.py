"""What a supervisor finds running when it starts: nothing, or the processes of one that is gone."""

from __future__ import annotations

import contextlib
import logging
import socket
from dataclasses import dataclass, field
from pathlib import Path

from peaker.clock import Clock
from peaker.control_socket import CommandRefused, ControlClient, ControlUnavailable, Status
from peaker.engines.local.child import Child
from peaker.engines.local.member import Member
from peaker.engines.local.state_dir import LockedState, ProcessRecord, RunRecord, read_run
from peaker.errors import StateError
from peaker.policy.supervision import Kind, Role
from peaker.settings import Settings

ANSWER_S_MAX = 5.0

_logger = logging.getLogger("peaker.supervisor")


@dataclass(slots=True)
class Found:
    """What was found; all empty for a fresh start."""

    record: RunRecord | None = None
    members: list[Member] = field(default_factory=list[Member])
    listeners: dict[Kind, socket.socket] = field(default_factory=dict[Kind, socket.socket])

    @property
    def is_running(self) -> bool:
        """Something is there to be taken over."""
        return bool(self.members)


async def find_running(locked: LockedState, settings: Settings, clock: Clock) -> Found:
    """Adopt the living processes of run.json and take their listening sockets.

    Raises:
        StateError: they run with other settings, or with another app's.
    """
    record = read_run(locked.state)
    if record is None:
        return Found()
    found = Found(record=record)
    for process in record.processes:
        with contextlib.suppress(ProcessLookupError):
            child = Child.adopt(process.pid, process.started_ticks)
            found.members.append(_member(process, child, clock))
    if not found.is_running:
        return found
    _require_same_settings(locked, settings, record)
    for member in found.members:
        await _ask(member, locked, found)
    return found


async def _ask(member: Member, locked: LockedState, found: Found) -> None:
    """Take status and listening socket from one process; one that does not answer now is reached later."""
    path = locked.state.control_socket(member.name)
    try:
        client = await ControlClient.connect(path, timeout_s=ANSWER_S_MAX)
    except ControlUnavailable as error:
        _logger.warning("%s (pid %d) does not answer yet: %s", member.name, member.child.pid, error)
        return
    try:
        hello = await client.hello(timeout_s=ANSWER_S_MAX)
        if hello.pid != member.child.pid:
            return
        member.status, member.error, member.details = hello.status, hello.error, hello.details
        member.is_draining = hello.status is Status.DRAINING
        if hello.status is Status.READY:
            member.ready_s = member.started_s
        kind = member.role.kind
        if kind not in found.listeners and not member.is_draining:
            found.listeners[kind] = await client.receive_socket("listener", timeout_s=ANSWER_S_MAX)
    except (ControlUnavailable, CommandRefused) as error:
        _logger.warning("%s (pid %d) did not hand over its socket: %s", member.name, member.child.pid, error)
    finally:
        client.close()


def _require_same_settings(locked: LockedState, settings: Settings, record: RunRecord) -> None:
    path: Path = locked.state.settings_of(record.generation)
    try:
        running = Settings.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StateError(f"the settings of what is running cannot be read: {error}.", where=str(path)) from error
    if running == settings:
        return
    names = ", ".join(_differences(running, settings))
    raise StateError(
        f"{record.app!r} is running without a supervisor, with other settings than these; different: {names}.",
        where=str(locked.state.root),
        remedy="Stop it with `peaker stop` and run again, or put the settings back to take it over.",
    )


def _differences(running: Settings, settings: Settings) -> list[str]:
    names = []
    for section in ("app", "objective", "servers", "functions"):
        old, new = getattr(running, section), getattr(settings, section)
        names += [f"{section}.{key}" for key in type(old).__slots__ if getattr(old, key) != getattr(new, key)]
    names += [
        name
        for name in ("env", "resource", "route", "function", "directory")
        if getattr(running, name) != getattr(settings, name)
    ]
    return names


def _member(process: ProcessRecord, child: Child, clock: Clock) -> Member:
    role = Role(Kind(process.kind), process.server, process.index)
    return Member(role, process.name, child, row=process.row, started_epoch_s=process.started_epoch_s, clock=clock)
