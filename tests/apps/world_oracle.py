"""Judges a run of a world by what came, which servers lived and what functions were allowed; it knows no gate.

Objective. A second is *carried* when its requests' work is at most `CARRIES` of the slots of the servers that live in
all of it, and of the functions that are allowed in all of it: `concurrency_max`, or what throttling leaves; none while
the host is away, or while no server lives, for the gate is in its workers. Of what is left of the day's limit a
sixteenth may be spent in a second (that much is leased to the gates at a time), half of that where one of them has to
bear the load. Work above that gathers, as much as may wait, and is carried with what comes later. A second is *judged*
when it and those before it, as many as `settle_s` says, were carried, nothing changed in them for the worse, and no
step of the load fell into them. Over the judged seconds the share of requests that were late, refused or failed is
added up, less the 5 % that may be: what is owed stays within `excused_s`, which is what the rule of cold starts allows
(decision 4: rent or buy). The first instance is started when being late has lasted as long as a start takes, or is
taken to take; it takes as long again; and each doubling of the instances that the load needs, as long again. One second
is the grain of this.

Spend. What functions were billed for in a UTC day stays within the limit, but for what is in flight when it is
reached: each gate reserves what a run is expected to take, and one may take as long as the longest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from peaker.simulate.case import Case, FaultKind
from peaker.simulate.world import FAILED, FUNCTION, REFUSED, Ran

CARRIES = 0.8
LEASED = 1 / 16
UNEVEN = 0.5
LATE_SHARE = 0.05
COLD_GUESS_S = {"local": 0.02, "lambda": 1.0}
"""What a start is taken to last until one has been seen."""
GRAIN_S = 1.0
STARTS_S = 10.0
"""In the first seconds nothing has been learned."""
SETTLES_S = 3.0
DAY_S = 86_400


def wrongs(case: Case, ran: Ran) -> list[str]:
    """What must not be, in words; empty for a run that is right."""
    return [
        *(f"nobody caught: {error}" for error in ran.errors),
        *_unaccounted(case, ran),
        *_failed_without_cause(case, ran),
        *_reversals(case, ran),
        *_overspent(case, ran),
        *_late(case, ran),
    ]


def _unaccounted(case: Case, ran: Ran) -> Iterator[str]:
    sent, ended = sum(case.counts), len(ran.requests)
    if not sent == ended == ran.outcome.requests == sum(ran.outcome.ends):
        yield f"{sent} requests were sent, {ended} have an end, and {sum(ran.outcome.ends)} are counted"


def _failed_without_cause(case: Case, ran: Ran) -> Iterator[str]:
    """Only what ran in a server that died, or on functions when their host went, may fail."""
    fatal = {FaultKind.SERVER_DIES, FaultKind.HOST_AWAY}
    moments = [fault.at_s for fault in case.faults if fault.kind in fatal]
    for one in ran.requests:
        end_s = one.sent_s + one.latency_s
        if one.where == FAILED and not any(one.sent_s <= at_s <= end_s + 1e-6 for at_s in moments):
            yield f"the request of {one.sent_s:.3f} s failed at {end_s:.3f} s, where nothing died"


def _reversals(case: Case, ran: Ran) -> Iterator[str]:
    if len(set(case.counts)) > 1:
        return
    turns: list[tuple[float, int]] = []
    before = case.servers
    for at_s, servers in ran.outcome.asked_for:
        direction = (servers > before) - (servers < before)
        before = servers
        if direction and (not turns or turns[-1][1] != direction):
            turns.append((at_s, direction))
    reversed_s = [at_s for at_s, _ in turns[1:]]
    for first, second in itertools.pairwise(reversed_s):
        if second - first < case.server_start_s - 1e-6:
            yield f"the number of servers was reversed at {first:.0f} s and again at {second:.0f} s"


def _overspent(case: Case, ran: Ran) -> Iterator[str]:
    if case.spend_usd_per_day_max is None:
        return
    limit = case.spend_usd_per_day_max * 1e6 + in_flight_microusd(case)
    for day, spent in spent_by_day(ran).items():
        if spent > limit:
            yield f"{spent} microdollars were spent on day {day}, {case.spend_usd_per_day_max * 1e6:.0f} are allowed"


def spent_by_day(ran: Ran) -> dict[int, int]:
    """Microdollars by UTC day; a clock that goes back stays on the latest day, whose money is gone."""
    spent: dict[int, int] = {}
    latest = before = 0
    for _, epoch_s, total in ran.billed:
        latest = max(latest, int(epoch_s // DAY_S))
        spent[latest] = spent.get(latest, 0) + total - before
        before = total
    return spent


def in_flight_microusd(case: Case) -> float:
    """What runs that are in flight when the limit is reached may cost above what was set aside for them."""
    work = case.workload
    longest_s = work.service_quantiles_s[-1] * case.functions.factor + work.cold_start_quantiles_s[-1]
    return case.pool.workers * case.servers_max * _microusd(case, longest_s)


def carried(case: Case, ran: Ran) -> list[bool]:
    """For each second, whether servers and functions could carry its work and what had gathered before."""
    work = case.workload
    found: list[bool] = []
    gathered_s = 0.0
    for second, count in enumerate(case.counts):
        servers = _fewest(ran.outcome.servers, second)
        slots = servers * case.pool.slots_per_server
        functions = _functions_allowed(case, ran, second) / case.functions.factor
        gathered_s += count * work.service_mean_s - CARRIES * (slots + functions)
        found.append(servers > 0 and gathered_s <= 0)
        # A line that stands still holds what its slots work off while one of its requests may wait.
        gathered_s = min(
            max(0.0, gathered_s), case.rules.queue_wait_s_max * case.servers_max * case.pool.slots_per_server
        )
    return found


def judged_seconds(case: Case, ran: Ran) -> Iterator[int]:
    """The seconds in which the objective must hold."""
    fits = carried(case, ran)
    span = math.ceil(settle_s(case))
    worse = _worse(case, ran)
    for second in range(math.ceil(STARTS_S), len(fits)):
        since = max(0, second - span)
        if all(fits[since : second + 1]) and not any(since <= at_s < second + 1 for at_s in worse):
            yield second


def settle_s(case: Case) -> float:
    """How long a change for the worse is excused: instances start and what had gathered is worked off."""
    return SETTLES_S + 4 * case.workload.cold_start_quantiles_s[-1] + 2 * case.rules.objective_s


def _worse(case: Case, ran: Ran) -> list[float]:
    moments = [
        float(second) for second in range(1, len(case.counts)) if case.counts[second] > 1.2 * case.counts[second - 1]
    ]
    servers = ran.outcome.servers
    moments += [after[0] for before, after in itertools.pairwise(servers) if after[1] < before[1]]
    for fault in case.faults:
        if fault.kind in {FaultKind.HOST_AWAY, FaultKind.THROTTLED}:
            moments += [fault.at_s, fault.end_s]  # At its end all instances are new, or a pause still lasts.
    return moments


def _fewest(changes: tuple[tuple[float, int], ...], second: int) -> int:
    """Servers ready in all of this second."""
    before = [servers for at_s, servers in changes if at_s <= second]
    within = [servers for at_s, servers in changes if second < at_s < second + 1]
    return min([before[-1] if before else 0, *within])


def _functions_allowed(case: Case, ran: Ran, second: int) -> float:
    allowed = float(case.functions.concurrency_max)
    for fault in case.faults:
        if fault.at_s < second + 1 and fault.end_s > second:
            if fault.kind is FaultKind.HOST_AWAY:
                return 0.0
            if fault.kind is FaultKind.THROTTLED:
                allowed = min(allowed, fault.size)
    if case.spend_usd_per_day_max is not None:
        allowed = min(allowed, _paid_for(case, case.spend_usd_per_day_max * 1e6 - _spent_until(ran, second + 1)))
    return allowed


def _paid_for(case: Case, left_microusd: float) -> float:
    """Functions that may run at once on what is left: runs that one second's leases pay for, each with a start."""
    work, gates = case.workload, case.pool.workers * case.servers_max
    run_s = work.service_mean_s * case.functions.factor
    start_s = max(work.cold_start_mean_s, COLD_GUESS_S[case.like])
    runs = gates * int(LEASED * left_microusd / gates / _microusd(case, run_s + start_s))
    return UNEVEN * runs * min(1.0, run_s)


