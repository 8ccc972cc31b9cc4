"""Rule and steering together, over made observations: steady at constant load, right after a change, whatever fails."""

from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from peaker.errors import StateError
from peaker.policy.baseline import Bounds
from peaker.policy.course import Course, Step, StepSeen, Terms
from peaker.policy.server_capacity import Load, told
from peaker.policy.steering import HeldBy

STEP_S = 10.0
SERVER_PER_S = 100.0
TERMS = Terms(
    policy="default", server_usd_per_hour=0.0725, bounds=Bounds(servers_min=1, servers_max=12), step_s=STEP_S, stay_s=60
)
REQUEST_USD = 1.2e-6
"""Functions cost 0.43 dollars for an hour of a server's work, six times the server."""


@dataclass
class Fleet:
    """Servers that take `start_s` to start, and die now and then."""

    start_s: float
    ready: int = 1
    starting: tuple[float, ...] = ()

    @property
    def asked(self) -> int:
        return self.ready + len(self.starting)

    def pass_time(self, now_s: float) -> None:
        self.ready += sum(due_s <= now_s for due_s in self.starting)
        self.starting = tuple(due_s for due_s in self.starting if due_s > now_s)

    def set_count(self, count: int, now_s: float) -> None:
        while self.asked > count:
            self.starting, self.ready = self.starting[:-1], self.ready if self.starting else self.ready - 1
        self.starting += (now_s + self.start_s,) * (count - self.asked)

    def die(self, now_s: float) -> None:
        if self.ready > 1:
            self.ready -= 1
            self.starting += (now_s + self.start_s,)


class Run:
    """One course over one fleet, with arrivals of chance."""

    def __init__(self, seed: int, *, start_s: float = 90.0, terms: Terms = TERMS) -> None:
        self.chance = random.Random(seed)
        self.course = Course(replace(terms, start_guess_s=start_s), told(SERVER_PER_S))
        self.fleet = Fleet(start_s)
        self.now_s = 0.0
        self.jump_s = 0.0
        self.changes: list[tuple[float, int]] = []
        self._ready = 1

    def step(self, demand_servers: float, *, missing: bool = False, reachable: bool = True, **situation: Any) -> Step:
        self.now_s += STEP_S
        self.fleet.pass_time(self.now_s)
        mean = demand_servers * SERVER_PER_S * STEP_S
        came = max(0, round(self.chance.gauss(mean, math.sqrt(mean))))
        served = min(came, int(self.fleet.ready * SERVER_PER_S * STEP_S))
        unchanged = self.fleet.ready if self.fleet.ready == self._ready else None
        self._ready = self.fleet.ready
        load = Load(span_s=STEP_S, servers=unchanged, served=served, elsewhere=came - served, busy_s=served * 0.05)
        step = self.course.step(
            StepSeen(
                now_s=self.now_s,
                epoch_s=1_767_225_600 + self.now_s + self.jump_s,
                load=None if missing else load,
                ready=self.fleet.ready,
                starting=len(self.fleet.starting),
                asked=self.fleet.asked,
                functions_usd=(came - served) * REQUEST_USD,
                functions_requests=came - served,
                request_usd_guess=REQUEST_USD,
                **situation,
            )
        )
        before, after = self.fleet.asked, step.steered.servers
        if after != before and reachable:
            self.fleet.set_count(after, self.now_s)
            self.course.changed(before, after, step, now_s=self.now_s, epoch_s=1_767_225_600 + self.now_s)
            self.changes.append((self.now_s, after - before))
        return step


def reversals_too_many(changes: list[tuple[float, int]], start_s: float) -> list[tuple[float, float]]:
    """Pairs of reversals, changes against the one before, within one start-up time."""
    turns = [at for (_, one), (at, other) in itertools.pairwise(changes) if (one > 0) != (other > 0)]
    return [(first, second) for first, second in itertools.pairwise(turns) if second - first < start_s]


def faulty(seed: int, *, steps: int) -> tuple[Run, float]:
    """Constant load, with deaths, missing and late observations, a fleet that is away, and a clock that jumps."""
    chance = random.Random(seed)
    start_s, level = chance.choice([2.0, 30.0, 90.0, 240.0]), chance.uniform(0.3, 6.0)
    run = Run(seed, start_s=start_s, terms=replace(TERMS, stay_s=chance.choice([0.0, 60.0])))
    for _ in range(steps):
        if chance.random() < 0.01:
            run.fleet.die(run.now_s)
        if chance.random() < 0.005:
            run.jump_s += chance.choice([-86_400.0, -3600.0, 3600.0, 86_400.0])
        step = run.step(
            level,
            missing=chance.random() < 0.05,
            reachable=chance.random() > 0.05,
            functions_may_run=chance.random() > 0.02,
        )
        assert TERMS.bounds.servers_min <= step.steered.servers <= TERMS.bounds.servers_max
    return run, start_s


