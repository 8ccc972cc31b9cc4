"""A route asked one request at a time, by nobody else: its time, its CPU time, the size of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peaker.clock import Clock
from peaker.errors import PeakerError
from peaker.http1 import EffectUnknown, NotSent, Pool
from peaker.plan.measured import POINTS, RouteMeasured
from peaker.plan.workload import quantiles_of
from peaker.traffic.mix import Target

WARM_UP_REQUESTS = 5
REQUESTS_MAX = 200
REQUESTS_MIN = 5
"""Of one route, however slow it is, unless it takes longer than the time-out."""


class NothingToMeasure(PeakerError):  # noqa: N818 - named for what was found
    """A path is not answered as it is in production."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as it is sent: `name` for people, `request` its bytes."""

    target: Target
    request: bytes

    @property
    def name(self) -> str:
        """`GET /x`."""
        return f"{self.target.method} {self.target.path}"


@dataclass(frozen=True, slots=True)
class Unasked:
    """What goes on a second when nobody asks: CPU time of the worker (None where unknown), and waiting for a core."""

    cpu_per_s: float | None
    core_wait_per_s: float


async def watch_unasked(
    cpu_time_s: Callable[[], float | None], core_wait_s: Callable[[], float], watch_s: float, clock: Clock
) -> Unasked:
    """Look on for a while; a worker beats a hundred times a second, and each beat may have to wait for a core."""
    began_s, before_s, wait_before_s = clock.now_s(), cpu_time_s(), core_wait_s()
    await asyncio.sleep(watch_s)
    after_s, elapsed_s = cpu_time_s(), clock.now_s() - began_s
    cpu_per_s = None if before_s is None or after_s is None else (after_s - before_s) / elapsed_s
    return Unasked(cpu_per_s, max(0.0, core_wait_s() - wait_before_s) / elapsed_s)


async def measure_route(
    ask: Ask,
    pool: Pool,
    cpu_time_s: Callable[[], float | None],
    *,
    core_wait_s: Callable[[], float],
    share: float,
    unasked: Unasked,
    budget_s: float,
    timeout_s: float,
    clock: Clock,
) -> RouteMeasured:
    """Ask until REQUESTS_MAX or `budget_s` are over, each request after the answer to the one before.

    `core_wait_s` tells how long both ends have waited for a core so far. A request's time is without what that is above
    `unasked`, since on a machine that is busy with other things it says nothing about the app.

    Raises:
        NothingToMeasure: it is not answered, or with a status of 400 or more.
    """
    began_s = clock.now_s()  # not the loop's time, which may count whole milliseconds
    sizes = [await _asked(ask, pool, timeout_s)]
    for _ in range(WARM_UP_REQUESTS - 1):
        if clock.now_s() - began_s > budget_s / 4:
            break
        await _asked(ask, pool, timeout_s)
    times_s: list[float] = []
    waits_s: list[float] = []
    measured_from_s, cpu_before_s = clock.now_s(), cpu_time_s()
    while len(times_s) < REQUESTS_MAX and (len(times_s) < REQUESTS_MIN or clock.now_s() - began_s < budget_s):
        wait_before_s, sent_s = core_wait_s(), clock.now_s()
        sizes.append(await _asked(ask, pool, timeout_s))
        took_s = clock.now_s() - sent_s
        waited_s = core_wait_s() - wait_before_s - unasked.core_wait_per_s * took_s
        times_s.append(took_s)
        waits_s.append(min(took_s, max(0.0, waited_s)))
    cpu_after_s, elapsed_s = cpu_time_s(), clock.now_s() - measured_from_s
    cpu_s = None
    if cpu_before_s is not None and cpu_after_s is not None and unasked.cpu_per_s is not None:
        cpu_s = max(0.0, cpu_after_s - cpu_before_s - unasked.cpu_per_s * elapsed_s) / len(times_s)
    return RouteMeasured(
        target=ask.name,
        share=share,
        requests=len(times_s),
        service_s=quantiles_of(undisturbed(times_s, waits_s, cpu_s), POINTS),
        cpu_s=cpu_s,
        response_bytes=sum(sizes) / len(sizes),
        waited_s=sum(waits_s) / len(waits_s),
    )


def undisturbed(times_s: Sequence[float], waits_s: Sequence[float], cpu_s: float | None) -> list[float]:
    """Each time without the wait for a core in it, but not below the mean CPU time, `cpu_s`.

    Threads can wait side by side, and a worker that was interrupted when it had answered waits on into the next
    request: the sum of all waits is then longer than what they cost a request.
    """
    return [max(took - waited, min(took, cpu_s or 0.0)) for took, waited in zip(times_s, waits_s, strict=True)]


async def _asked(ask: Ask, pool: Pool, timeout_s: float) -> int:
    """Size of the answer's body."""
    is_head = ask.target.method == "HEAD"
    try:
        answer = await pool.exchange(ask.request, timeout_s=timeout_s, is_head=is_head)
    except (NotSent, EffectUnknown) as error:
        raise NothingToMeasure(f"it was not answered: {error}", where=ask.name) from error
    if answer.status >= 400:
        raise NothingToMeasure(
            f"it is answered with status {answer.status}.",
            where=ask.name,
            remedy="Name what your clients ask with --path; --header gives a header that it needs.",
        )
    return len(answer.body)
