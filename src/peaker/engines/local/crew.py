"""The processes of the running app: which there should be, and starting and draining until they are those.

Of one generation this is a plain comparison of roles. During a reload (`generations.py`) two are there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from peaker.app import local_functions, needs_host, takes_events, worker_count
from peaker.clock import Clock
from peaker.control_socket import Status
from peaker.engines.local.deadlines import KILL_GRACE_S
from peaker.engines.local.generations import Reload, is_outgoing_host_needed
from peaker.engines.local.launch import Launch
from peaker.engines.local.member import Member
from peaker.engines.local.restarts import Restarts
from peaker.engines.local.rows import Rows
from peaker.errors import PeakerError
from peaker.local_aws_section import LOCAL
from peaker.policy import supervision
from peaker.policy.supervision import STOP_ORDER, Kind, Role
from peaker.settings import Settings

DEBUGGED_S_MAX = 86_400.0

_logger = logging.getLogger("peaker.supervisor")


class Crew:
    """Members, and what decides about them: the current launch, the number of servers, a reload if there is one.

    `wake` is called when something about a member has changed, `note` when one was started.
    """

    def __init__(
        self,
        launch: Launch,
        members: list[Member],
        *,
        servers: int,
        is_fresh: bool,
        clock: Clock,
        wake: Callable[[], None],
        note: Callable[[], None],
    ) -> None:
        self.launch = launch
        self.members = members
        self.servers = servers
        self.reload: Reload | None = None
        self.restarts = Restarts()
        self.workers_per_server = worker_count(launch.settings)
        self.rows = Rows(launch.state, launch.settings, self.workers_per_server, is_fresh=is_fresh)
        self._clock = clock
        self._wake = wake
        self._note = note
        self.rows.clear_all_but(self._rows_taken())
        for member in members:
            self.follow(member)

    @property
    def settings(self) -> Settings:
        """Those of the current generation."""
        return self.launch.settings

    @property
    def generations(self) -> set[int]:
        """All that are there."""
        return {self.launch.generation, *(member.generation for member in self.members)}

    @property
    def is_settled(self) -> bool:
        """Every role is filled by a ready process, and there is nobody else."""
        if self.reload is not None or any(member.is_draining for member in self.members):
            return False
        roles = {member.role for member in self.members if member.generation == self.launch.generation}
        return roles == set(self.wanted(self.launch)) and all(member.status is Status.READY for member in self.members)

    @property
    def _drain_s_max(self) -> float:
        """A worker ends its drain by itself; one whose loop is stopped in a debugger is left alone."""
        return DEBUGGED_S_MAX if self.launch.is_development else self.settings.servers.drain_s_max

    def wanted(self, launch: Launch) -> tuple[Role, ...]:
        """Roles of one generation."""
        workers = self.workers_per_server if launch.settings.app.web else 0
        return supervision.roles_wanted(
            self.servers,
            workers,
            host=needs_host(launch.settings),
            events=takes_events(launch.settings),
            aws=launch.settings.aws.endpoint == LOCAL,
        )

    def follow(self, member: Member) -> None:
        """Watch its process and its control socket."""
        member.watch(self.launch.state.control_socket(member.name), self._wake)

    def fill(self, now_s: float) -> None:
        """Start whom there should be and drain whom there should not; go on with a reload."""
        if self.reload is not None and self.reload.is_begun:
            self._commit_if_ready(self.reload)
        wanted = self.wanted(self.launch)
        self.restarts.keep(wanted)
        self._drain_unwanted(wanted, now_s)
        gave_way = self.reload.gave_way if self.reload is not None else set[Role]()
        for role in wanted:
            is_open = role not in gave_way and not self._is_filled(role, self.launch)
            if is_open and self.restarts.may_start(role, now_s):
                self._start(self.launch, role, now_s)
        if self.reload is not None and self.reload.is_begun:
            self._start_reloaded(self.reload, now_s)

    def reloaded_died(self, member: Member, how: str) -> None:
        """One process of a new generation that fails ends it; one of an outgoing generation has no heir."""
        if self.reload is None or member.generation != self.reload.generation:
            return
        reason = member.error or f"it {how} while it started."
        _logger.error(
            "reload: %s: %s Generation %d serves on.", member.name, reason, self.launch.generation,
            extra={"action": "reload"},
        )  # fmt: skip
        self.reload.fail(f"{member.name} of generation {member.generation}: {reason}")
        self.reload = None  # From here on its processes are unwanted, and drain.

    def drain_next_kind(self, now_s: float, deadline_s: float) -> None:
        """One step of the end of everything: the kinds one after another."""
        for kind in STOP_ORDER:
            alive = [member for member in self.members if member.role.kind is kind]
            for member in alive:
                if not member.is_draining:
                    # At least a moment for the kinds after the first, however long that took.
                    member.drain(max(deadline_s, now_s) + KILL_GRACE_S)
            if alive:
                return

    def remove(self, member: Member) -> None:
        """Its process has ended: clear what it leaves."""
        self.members.remove(member)
        self.launch.state.control_socket(member.name).unlink(missing_ok=True)
        if member.row is not None:
            self.launch.state.hand_over_socket(member.row).unlink(missing_ok=True)
            self.rows.clear(member.row)

    def _commit_if_ready(self, reload: Reload) -> None:
        if not reload.is_ready(self.members, self.wanted(reload.launch)):
            return
        before, self.launch = self.launch, reload.launch
        for member in self.members:
            if member.role.kind.outlives_reloads:
                member.generation = self.launch.generation
        low, high = supervision.servers_at_least(self.settings), self.settings.servers.count_max
        self.servers = min(max(self.servers, low), high)
        _logger.info(
            "reload: generation %d serves; generation %d drains",
            self.launch.generation, before.generation, extra={"action": "reload"},
        )  # fmt: skip
        reload.succeed()
        self.reload = None

    def _drain_unwanted(self, wanted: tuple[Role, ...], now_s: float) -> None:
        incoming = self.reload.generation if self.reload is not None and self.reload.is_begun else None
        drain_s_max = self._drain_s_max
        for member in self.members:
            if member.is_draining or member.generation == incoming:
                continue
            if member.generation == self.launch.generation:
                if member.role not in wanted:
                    member.drain(now_s + drain_s_max + KILL_GRACE_S)
            elif member.role.kind is not Kind.HOST:
                has_heir = {"has_heir": True} if member.role.kind is Kind.EVENTS and member.role in wanted else {}
                member.drain(now_s + drain_s_max + KILL_GRACE_S, **has_heir)
            elif not is_outgoing_host_needed(member, self.members):
                # What was invoked from outside may run for as long as a function may.
                longest_s = max((spec.timeout_s for spec in local_functions(self.settings)), default=0.0)
                within_s = max(drain_s_max, longest_s)
                idle_s = self.settings.servers.drain_idle_s
                member.drain(now_s + within_s + KILL_GRACE_S, within_s=within_s, idle_s=idle_s)

    def _start_reloaded(self, reload: Reload, now_s: float) -> None:
        for role in self.wanted(reload.launch):
            if role.kind.is_shared or self._is_filled(role, reload.launch):
                continue
            if role.kind is Kind.WORKER and self.rows.free(self._rows_taken()) is None:
                self._make_way(reload, now_s)
                return
            self._start(reload.launch, role, now_s)

    def _make_way(self, reload: Reload, now_s: float) -> None:
        """Every row is taken: one old worker drains, and its row is the heir's; one at a time."""
        workers = [member for member in self.members if member.role.kind is Kind.WORKER]
        if any(member.is_draining or member.status is Status.STARTING for member in workers):
            return
        oldest = next((member for member in workers if member.generation == self.launch.generation), None)
        if oldest is not None:
            reload.gave_way.add(oldest.role)
            oldest.drain(now_s + self._drain_s_max + KILL_GRACE_S)

    def _is_filled(self, role: Role, launch: Launch) -> bool:
        """Also while a draining process, no worker, is still there: an heir of the same generation waits for its end.

        Of what is one for all generations the heir waits for that of any.
        """
        found = (member for member in self.members if member.role == role)
        if role.kind.is_shared:
            return any(found)
        return any(
            member.generation == launch.generation and not (member.is_draining and role.kind is Kind.WORKER)
            for member in found
        )

    def _start(self, launch: Launch, role: Role, now_s: float) -> None:
        row, name = None, role.kind.value
        if role.kind is Kind.WORKER:
            row = self.rows.free(self._rows_taken())
            if row is None:
                return  # Draining workers hold every row; the end of one of them wakes this loop.
            name = f"worker-{row}"
        elif any(member.name == name for member in self.members):
            name = f"{name}-{launch.generation}"
        try:
            child = launch.start(role, row, name)
        except PeakerError as error:
            self.restarts.could_not_start(role, now_s)
            _logger.error("%s: %s", name, error, extra={"action": "start"})  # noqa: TRY400 - the text says it all
            return
        member = Member(
            role, name, child, row=row, generation=launch.generation,
            started_epoch_s=self._clock.epoch_s(), clock=self._clock,
        )  # fmt: skip
        member.kill_at_s = now_s + launch.settings.servers.start_s_max
        self.members.append(member)
        self._note()  # At once: a successor must know of it.
        self.follow(member)

    def _rows_taken(self) -> set[int]:
        return {member.row for member in self.members if member.row is not None}
