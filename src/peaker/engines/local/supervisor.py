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
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from peaker.app import needs_host
from peaker.clock import Clock
from peaker.control_socket import CommandRefused, ControlServer, Status
from peaker.engines.local.child import Child, exit_words, reap_orphans
from peaker.engines.local.commands import commands_of
from peaker.engines.local.crew import Crew
from peaker.engines.local.deadlines import KILL_GRACE_S, judge, kill_overdue, next_kill_s
from peaker.engines.local.generations import Reload, ReloadFailed, require_reloadable
from peaker.engines.local.hand_over import Succession
from peaker.engines.local.hold import servers_at_first
from peaker.engines.local.launch import MODULES, Launch, open_listeners
from peaker.engines.local.listener import open_listener
from peaker.engines.local.member import Member
from peaker.engines.local.rows import Rows
from peaker.engines.local.run_file import RunFile
from peaker.engines.local.server_view import servers_of
from peaker.engines.local.state_dir import LockedState, RunRecord, read_run, started_ticks
from peaker.engines.local.takeover import Found, adopted, find_running
from peaker.errors import AppStartError, CapacityUnavailable, PeakerError, SettingsError
from peaker.interfaces import Fleet, Server
from peaker.policy import supervision
from peaker.policy.supervision import Kind
from peaker.settings import Settings

INPUT_IS_WRONG = (2, 3)
"""How a process exits over settings (2) or over an app that does not import or start (3, servers/worker.py)."""
NewSettings = Callable[[], Awaitable[Settings]]
"""Reads and checks the settings again for a reload; raises PeakerError where something is wrong with them."""
STARTS_MAX = 3
"""At the first start of all, a process that ends without saying why is started this often."""

_logger = logging.getLogger("peaker.supervisor")


