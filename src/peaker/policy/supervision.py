"""What the supervisor decides: which processes there should be, and when a dead one is started again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from peaker.settings import Settings

RESTART_DELAY_S_FIRST = 0.5
RESTART_DELAY_S_MAX = 30.0
STEADY_S = 2.0
"""A process that was ready for this long has started well; its next death is a first one again."""

ROWS_SPARE_MAX = 64
WORKERS_MAX = 1024
"""Workers of one machine; a status sums over a row of 9 KB for each."""


class Kind(Enum):
    """What a process is."""

    WORKER = "worker"
    HOST = "host"
    EVENTS = "events"
    CONTROL = "control"
    AWS = "aws"

    @property
    def is_shared(self) -> bool:
        """One for all generations; the others are there once for each."""
        return self in (Kind.EVENTS, Kind.CONTROL, Kind.AWS)

    @property
    def outlives_reloads(self) -> bool:
        """It goes on as it is, for all it holds is in memory; what else is shared is begun anew after a reload."""
        return self is Kind.AWS

    @property
    def listens(self) -> bool:
        """It has a socket that outlives it; events are sent over one that is made anew."""
        return self is not Kind.EVENTS


STOP_ORDER = (Kind.WORKER, Kind.EVENTS, Kind.HOST, Kind.AWS, Kind.CONTROL)
"""Workers first: what they hold may still need a function, and `/ready` must say no while they drain. Events before the
host that runs them, and the stand-in for AWS when nobody is left who calls it."""


@dataclass(frozen=True, slots=True)
class Role:
    """One place to be filled by one process: worker `index` of server `server` (from 1), or what there is one of."""

    kind: Kind
    server: int = 0
    index: int = 0


def roles_wanted(
    servers: int, workers_per_server: int, *, host: bool, events: bool = False, aws: bool = False
) -> tuple[Role, ...]:
    """Every role of a running app; what there is one of comes first, for workers use it."""
    kinds = ((Kind.AWS, aws), (Kind.HOST, host), (Kind.EVENTS, events), (Kind.CONTROL, True))
    beside = [Role(kind) for kind, is_there in kinds if is_there]
    workers = [
        Role(Kind.WORKER, server, index) for server in range(1, servers + 1) for index in range(workers_per_server)
    ]
    return (*beside, *workers)


def servers_at_least(settings: Settings) -> int:
    """The gate lives in workers, so on one machine a web app always has one server, whatever count_min says."""
    return max(1, settings.servers.count_min) if settings.app.web else 0


def is_steered(settings: Settings) -> bool:
    """There is something to decide about the number of servers, and a policy that does."""
    least = servers_at_least(settings)
    return bool(settings.app.web) and settings.servers.policy != "fixed" and least < settings.servers.count_max


def table_rows(workers_max: int, workers_per_server: int) -> int:
    """Rows of the shared tables: every worker there may be, and room for those that still drain beside their heirs."""
    return workers_max + min(workers_max, max(workers_per_server, ROWS_SPARE_MAX))


def free_row(rows: int, taken: Collection[int]) -> int | None:
    """The lowest row nobody has, None where all are taken."""
    return next((row for row in range(rows) if row not in taken), None)


def failures_in_a_row(before: int, ready_for_s: float | None) -> int:
    """Deaths that count together, this one included; `ready_for_s` is None for a process that was never ready."""
    return 1 if ready_for_s is not None and ready_for_s >= STEADY_S else before + 1


def restart_delay_s(failures: int) -> float:
    """At once after the first death, then 0.5 s, doubling to at most half a minute."""
    if failures <= 1:
        return 0.0
    return min(RESTART_DELAY_S_FIRST * 2.0 ** min(failures - 2, 16), RESTART_DELAY_S_MAX)
