"""The oracle of worlds finds what is wrong: a judge that lets everything pass would prove nothing."""

from __future__ import annotations

import dataclasses

import pytest
from world_oracle import carried, judged_seconds, wrongs

from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload
from peaker.simulate.case import Case, Fault, FaultKind
from peaker.simulate.world import FAILED, FUNCTION, REFUSED, SERVER, Ended, Ran, run_world

CASE = Case(
    counts=(10,) * 30,
    workload=Workload(service_quantiles_s=(0.05,)),
    pool=ServerPool(slots=4),
    functions=FunctionPool(concurrency_max=10),
    rules=Rules(objective_s=0.5),
    like="local",
)


@pytest.fixture(scope="module")
def right() -> Ran:
    return run_world(CASE, seed=1)


def test_a_run_without_fault_is_right_and_is_judged(right: Ran) -> None:
    assert wrongs(CASE, right) == []
    assert list(judged_seconds(CASE, right)) == list(range(10, 30))


def changed(ran: Ran, where: int, latency_s: float, *, from_s: float) -> Ran:
    ends = [
        one if one.sent_s < from_s else Ended(sent_s=one.sent_s, latency_s=latency_s, where=where)
        for one in ran.requests
    ]
    return dataclasses.replace(ran, requests=tuple(ends))


@pytest.mark.parametrize(("where", "latency_s"), [(SERVER, 0.51), (FUNCTION, 0.51), (REFUSED, 0.0)])
def test_late_and_refused_requests_are_found(right: Ran, where: int, latency_s: float) -> None:
    assert any("late, refused or failed" in what for what in wrongs(CASE, changed(right, where, latency_s, from_s=20)))
    assert wrongs(CASE, changed(right, where, latency_s, from_s=29)) == []  # One second is the grain.


def test_a_failure_without_a_death_is_found_and_one_with_it_is_not(right: Ran) -> None:
    failed = changed(right, FAILED, 0.02, from_s=29)
    assert any("nothing died" in what for what in wrongs(CASE, failed))
    deaths = tuple(
        Fault(at_s=one.sent_s + 0.01, kind=FaultKind.SERVER_DIES) for one in failed.requests if one.where == FAILED
    )
    assert deaths
    assert wrongs(dataclasses.replace(CASE, faults=deaths), failed) == []


def test_a_lost_request_and_an_uncaught_error_are_found(right: Ran) -> None:
    assert any(
        "requests were sent" in what for what in wrongs(CASE, dataclasses.replace(right, requests=right.requests[1:]))
    )
    assert any("nobody caught" in what for what in wrongs(CASE, dataclasses.replace(right, errors=("ValueError: x",))))


def test_money_above_the_limit_is_found_and_a_new_day_has_its_own(right: Ran) -> None:
    limited = dataclasses.replace(CASE, spend_usd_per_day_max=0.001)
    over = dataclasses.replace(right, billed=((0.0, 0.0, 0), (1.0, 1.0, 900), (2.0, 2.0, 1900)))
    assert any("microdollars were spent" in what for what in wrongs(limited, over))
    two_days = dataclasses.replace(right, billed=((0.0, 0.0, 0), (1.0, 1.0, 900), (2.0, 86_401.0, 1900)))
    assert wrongs(limited, two_days) == []
    back = dataclasses.replace(right, billed=((0.0, 86_401.0, 900), (1.0, 1.0, 1900)))
    assert any("microdollars were spent" in what for what in wrongs(limited, back))


def test_two_reversals_within_a_start_are_found(right: Ran) -> None:
    def asked(*at: tuple[float, int]) -> Ran:
        return dataclasses.replace(right, outcome=dataclasses.replace(right.outcome, asked_for=at))

    assert any("reversed" in what for what in wrongs(CASE, asked((0, 2), (40, 1), (50, 2))))
    assert wrongs(CASE, asked((0, 2), (40, 1), (80, 2))) == []


def test_what_servers_and_functions_cannot_carry_is_not_judged(right: Ran) -> None:
    away = dataclasses.replace(CASE, counts=(100,) * 30, faults=(Fault(at_s=5, for_s=9, kind=FaultKind.HOST_AWAY),))
    fits = carried(away, right)
    assert (fits[3], fits[7], fits[20]) == (True, False, True)
    dead = dataclasses.replace(right, outcome=dataclasses.replace(right.outcome, servers=((0.0, 1), (10.0, 0))))
    assert not any(carried(CASE, dead)[10:])