class Supervisor(Fleet):
    """Has the state directory, the sockets and the processes of one app.

    `open` makes one, `run` returns when everything has stopped.
    """

    def __init__(
        self,
        locked: LockedState,
        launch: Launch,
        found: Found,
        *,
        servers: int,
        clock: Clock,
        new_settings: NewSettings,
    ) -> None:
        self._locked = locked
        self._clock = clock
        self._new_settings = new_settings
        self._is_stopping = False
        self._stop_deadline_s = 0.0
        self._start_error: PeakerError | None = None
        self.took_over = found.is_running
        self._was_settled = found.is_running
        self.urls = launch.listeners.urls()
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()
        self._run_file = RunFile(locked)
        self._looks = 0
        self._generation_last = max([launch.generation, *(member.generation for member in found.members)])
        self._started_epoch_s = clock.epoch_s()
        self._crew = Crew(
            launch,
            found.members,
            servers=servers,
            is_fresh=not found.is_running,
            clock=clock,
            wake=self._wake.set,
            note=self._note,
        )
        self._succession = Succession(locked, on_change=self._wake.set, on_resume=self._resume)
        self._control = self._open_control()

    @classmethod
    async def open(
        cls,
        locked: LockedState,
        settings: Settings,
        clock: Clock,
        modules: Mapping[Kind, str] = MODULES,
        *,
        new_settings: NewSettings | None = None,
        listeners: Mapping[Kind, socket.socket] = MappingProxyType({}),
        is_development: bool = False,
    ) -> Supervisor:
        """Start fresh or take over, whichever the state directory calls for; nothing is started yet.

        `new_settings` gives a reload its settings, absent the same again; `listeners` are sockets that a live
        predecessor has handed over.

        Raises:
            StateError: what runs there has other settings.
            ListenError: an address cannot be listened on.
        """
        found = await find_running(locked, settings, clock, listeners)
        opened = open_listeners(settings, found.listeners)
        before = found.record
        if found.is_running and before is not None:
            generation, servers = before.generation, before.servers
        else:
            generation = before.generation + 1 if before else 1
            servers = servers_at_first(locked.state, settings)
            locked.write_settings(generation, settings.to_json())
        launch = Launch(settings, locked.state, generation, opened, modules, is_development=is_development)

        async def same_again() -> Settings:
            return settings

        return cls(locked, launch, found, servers=servers, clock=clock, new_settings=new_settings or same_again)

    @property
    def launch(self) -> Launch:
        """Of the current generation."""
        return self._crew.launch

    @property
    def rows(self) -> Rows:
        """The supervisor's side of the shared tables."""
        return self._crew.rows

    @property
    def _settings(self) -> Settings:
        return self._crew.settings

    def _open_control(self) -> ControlServer:
        return ControlServer(
            self.launch.state.supervisor_socket,
            process="supervisor",
            generation=self.launch.generation,
            commands=commands_of(self),
        )

    @property
    def is_settled(self) -> bool:
        """Every role is filled by a ready process, and there is nobody else."""
        return not self._is_stopping and self._crew.is_settled

    @property
    def members(self) -> Sequence[Member]:
        """The processes there are."""
        return tuple(self._crew.members)

    async def settled(self) -> None:
        """Wait until `is_settled`; raises the error of an app that does not start."""
        async with self._progress:
            await self._progress.wait_for(lambda: self.is_settled or self._is_stopping)
        if self._start_error is not None:
            raise self._start_error

    @property
    def servers_wanted(self) -> int:
        """How many there should be."""
        return self._crew.servers

    def epoch_s(self) -> float:
        """What its clock says, for whoever writes down when something was asked."""
        return self._clock.epoch_s()

    @property
    def is_stopping(self) -> bool:
        """Everything is being drained."""
        return self._is_stopping

    @property
    def was_replaced(self) -> bool:
        """It ends because another supervisor has taken over."""
        return self._succession.is_done

    @property
    def successor_pid(self) -> int:
        """Who has taken over; 0 without one."""
        return self._succession.successor_pid

    async def has_looked(self) -> None:
        """Wait until run.json says that the app is supervised by this process."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._looks > 0)

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
                self._looks += 1
                await self._tell_progress()
                if self._succession.is_done or (self._is_stopping and not self._crew.members):
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
            for member in self._crew.members:
                member.child.kill_session()
            return
        _logger.info("draining; once more stops at once", extra={"action": "drain"})
        self._is_stopping = True
        if self._crew.reload is not None:
            self._crew.reload.fail("everything is being stopped.")
        self._stop_deadline_s = self._clock.now_s() + self._settings.servers.drain_s_max
        for member in self._crew.members:
            if member.is_draining and member.kill_at_s is not None:
                member.kill_at_s = min(member.kill_at_s, self._stop_deadline_s + KILL_GRACE_S)
        # Without this copy the port is refused as soon as the last worker has let go of its own.
        if self.launch.listeners.app is not None:
            self.launch.listeners.app.close()
        self._control.set_status(Status.DRAINING)
        self._wake.set()

    async def set_server_count(self, count: int) -> None:
        """Have this many servers; raises CapacityUnavailable outside count_min..count_max or while stopping."""
        if not self._settings.app.web:
            raise CapacityUnavailable("there is no web app, so there are no servers.")
        low, high = supervision.servers_at_least(self._settings), self._settings.servers.count_max
        if not low <= count <= high:
            raise CapacityUnavailable(
                f"servers = {count} is not allowed; allowed: {low} to {high}.",
                remedy="The range is servers.count_min to servers.count_max.",
            )
        if self._is_stopping:
            raise CapacityUnavailable("everything is being stopped.")
        if count != self._crew.servers:
            _logger.info("servers: %d, were %d", count, self._crew.servers, extra={"action": "scale"})
        self._crew.servers = count
        self._wake.set()

    async def servers(self) -> Sequence[Server]:
        """The servers there are now, whatever their status."""
        return servers_of(self._crew.members, self._crew.workers_per_server)

    async def reload(self) -> int:
        """Start a new generation of code and settings beside this one, and let it take its place.

        Returns its number once all of it is ready; the old workers drain from then on.

        Raises:
            PeakerError: the settings are wrong or cannot change while the app runs, the app does not import, or a
                process of the new generation failed. What was there goes on as it was.
        """
        if self._is_stopping or self._crew.reload is not None:
            raise ReloadFailed("everything is being stopped." if self._is_stopping else "a reload is going on already.")
        generation = self._generation_last = self._generation_last + 1
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Held from here on, so that a second one is refused while the first still reads and imports.
        reload = self._crew.reload = Reload(generation, ready)
        try:
            settings = await self._new_settings()
            require_reloadable(self._settings, settings)
            if self._is_stopping:
                raise ReloadFailed("everything is being stopped.")  # noqa: TRY301 - one place gives it up
            reload.new_launch = self._launch_of(generation, settings)
        except BaseException:
            self._crew.reload = None
            self._wake.set()
            raise
        _logger.info("reload: generation %d starts", generation, extra={"action": "reload"})
        self._wake.set()
        await ready
        return generation

    def _launch_of(self, generation: int, settings: Settings) -> Launch:
        listeners = self.launch.listeners
        if needs_host(settings) and listeners.invoke is None:
            listeners.invoke = open_listener(settings.functions.invoke_listen, "functions.invoke_listen")
            self.urls = listeners.urls()
        self._locked.write_settings(generation, settings.to_json(), keep=self._crew.generations)
        return replace(self.launch, settings=settings, generation=generation)

    def _reconcile(self) -> float | None:
        """Act on every difference; returns when to look again without being woken."""
        if self._succession.is_under_way:
            return None  # Whatever has to be done is the successor's to do.
        crew, now_s = self._crew, self._clock.now_s()
        for member in [member for member in crew.members if member.child.has_exited]:
            self._bury(member, now_s)
        judge(crew.members, crew.settings, now_s)
        if self._is_stopping:
            crew.drain_next_kind(now_s, self._stop_deadline_s)
        else:
            crew.fill(now_s)
        kill_overdue(crew.members, crew.settings, now_s)
        self._announce()
        self._note()
        moments = [next_kill_s(crew.members), None if self._is_stopping else crew.restarts.next_s(now_s)]
        return min((moment for moment in moments if moment is not None), default=None)

    def begin_hand_over(self, line: dict[str, Any]) -> None:
        """Give way to the process that `line` names; raises CommandRefused while that cannot be."""
        if self._is_stopping or self._crew.reload is not None:
            raise CommandRefused("it is stopping." if self._is_stopping else "a reload is going on.")
        self._succession.begin(line)

    def finish_hand_over(self) -> None:
        """The successor has everything: `run` ends without draining."""
        self._succession.finish()

    # Ends.

    def _bury(self, member: Member, now_s: float) -> None:
        self._crew.remove(member)
        if self._is_stopping or member.is_draining:
            return
        how = exit_words(member.child.exit_status)
        if member.generation != self.launch.generation:
            self._crew.reloaded_died(member, how)
            return
        reason = f": {member.error}" if member.error else ""
        ready_for_s = now_s - member.ready_s if member.ready_s is not None else None
        failures, delay_s = self._crew.restarts.died(member.role, ready_for_s=ready_for_s, now_s=now_s)
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

    def _reap(self) -> None:
        reap_orphans({member.child.pid: member.child for member in self._crew.members})

    def _close(self) -> None:
        for member in self._crew.members:
            member.forget()
        self._control.close()
        self.launch.listeners.close()
        self.rows.close()

    def _resume(self) -> None:
        """A successor died half way: adopt what it has started, and be found under the socket's name again."""
        record = read_run(self.launch.state)
        known = {member.child.pid for member in self._crew.members}
        for process in record.processes if record is not None else ():
            if process.pid not in known:
                with contextlib.suppress(ProcessLookupError):
                    child = Child.adopt(process.pid, process.started_ticks)
                    self._crew.members.append(adopted(process, child, self._clock, self.launch.generation))
                    self._crew.follow(self._crew.members[-1])
        self._control.close()
        self._control = self._open_control()
        self._control.set_status(Status.READY if self._was_settled else Status.STARTING)
        self._run_file.forget()

    # What others see.

    def _announce(self) -> None:
        if self.is_settled:
            self._was_settled = True
            if self._control.status is not Status.READY:
                self._control.set_status(Status.READY)

    async def _tell_progress(self) -> None:
        async with self._progress:
            self._progress.notify_all()

    def _note(self) -> None:
        """Keep run.json in step."""
        self._run_file.write(self._record())

    def _record(self) -> RunRecord:
        app_url, ops_url, lambda_endpoint = self.urls
        return RunRecord(
            app=self._settings.app.name,
            generation=self.launch.generation,
            supervisor_pid=os.getpid(),
            supervisor_ticks=started_ticks(os.getpid()) or 0,
            servers=self._crew.servers,
            directory=self._settings.directory,
            started_epoch_s=self._started_epoch_s,
            app_url=app_url,
            ops_url=ops_url,
            lambda_endpoint=lambda_endpoint,
            aws_endpoint=self.launch.aws_endpoint,
            processes=tuple(member.record() for member in self._crew.members),
        )
