"""What a supervisor finds running when it starts: nothing, or the processes of one that is gone."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from peaker.clock import Clock
from peaker.control_socket import CommandRefused, ControlClient, ControlUnavailable, Status
from peaker.engines.local.child import Child
from peaker.engines.local.generations import differences
from peaker.engines.local.member import Member
from peaker.engines.local.state_dir import LockedState, ProcessRecord, RunRecord, read_run, started_ticks
from peaker.errors import StateError
from peaker.policy.supervision import Kind, Role
from peaker.settings import Settings
from peaker.state import StateDirectory

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


def is_anything_running(state: StateDirectory) -> bool:
    """A process of run.json lives; raises StateError where that cannot be read."""
    record = read_run(state)
    processes = record.processes if record is not None else ()
    return any(started_ticks(process.pid) == process.started_ticks for process in processes)


async def find_running(
    locked: LockedState, settings: Settings, clock: Clock, listeners: Mapping[Kind, socket.socket]
) -> Found:
    """Adopt the living processes of run.json and take their listening sockets, but for those that are had already.

    Raises:
        StateError: they run with other settings, or with another app's.
    """
    record = read_run(locked.state)
    if record is None:
        return Found()
    found = Found(record=record, listeners=dict(listeners))
    for process in record.processes:
        with contextlib.suppress(ProcessLookupError):
            child = Child.adopt(process.pid, process.started_ticks)
            found.members.append(adopted(process, child, clock, record.generation))
    if not found.is_running:
        return found
    require_same_settings(locked.state, settings, record)
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
        if kind.listens and kind not in found.listeners and not member.is_draining:
            found.listeners[kind] = await client.receive_socket("listener", timeout_s=ANSWER_S_MAX)
    except (ControlUnavailable, CommandRefused) as error:
        _logger.warning("%s (pid %d) did not hand over its socket: %s", member.name, member.child.pid, error)
    finally:
        client.close()


def require_same_settings(state: StateDirectory, settings: Settings, record: RunRecord) -> None:
    """What runs was started with these settings; raises StateError naming those that differ."""
    path = state.settings_of(record.generation)
    try:
        running = Settings.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StateError(f"the settings of what is running cannot be read: {error}.", where=str(path)) from error
    if running == settings:
        return
    names = ", ".join(differences(running, settings))
    raise StateError(
        f"{record.app!r} is running with other settings than these; different: {names}.",
        where=str(state.root),
        remedy="Put the settings back to take it over and `peaker reload` after that, or `peaker stop` and run again.",
    )


def adopted(process: ProcessRecord, child: Child, clock: Clock, generation: int) -> Member:
    """A process of run.json as a member; `generation` is that of records which do not say."""
    return Member(
        Role(Kind(process.kind), process.server, process.index),
        process.name,
        child,
        row=process.row,
        generation=process.generation or generation,
        started_epoch_s=process.started_epoch_s,
        clock=clock,
    )
