"""A new supervisor replaces a live one: this is how Peaker upgrades itself. No process of the app notices.

The successor asks (`hand_over`). The old supervisor gives up the lock, does nothing more, and watches the successor by
pidfd. The successor takes the lock, adopts every process, and writes run.json under its own pid; from then on it could
be killed and leave no more than an orphan of its own. It says so (`taken_over`), and the old one exits without
draining. If the successor dies before that, the old one takes the lock back and goes on. If the old one dies, the lock
is free all the same. So there is no moment at which the death of one process leaves the app without a supervisor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from peaker.control_socket import CommandRefused, ControlClient, ControlUnavailable
from peaker.engines.local.child import Child
from peaker.engines.local.state_dir import LockedState, read_run, require_known_schema, started_ticks
from peaker.engines.local.takeover import require_same_settings
from peaker.errors import StateError
from peaker.policy.supervision import Kind
from peaker.settings import Settings
from peaker.state import StateDirectory

ANSWER_S_MAX = 10.0

_logger = logging.getLogger("peaker.supervisor")


class Succession:
    """The old supervisor's side. `on_change` wakes its loop, `on_resume` is called when it goes on after all."""

    def __init__(self, locked: LockedState, *, on_change: Callable[[], None], on_resume: Callable[[], None]) -> None:
        self._locked = locked
        self._on_change = on_change
        self._on_resume = on_resume
        self._successor: Child | None = None
        self.is_done = False

    @property
    def is_under_way(self) -> bool:
        """Asked to hand over: whatever there is to do is for the successor."""
        return self._successor is not None or self.is_done

    @property
    def successor_pid(self) -> int:
        """Who has asked; 0 before."""
        return self._successor.pid if self._successor is not None else 0

    def begin(self, line: dict[str, Any]) -> None:
        """Give up the lock to the process that asks.

        Raises:
            CommandRefused: it is gone already, or another was first, or this process is PID 1 of a container, with
                whose end the container would end.
        """
        if os.getpid() == 1:
            raise CommandRefused("the supervisor is PID 1 of a container, which ends with it; start a new container.")
        if self.is_under_way:
            raise CommandRefused(f"pid {self.successor_pid} is taking over already.")
        try:
            self._successor = Child.adopt(int(line["pid"]), int(line["ticks"]))
        except (ProcessLookupError, KeyError, ValueError, TypeError) as error:
            raise CommandRefused(f"the successor is not there: {error}.") from error
        self._successor.watch(self._successor_died)
        self._locked.release()
        _logger.info("handing over to pid %d", self._successor.pid, extra={"action": "hand over"})
        self._on_change()

    def finish(self) -> None:
        """The successor has everything."""
        self.is_done = True
        self._on_change()

    def _successor_died(self) -> None:
        if self.is_done:
            return
        pid = self.successor_pid
        try:
            self._locked.retake()
        except StateError:
            self.finish()  # A third one was quicker.
            return
        self._successor = None
        _logger.warning("pid %d died while it took over; going on", pid, extra={"action": "hand over"})
        self._on_resume()
        self._on_change()


@dataclass(slots=True)
class Predecessor:
    """The live supervisor as its successor sees it, from `hand_over` to `taken_over`."""

    pid: int
    client: ControlClient
    listeners: dict[Kind, socket.socket] = field(default_factory=dict[Kind, socket.socket])

    async def dismiss(self) -> None:
        """Tell it that everything has been taken over; it may have died meanwhile, which comes to the same."""
        with contextlib.suppress(ControlUnavailable, CommandRefused):
            await self.client.command("taken_over", timeout_s=ANSWER_S_MAX)
        self.client.close()

    def close(self) -> None:
        """It has not handed over."""
        self.client.close()
        for listener in self.listeners.values():
            listener.close()


async def ask_to_hand_over(state: StateDirectory, settings: Settings) -> Predecessor | None:
    """Make the live supervisor give way; None where there is none to ask (a dead one needs no asking).

    Everything that could refuse the take-over is looked at before the old supervisor is asked.

    Raises:
        StateError: the directory is of a schema this version does not know, the app runs with other settings, or the
            supervisor does not hand over.
    """
    if not state.schema.exists():
        return None
    require_known_schema(state)
    record = read_run(state)
    if record is None or started_ticks(record.supervisor_pid) != record.supervisor_ticks:
        return None
    require_same_settings(state, settings, record)
    try:
        client = await ControlClient.connect(state.supervisor_socket, timeout_s=ANSWER_S_MAX)
    except ControlUnavailable as error:
        raise StateError(f"the supervisor (pid {record.supervisor_pid}) does not answer: {error}") from error
    predecessor = Predecessor(record.supervisor_pid, client)
    try:
        for kind in Kind:
            with contextlib.suppress(CommandRefused):  # Not every app has all three.
                predecessor.listeners[kind] = await client.receive_socket("listener", kind=kind.value)
        own = os.getpid()
        await client.command("hand_over", pid=own, ticks=started_ticks(own), timeout_s=ANSWER_S_MAX)
    except ControlUnavailable:
        predecessor.close()
        if started_ticks(record.supervisor_pid) == record.supervisor_ticks:
            raise
        return None  # It died just now, and left the lock free.
    except CommandRefused as error:
        predecessor.close()
        raise StateError(
            f"the supervisor (pid {record.supervisor_pid}) does not hand over: {error}",
            where=str(state.root),
            remedy="One of a version that cannot is replaced by `kill -9` of that pid and `peaker run`.",
        ) from error
    return predecessor
