"""The supervisor: starts everything, watches it, starts the dead again, and stops it in order. It carries no traffic.

Whatever happens (a death, a status, a command, a moment that has come) wakes one loop, which compares what there should
be with what there is and acts on the difference. Starting fresh, taking over and scaling are that one comparison.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from peaker.app import local_functions, worker_count
from peaker.clock import Clock
from peaker.control_socket import ControlServer, Status
from peaker.engines.local.child import exit_words, reap_orphans
from peaker.engines.local.launch import MODULES, Launch, open_listeners
from peaker.engines.local.member import Member
from peaker.engines.local.restarts import Restarts
from peaker.engines.local.rows import Rows
from peaker.engines.local.server_view import servers_of
from peaker.engines.local.state_dir import LockedState, RunRecord, started_ticks
from peaker.engines.local.takeover import Found, find_running
from peaker.errors import AppStartError, CapacityUnavailable, PeakerError, SettingsError
from peaker.interfaces import Fleet, Server
from peaker.policy import supervision
from peaker.policy.supervision import STOP_ORDER, Kind, Role
from peaker.settings import Settings

KILL_GRACE_S = 2.0
"""A process ends its own drain at drain_s_max; the supervisor's knife falls this much later."""
FAILED_GRACE_S = 2.0
INPUT_IS_WRONG = (2, 3)
"""How a process exits over settings (2) or over an app that does not import or start (3, servers/worker.py)."""
STARTS_MAX = 3
"""At the first start of all, a process that ends without saying why is started this often."""

_logger = logging.getLogger("peaker.supervisor")