def _microusd(case: Case, billed_s: float) -> float:
    """A run on arm64 in us-east-1, by the price list of 2026."""
    return billed_s * case.workload.memory_mb / 1024 * 13.3334 + 0.2


def _spent_until(ran: Ran, until_s: float) -> int:
    """Microdollars of the day that this moment falls into."""
    latest = since = before = 0
    for at_s, epoch_s, total in ran.billed:
        if at_s > until_s:
            break
        if int(epoch_s // DAY_S) > latest:
            latest, since = int(epoch_s // DAY_S), before
        before = total
    return before - since


def _late(case: Case, ran: Ran) -> Iterator[str]:
    seconds: dict[int, list[bool]] = {}
    for one in ran.requests:
        bad = one.where in {REFUSED, FAILED} or one.latency_s > case.rules.objective_s
        seconds.setdefault(int(one.sent_s), []).append(bad)
    owed_s = 0.0
    for second in judged_seconds(case, ran):
        ends = seconds.get(second, [])
        if ends:
            owed_s = max(0.0, owed_s + sum(ends) / len(ends) - LATE_SHARE)
        if owed_s > excused_s(case, ran, second):
            yield f"{owed_s:.1f} s too many were late, refused or failed up to second {second}"
            owed_s = 0.0


def excused_s(case: Case, ran: Ran, second: int) -> float:
    """Seconds in which all may be late, owed until the 5 % have paid them back."""
    start_s = max(case.workload.cold_start_quantiles_s[-1], COLD_GUESS_S[case.like])
    slots = _fewest(ran.outcome.servers, second) * case.pool.slots_per_server
    above = case.counts[second] * case.workload.service_mean_s - slots
    return start_s * (2 + math.log2(max(1.0, above))) + GRAIN_S


def spilled(ran: Ran) -> int:
    """How many requests ran on functions."""
    return sum(one.where == FUNCTION for one in ran.requests)
