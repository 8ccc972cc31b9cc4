"""What queueing theory says: exact where it can be, to hold the simulation to, and quick enough for wide sweeps.

`load` is the offered load in Erlang: arrivals per second times mean service time. Formulas as in L. Kleinrock,
"Queueing Systems" volume 1 (1975), and, for M/G/c, A. O. Allen, "Probability, Statistics, and Queueing Theory" (1990).
"""

from __future__ import annotations

import math

from peaker.plan.workload import require

SLOTS_MAX = 10_000_000


def erlang_b(slots: int, load: float) -> float:
    """Share of requests that find all slots taken, where none waits (M/G/c/c).

    B(0) = 1, B(n) = load * B(n-1) / (n + load * B(n-1)): all terms are positive and below 1, so nothing overflows and
    no digits are lost with 10,000 slots. With queue_wait_s_max = 0 this is the spilled share.

    Raises:
        PlanError: slots or load out of range.
    """
    _check(slots, load)
    blocked = 1.0
    for slot in range(1, slots + 1):
        offered = load * blocked
        blocked = offered / (slot + offered)
        if slot > load and blocked < 1e-300:
            return 0.0
    return blocked


def erlang_c(slots: int, load: float) -> float:
    """Probability that a request has to wait (M/M/c): B / (1 - rho * (1 - B)); 1 where load is not below slots.

    Raises:
        PlanError: slots or load out of range.
    """
    _check(slots, load)
    if load >= slots:
        return 1.0
    blocked = erlang_b(slots, load)
    return blocked / (1 - load / slots * (1 - blocked))


def mmc_wait_s(slots: int, rate: float, service_s: float) -> float:
    """Mean wait of all requests (M/M/c): C * service / (slots - load); infinite where load is not below slots.

    Args:
        slots: requests served at once.
        rate: arrivals per second.
        service_s: mean service time.

    Raises:
        PlanError: a value out of range.
    """
    load = rate * service_s
    _check(slots, load)
    return math.inf if load >= slots else erlang_c(slots, load) * service_s / (slots - load)


def mmc_wait_share_over(slots: int, rate: float, service_s: float, wait_s: float) -> float:
    """Share of requests that wait longer than this (M/M/c): C * exp(-(slots - load) * wait / service).

    Raises:
        PlanError: a value out of range.
    """
    load = rate * service_s
    require(wait_s >= 0, "wait_s", wait_s, ">= 0")
    return 1.0 if load >= slots else erlang_c(slots, load) * math.exp(-(slots - load) * wait_s / service_s)


def mg1_wait_s(rate: float, service_s: float, deviation_s: float) -> float:
    """Mean wait with one slot and any service times (M/G/1, Pollaczek and Khinchine).

    rate * E[service^2] / (2 * (1 - rho)); infinite where rho >= 1.

    Raises:
        PlanError: a value out of range.
    """
    _check(1, rate * service_s)
    require(deviation_s >= 0, "deviation_s", deviation_s, ">= 0")
    busy = rate * service_s
    return math.inf if busy >= 1 else rate * (service_s**2 + deviation_s**2) / (2 * (1 - busy))


def mgc_wait_s(slots: int, rate: float, service_s: float, deviation_s: float) -> float:
    """Mean wait with several slots and any service times (M/G/c), approximately (Allen and Cunneen).

    The wait of M/M/c times (1 + (deviation / service)^2) / 2: exact for one slot and for exponential times.

    Raises:
        PlanError: a value out of range.
    """
    require(service_s > 0, "service_s", service_s, "> 0")
    require(deviation_s >= 0, "deviation_s", deviation_s, ">= 0")
    return mmc_wait_s(slots, rate, service_s) * (1 + (deviation_s / service_s) ** 2) / 2


def slots_for(load: float, spilled_share_max: float) -> int:
    """The fewest slots with which at most this share finds all of them taken (Erlang B).

    Raises:
        PlanError: a value out of range.
    """
    _check(0, load)
    require(0 < spilled_share_max <= 1, "spilled_share_max", spilled_share_max, "within 0..1 and above 0")
    slots, blocked = 0, 1.0
    while blocked > spilled_share_max:
        slots += 1
        blocked = load * blocked / (slots + load * blocked)
    return slots


def _check(slots: int, load: float) -> None:
    require(0 <= slots <= SLOTS_MAX, "slots", slots, f"within 0..{SLOTS_MAX}")
    require(0 <= load < math.inf, "load", load, ">= 0")