class Supervisor(Fleet):
    """Has the state directory, the sockets and the processes of one app.

    `open` makes one, `run` returns when everything has stopped.
    """

    def __init__(self, locked: LockedState, launch: Launch, found: Found, servers: int, clock: Clock) -> None:
        settings = launch.settings
        self.launch = launch
        self._settings = settings
        self._locked = locked
        self._clock = clock
        self._workers_per_server = worker_count(settings)
        self._servers = servers
        self._host = bool(local_functions(settings))
        self._members: list[Member] = found.members
        self._restarts = Restarts()
        self._is_stopping = False
        self._stop_deadline_s = 0.0
        self._start_error: PeakerError | None = None
        self.took_over = found.is_running
        self._was_settled = found.is_running
        self.urls = launch.listeners.urls()
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()
        self._written: RunRecord | None = None
        self._started_epoch_s = clock.epoch_s()
        self.rows = Rows(launch.state, settings, self._workers_per_server, is_fresh=not found.is_running)
        self._control = ControlServer(
            launch.state.supervisor_socket,
            process="supervisor",
            generation=launch.generation,
            commands={
                "scale": self._scale_command,
                "settled": self._settled_command,
                "drain": self._drain_command,
            },
        )
        self.rows.clear_all_but(self._rows_taken())
        for member in self._members:
            self._follow(member)

    @classmethod
    async def open(
        cls, locked: LockedState, settings: Settings, clock: Clock, modules: Mapping[Kind, str] = MODULES
    ) -> Supervisor:
        """Start fresh or take over, whichever the state directory calls for; nothing is started yet.

        Raises:
            StateError: what runs there has other settings.
            ListenError: an address cannot be listened on.
        """
        found = await find_running(locked, settings, clock)
        host = bool(local_functions(settings))
        listeners = open_listeners(settings, found.listeners, host=host)
        before = found.record
        if found.is_running and before is not None:
            generation, servers = before.generation, before.servers
        else:
            generation = before.generation + 1 if before else 1
            servers = supervision.servers_at_least(settings)
            locked.write_settings(generation, settings.to_json())
        launch = Launch(settings, locked.state, generation, listeners, modules)
        return cls(locked, launch, found, servers, clock)

    @property
    def is_settled(self) -> bool:
        """Every role is filled by a ready process, and there is nobody else."""
        if self._is_stopping or any(member.is_draining for member in self._members):
            return False
        roles = {member.role for member in self._members}
        return roles == set(self._wanted()) and all(member.status is Status.READY for member in self._members)

    @property
    def members(self) -> Sequence[Member]:
        """The processes there are."""
        return tuple(self._members)

    async def settled(self) -> None:
        """Wait until `is_settled`; raises the error of an app that does not start."""
        async with self._progress:
            await self._progress.wait_for(lambda: self.is_settled or self._is_stopping)
        if self._start_error is not None:
            raise self._start_error

    async def run(self) -> None:
        """Supervise until everything has stopped.

        Raises:
            PeakerError: the app did not start; the error is the one its process gave.
        """
        if os.getpid() == 1:
            asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        try:
            while True:
                self._wake.clear()
                next_s = self._reconcile()
                await self._tell_progress()
                if self._is_stopping and not self._members:
                    break
                timeout_s = max(0.0, next_s - self._clock.now_s()) if next_s is not None else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await self._wake.wait()
        finally:
            self._close()
        if self._start_error is not None:
            raise self._start_error

    def stop(self) -> None:
        """Drain everything within drain_s_max; asked a second time, kill it."""
        if self._is_stopping:
            _logger.warning("stopping at once", extra={"action": "kill"})
            for member in self._members:
                member.child.kill_session()
            return
        _logger.info("draining; once more stops at once", extra={"action": "drain"})
        self._is_stopping = True
        self._stop_deadline_s = self._clock.now_s() + self._settings.servers.drain_s_max
        for member in self._members:
            if member.is_draining and member.kill_at_s is not None:
                member.kill_at_s = min(member.kill_at_s, self._stop_deadline_s + KILL_GRACE_S)
        # Without this copy the port is refused as soon as the last worker has let go of its own.
        self.launch.listeners.app.close()
        self._control.set_status(Status.DRAINING)
        self._wake.set()

    async def set_server_count(self, count: int) -> None:
        """Have this many servers; raises CapacityUnavailable outside count_min..count_max or while stopping."""
        low, high = supervision.servers_at_least(self._settings), self._settings.servers.count_max
        if not low <= count <= high:
            raise CapacityUnavailable(
                f"servers = {count} is not allowed; allowed: {low} to {high}.",
                remedy="The range is servers.count_min to servers.count_max.",
            )
        if self._is_stopping:
            raise CapacityUnavailable("everything is being stopped.")
        if count != self._servers:
            _logger.info("servers: %d, were %d", count, self._servers, extra={"action": "scale"})
        self._servers = count
        self._wake.set()

    async def servers(self) -> Sequence[Server]:
        """The servers there are now, whatever their status."""
        return servers_of(self._members, self._workers_per_server)

    # What there should be, and what to do about it.

    def _wanted(self) -> tuple[Role, ...]:
        return supervision.roles_wanted(self._servers, self._workers_per_server, host=self._host)

    def _reconcile(self) -> float | None:
        """Act on every difference; returns when to look again without being woken."""
        now_s = self._clock.now_s()
        for member in [member for member in self._members if member.child.has_exited]:
            self._bury(member, now_s)
        self._judge_failed(now_s)
        if self._is_stopping:
            self._drain_next_kind(now_s)
        else:
            self._fill_roles(now_s)
        self._kill_overdue(now_s)
        self._announce()
        self._write_run()
        moments = [member.kill_at_s for member in self._members]
        moments += [None if self._is_stopping else self._restarts.next_s(now_s)]
        return min((moment for moment in moments if moment is not None), default=None)

    def _fill_roles(self, now_s: float) -> None:
        wanted = self._wanted()
        filled = {member.role for member in self._members if not member.is_draining}
        self._restarts.keep(wanted)
        for member in self._members:
            if member.role not in wanted and not member.is_draining:
                member.drain(now_s + self._settings.servers.drain_s_max + KILL_GRACE_S)
        for role in wanted:
            if role not in filled and self._restarts.may_start(role, now_s) and self._is_name_free(role):
                self._start(role, now_s)

    def _is_name_free(self, role: Role) -> bool:
        """The host and control have one name each: an heir waits until its predecessor is gone."""
        return role.kind is Kind.WORKER or all(member.role.kind is not role.kind for member in self._members)

    def _start(self, role: Role, now_s: float) -> None:
        row, name = None, role.kind.value
        if role.kind is Kind.WORKER:
            row = self.rows.free(self._rows_taken())
            if row is None:
                return  # Draining workers hold every row; the end of one of them wakes this loop.
            name = f"worker-{row}"
        try:
            child = self.launch.start(role, row)
        except PeakerError as error:
            self._restarts.could_not_start(role, now_s)
            _logger.error("%s: %s", name, error, extra={"action": "start"})  # noqa: TRY400 - the text says it all
            return
        member = Member(role, name, child, row=row, started_epoch_s=self._clock.epoch_s(), clock=self._clock)
        member.kill_at_s = now_s + self._settings.servers.start_s_max
        self._members.append(member)
        self._write_run()  # At once: a successor must know of it.
        self._follow(member)

    def _follow(self, member: Member) -> None:
        member.watch(self.launch.state.control_socket(member.name), self._wake.set)

    def _judge_failed(self, now_s: float) -> None:
        for member in self._members:
            if member.status is Status.READY and not member.is_draining:
                member.kill_at_s = None
            elif member.status is Status.DRAINING and not member.is_draining:
                member.is_draining = True  # On its own account: it was without a supervisor for too long.
                member.kill_at_s = now_s + self._settings.servers.drain_s_max + KILL_GRACE_S
            elif member.status is Status.FAILED and not member.has_failed:
                member.has_failed = True  # It ends by itself after saying why.
                member.kill_at_s = now_s + FAILED_GRACE_S

    def _kill_overdue(self, now_s: float) -> None:
        for member in self._members:
            if member.kill_at_s is None or now_s < member.kill_at_s or member.child.has_exited:
                continue
            if member.status is Status.STARTING and not member.is_draining:
                member.error = f"it did not start within servers.start_s_max = {self._settings.servers.start_s_max:g} s"
            else:
                _logger.warning("%s did not end in time and is killed", member.name, extra={"action": "kill"})
            member.child.kill_session()
            member.kill_at_s = None

    # Ends.

    def _bury(self, member: Member, now_s: float) -> None:
        self._members.remove(member)
        self.launch.state.control_socket(member.name).unlink(missing_ok=True)
        if member.row is not None:
            self.launch.state.hand_over_socket(member.row).unlink(missing_ok=True)
            self.rows.clear(member.row)
        if self._is_stopping or member.is_draining:
            return
        how = exit_words(member.child.exit_status)
        reason = f": {member.error}" if member.error else ""
        ready_for_s = now_s - member.ready_s if member.ready_s is not None else None
        failures, delay_s = self._restarts.died(member.role, ready_for_s=ready_for_s, now_s=now_s)
        if not self._was_settled and (member.error or failures >= STARTS_MAX):
            self._give_up(member, member.error or f"it {how} {failures} times in a row.")
            return
        again = f"in {delay_s:g} s (death {failures} in a row)" if delay_s else "at once"
        _logger.warning(
            "%s (pid %d) %s%s; started again %s", member.name, member.child.pid, how, reason, again,
            extra={"action": "restart"},
        )  # fmt: skip

    def _give_up(self, member: Member, reason: str) -> None:
        """The first start of all: what does not start now will not start later either, so it is said and ended."""
        error = AppStartError(reason, where=member.name)
        if member.child.exit_status in INPUT_IS_WRONG:
            error.exit_code = SettingsError.exit_code
        self._start_error = self._start_error or error
        self.stop()

    def _drain_next_kind(self, now_s: float) -> None:
        for kind in STOP_ORDER:
            alive = [member for member in self._members if member.role.kind is kind]
            for member in alive:
                if not member.is_draining:
                    # At least a moment for the kinds after the first, however long that took.
                    member.drain(max(self._stop_deadline_s, now_s) + KILL_GRACE_S)
            if alive:
                return

    def _rows_taken(self) -> set[int]:
        return {member.row for member in self._members if member.row is not None}

    def _reap(self) -> None:
        reap_orphans({member.child.pid: member.child for member in self._members})

    def _close(self) -> None:
        for member in self._members:
            member.forget()
        self._control.close()
        self.launch.listeners.close()
        self.rows.close()

    # What others see.

    def _announce(self) -> None:
        if self.is_settled:
            self._was_settled = True
            if self._control.status is not Status.READY:
                self._control.set_status(Status.READY)

    async def _tell_progress(self) -> None:
        async with self._progress:
            self._progress.notify_all()

    def _write_run(self) -> None:
        app_url, ops_url, lambda_endpoint = self.urls
        record = RunRecord(
            app=self._settings.app.name,
            generation=self.launch.generation,
            supervisor_pid=os.getpid(),
            supervisor_ticks=started_ticks(os.getpid()) or 0,
            servers=self._servers,
            directory=self._settings.directory,
            started_epoch_s=self._started_epoch_s,
            app_url=app_url,
            ops_url=ops_url,
            lambda_endpoint=lambda_endpoint,
            processes=tuple(member.record() for member in self._members),
        )
        if record == self._written:
            return
        try:
            self._locked.write_run(record)
        except OSError as error:
            # A full disk must not end the supervision; the next change tries again.
            _logger.error("run.json cannot be written: %s", error, extra={"action": "record"})  # noqa: TRY400
            return
        self._written = record

    async def _scale_command(self, line: dict[str, Any]) -> dict[str, Any]:
        count = line.get("servers")
        if not isinstance(count, int) or isinstance(count, bool):
            raise CapacityUnavailable(f"servers = {count!r} is not a whole number.")
        before = self._servers
        await self.set_server_count(count)
        if line.get("wait", True):
            await self.settled()
        return {"servers": count, "before": before}

    async def _settled_command(self, _: dict[str, Any]) -> dict[str, Any]:
        await self.settled()
        return {"settled": self.is_settled}

    async def _drain_command(self, _: dict[str, Any]) -> dict[str, Any]:
        if not self._is_stopping:
            self.stop()
        return {}
