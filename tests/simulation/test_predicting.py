"""What a model predicts: the same simulation as the planner's, over several seeds, at the very times of a replay."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
from proofs import MODEL

from peaker.plan.workload import PlanError
from peaker.simulate.case import SERVERS_MAX
from peaker.simulate.measures import Measures
from peaker.simulate.predicting import (
    QUICK_REQUESTS_MAX,
    WORLD_REQUESTS_USUAL,
    Simulator,
    predicted,
    runs_for,
    servers_by_step,
    simulator_for,
)
from peaker.simulate.prediction import Model
from peaker.traffic.arrivals import Spread, arrival_times_s
from peaker.traffic.trace import GAP, Trace

BUSY = Trace((150, 300, 250, 100), 1.0)


def predict(
    model: Model,
    trace: Trace = BUSY,
    *,
    simulator: Simulator = Simulator.QUICK,
    runs: int = 5,
    seed: int = 1,
) -> tuple[Measures, Measures, Measures]:
    return predicted(
        trace,
        arrival_times_s(trace, Spread.RANDOM, random.Random(seed)),
        model,
        simulator=simulator,
        seed=seed,
        runs=runs,
    )


def test_the_same_seed_predicts_the_same_and_the_median_lies_between_the_bounds() -> None:
    spread = dataclasses.replace(MODEL, service_s=(0.02, 0.04, 0.10))
    expected, low, high = predict(spread)
    assert predict(spread) == (expected, low, high)
    for field in dataclasses.fields(Measures):
        least, middle, most = (getattr(each, field.name) for each in (low, expected, high))
        assert least <= middle <= most
    assert low.latency_p50_ms != high.latency_p50_ms
    assert predict(spread, seed=2)[0] != expected


def test_a_bill_is_server_seconds_invocations_and_their_gb_seconds() -> None:
    """Constant work: 4 s of one server, and each spilled request runs 40 ms on 0.5 GB."""
    (expected, _, _) = predict(dataclasses.replace(MODEL, cold_start_s=(0.0,)), runs=1)
    assert expected.spilled_share is not None
    assert expected.usd is not None
    invocations = expected.spilled_share * BUSY.total
    assert expected.server_s == 4.0
    assert expected.gb_s == pytest.approx(invocations * 0.040 * 0.5)
    assert expected.usd == pytest.approx(4 / 3600 * 0.0725 + invocations * (2e-7 + 0.02 * 1.33334e-5))


def test_a_latency_is_told_as_a_replay_measures_it() -> None:
    exact, late = (predict(dataclasses.replace(MODEL, client_s=client_s))[0] for client_s in (0.0, 0.0005))
    assert exact.latency_p95_ms is not None
    assert late.latency_p95_ms == pytest.approx(exact.latency_p95_ms + 0.5)
    assert (late.usd, late.spilled_share) == (exact.usd, exact.spilled_share)


def test_more_servers_spill_less_and_cost_more_of_servers() -> None:
    one, two = (predict(dataclasses.replace(MODEL, servers=(count,)))[0] for count in (1, 2))
    assert one.spilled_share is not None
    assert two.spilled_share is not None
    assert one.spilled_share > 0.1 > two.spilled_share
    assert (one.server_s, two.server_s) == (4.0, 8.0)


def test_refused_requests_rank_above_every_answered_one() -> None:
    """Servers alone at three times what they hold: most are refused, so that no high percentile has an answer."""
    crowd = Trace((600, 600), 1.0)
    alone = dataclasses.replace(MODEL, placement="servers", queue_max=1, queue_wait_s_max=0.05)
    expected, _, _ = predict(alone, crowd)
    assert expected.refused_share is not None
    assert expected.refused_share > 0.5
    assert expected.latency_p50_ms is None
    assert expected.latency_p99_ms is None
    assert expected.spilled_share == 0.0


def test_servers_that_change_are_spread_over_the_traffic_and_gaps_ask_nothing() -> None:
    trace = Trace((150, GAP, 250, 100), 1.0)
    expected, _, _ = predict(dataclasses.replace(MODEL, servers=(1, 3)), trace)
    assert expected.server_s == 8.0
    assert servers_by_step((1, 3), 4).tolist() == [1, 1, 3, 3]
    assert servers_by_step((1, 2, 3), 7).tolist() == [1, 1, 1, 2, 2, 3, 3]
    assert np.all(servers_by_step((5,), 3) == 5)


def test_much_traffic_is_simulated_less_often_and_too_much_is_refused_by_name() -> None:
    runs = [runs_for(requests, Simulator.QUICK) for requests in (1000, 5_000_000, QUICK_REQUESTS_MAX)]
    assert runs == [20, 10, 3]
    assert [runs_for(requests, Simulator.WORLD) for requests in (1000, 20_000, 500_000)] == [20, 10, 3]
    with pytest.raises(PlanError, match="--from, --for, --scale"):
        predict(MODEL, Trace((QUICK_REQUESTS_MAX + 1,), 1.0, None, "huge.csv"))


def test_the_world_and_the_quick_simulation_agree_on_what_spills_and_costs() -> None:
    """Service times vary, so that neither sits on a step; what quick leaves out is some points of what spills."""
    varied = dataclasses.replace(MODEL, service_s=tuple(0.02 + 0.0004 * place for place in range(101)))
    trace = Trace((150, 300, 250, 100), 1.0)
    world, quick = (predict(varied, trace, simulator=each, runs=2)[0] for each in (Simulator.WORLD, Simulator.QUICK))
    assert world.spilled_share == pytest.approx(quick.spilled_share, abs=0.03)
    assert world.usd == pytest.approx(quick.usd, rel=0.1)
    assert world.latency_p95_ms == pytest.approx(quick.latency_p95_ms, rel=0.15)
    assert world.server_s == pytest.approx(quick.server_s, rel=0.01)
    assert predict(varied, trace, simulator=Simulator.WORLD, runs=2)[0] == world


def test_the_world_is_taken_where_it_knows_everything() -> None:
    assert simulator_for(BUSY, MODEL) is Simulator.WORLD
    assert simulator_for(Trace((WORLD_REQUESTS_USUAL + 1,), 60.0), MODEL) is Simulator.QUICK
    assert simulator_for(Trace((1,), 1e5), MODEL) is Simulator.QUICK
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"spillable_share": 0.5}, "a part of the requests"),
        ({"servers": (1, 2)}, "by a schedule"),
        ({"servers": (SERVERS_MAX + 1,)}, "65 servers are more than 64"),
        ({"servers": (0,), "placement": "functions"}, "no server"),
    )
    for change, why in changes:
        other = dataclasses.replace(MODEL, **change)
        assert simulator_for(BUSY, other) is Simulator.QUICK
        with pytest.raises(PlanError, match=why):
            predict(other, simulator=Simulator.WORLD)


@pytest.mark.parametrize(
    "changes", [{"servers": ()}, {"servers": (-1,)}, {"placement": "moon"}, {"service_s": (0.2, 0.1)}, {"slots": 0}]
)
def test_a_model_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        predict(dataclasses.replace(MODEL, **changes))