@pytest.mark.parametrize("seed", range(12))
def test_at_constant_load_there_is_at_most_one_reversal_per_start_up_time(seed: int) -> None:
    run, start_s = faulty(seed, steps=200)
    assert reversals_too_many(run.changes, start_s) == []


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_seeds_with_faults_never_reverse_twice_in_a_start_up_time() -> None:
    for seed in range(10_000):
        run, start_s = faulty(seed, steps=60)
        assert reversals_too_many(run.changes, start_s) == [], seed


def test_a_reversal_too_many_would_be_seen() -> None:
    assert reversals_too_many([(0, 1), (10, -1), (20, 1)], 30.0) == [(10, 20)]
    assert reversals_too_many([(0, 1), (10, -1), (50, 1)], 30.0) == []


def test_load_that_doubles_and_halves_moves_the_servers_and_each_change_is_judged() -> None:
    run, judged = Run(1, start_s=30.0), []
    counts = {}
    for name, level in (("low", 1.6), ("high", 3.2), ("low again", 1.6)):
        for _ in range(120):
            step = run.step(level)
            judged += [step.judged] if step.judged is not None else []
        counts[name] = run.fleet.asked
    assert counts == {"low": 2, "high": 4, "low again": 2}
    assert sum(not each.was_wrong for each in judged) == len(judged) >= 2


def test_state_goes_through_json_and_the_course_goes_on_as_if_nothing_had_been() -> None:
    runs = [Run(3, start_s=30.0), Run(3, start_s=30.0)]
    for _ in range(60):
        assert len({run.step(2.7).steered.servers for run in runs}) == 1
    runs[0].course.started(25.0)
    runs[1].course.started(25.0)
    text = json.dumps(runs[1].course.state(now_s=runs[1].now_s, epoch_s=1e9))
    assert len(text) < 400_000
    restarted = Course(runs[1].course.terms)
    # Another boot: the clock that never goes back began anew.
    restarted.restore(json.loads(text), now_s=runs[1].now_s, epoch_s=1e9)
    runs[1].course = restarted
    assert restarted.start_s == 25.0
    for _ in range(60):
        steps = [run.step(4.4) for run in runs]
        assert steps[0].steered == steps[1].steered
        assert steps[0].decision == steps[1].decision


def test_of_another_policy_the_measurements_go_on() -> None:
    run = Run(4)
    for _ in range(30):
        run.step(2.0)
    other = Course(replace(run.course.terms, policy="break-even"))
    other.restore(run.course.state(now_s=run.now_s, epoch_s=1e9), now_s=run.now_s, epoch_s=1e9)
    assert other.capacity == run.course.capacity
    assert other.price == run.course.price


@pytest.mark.parametrize(
    "damage", [{"version": 2}, {"capacity": None}, {"counts": {"steps": -1}}, {"baseline": {}}, {"start_s": "soon"}]
)
def test_a_damaged_state_is_refused_and_changes_nothing(damage: dict[str, Any]) -> None:
    run = Run(5)
    run.step(2.0)
    state = run.course.state(now_s=run.now_s, epoch_s=1e9)
    fresh = Course(TERMS)
    before = fresh.capacity, fresh.price, fresh.start_s
    with pytest.raises(StateError):
        fresh.restore({**state, **damage}, now_s=0.0, epoch_s=1e9)
    assert (fresh.capacity, fresh.price, fresh.start_s) == before


def test_when_the_spend_is_used_up_servers_come_for_all_of_the_load() -> None:
    cheap = replace(TERMS, server_usd_per_hour=50.0)  # So dear a server that functions carry everything.
    run = Run(6, start_s=20.0, terms=cheap)
    for _ in range(20):
        run.step(3.3)
    assert run.fleet.asked == 1
    step = run.step(3.3, functions_may_run=False)
    assert (step.steered.servers, step.steered.held_by) == (4, HeldBy.SPEND)


def test_where_nothing_may_spill_servers_come_for_what_would_be_refused() -> None:
    run = Run(7, start_s=20.0, terms=replace(TERMS, may_spill=False))
    for _ in range(30):
        run.step(3.3)
    assert run.fleet.asked >= 4


def test_a_number_held_by_hand_stays_and_the_rule_learns_meanwhile() -> None:
    run = Run(8, start_s=20.0)
    for _ in range(30):
        step = run.step(3.3, held_servers=2)
        assert (step.steered.servers, step.steered.held_by) == (2, HeldBy.PAUSED)
    for _ in range(10):
        run.step(3.3)
    assert run.fleet.asked == 4
