"""The models that predictions rest on: of a project as it was measured, and of a plan's candidate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from made_plan import FIXED, FUNCTIONS, HYBRID, PLAN, SCALED, with_plan

from peaker.errors import PlanFileError
from peaker.plan.measured import Measured, RouteMeasured
from peaker.plan.plan import Kind, Moment, SimulatedWith
from peaker.plan.workload import PlanError
from peaker.prices import load
from peaker.settings import Settings, load_settings
from peaker.simulate.plan_model import candidate_named, model_of_plan, servers_in
from peaker.simulate.plan_traffic import trace_of_plan
from peaker.simulate.project_model import Modelled, model_of_project
from peaker.traffic.mix import Target

SETTINGS = """
[app]
name = "shop"
web = "shop:app"
spill = true
[objective]
latency_p95_ms = 150
[servers]
workers = 2
in_flight_max = 4
instance_type = "c7g.large"
[functions]
keep_alive_s = 5
[[route]]
path = "/buy/*"
placement = "servers"
[[route]]
path = "/slow"
placement = "hybrid"
latency_p95_ms = 900
"""
ROOT, BUY, SLOW = Target("GET", "/"), Target("GET", "/buy/7", 3.0), Target("GET", "/slow", 0.5)
ROUTE = RouteMeasured(target="GET /", share=1.0, requests=9, service_s=(0.04,) * 101, cpu_s=0.004, response_bytes=9.0)
MEASURED = Measured(
    app="shop",
    made_by="peaker 0",
    measured_at="2026-11-24T02:00:00+00:00",
    machine="here",
    python="3.11.7",
    objective_s=0.15,
    routes=(ROUTE,),
    service_s=(0.04,) * 101,
    cpu_s=0.004,
    warm_function_s=(0.05,) * 101,
    function_overhead_s=0.002,
    local_cold_start_s=(0.003, 0.005),
    fresh_start_s=(0.3,),
)
FIGURES = SimulatedWith(
    service_s=(0.08, 0.12),
    cpu_share=0.5,
    cold_start_s=(1.0,),
    spillable_share=0.9,
    speed=2.0,
    queue_wait_s_max=10.0,
    keep_alive_s=300.0,
    invoke_overhead_s=0.008,
    concurrency_max=1000,
    architecture="arm64",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return written(tmp_path, SETTINGS)


def written(folder: Path, text: str) -> Settings:
    (folder / "peaker.toml").write_text(text)
    return load_settings(folder / "peaker.toml")


def modelled(settings: Settings, *targets: Target, **changes: object) -> Modelled:
    measured = dataclasses.replace(MEASURED, **changes)  # type: ignore[arg-type]
    return model_of_project(settings, measured, targets or (ROOT,), servers=1, workers=2)


def test_a_project_is_simulated_with_its_settings_and_what_was_measured(settings: Settings) -> None:
    found = modelled(settings)
    model = found.model
    assert (model.workers, model.slots, model.objective_s, model.keep_alive_s) == (2, 4, 0.15, 5.0)
    assert [model.function_factor, model.function_overhead_s, model.cpu_share] == pytest.approx([1.25, 0.002, 0.1])
    assert model.cold_start_s == (0.003, 0.005)
    assert (model.placement, model.spillable_share) == ("hybrid", 1.0)
    assert model.server_usd_per_hour == load().instance("us-east-1", "c7g.large").usd_per_hour
    assert found.notes == ()
    assert all(each.origin for each in found.inputs)


def test_a_wait_for_a_core_is_met_again_by_a_replay_on_the_same_machine(settings: Settings) -> None:
    busy = dataclasses.replace(ROUTE, waited_s=0.01)
    model = modelled(settings, routes=(busy,)).model
    assert model.service_s == pytest.approx((0.05,) * 101)
    assert [model.function_factor, model.cpu_share] == pytest.approx([1.0, 0.08])


def test_requests_of_routes_that_stay_do_not_spill_and_other_weights_are_said(settings: Settings) -> None:
    found = modelled(settings, ROOT, BUY)
    assert found.model.spillable_share == 0.25
    assert found.notes == ("the figures were measured with other paths or weights than these requests have.",)
    assert modelled(settings, BUY).model.placement == "servers"


def test_what_cannot_be_simulated_exactly_is_said(tmp_path: Path, settings: Settings) -> None:
    assert "objectives differ by route" in " ".join(modelled(settings, ROOT, SLOW).notes)
    text = SETTINGS.replace("in_flight_max = 4", "").replace("keep_alive_s = 5", 'buffer = 2\nlike = "lambda"')
    notes = " ".join(modelled(written(tmp_path, text), function_overhead_s=None).notes)
    for part in ('in_flight_max = "auto"', "functions.buffer = 2", 'functions.like = "lambda"'):
        assert part in notes
    assert "was not measured: taken as 0" in " ".join(modelled(settings, function_overhead_s=None).notes)


def test_like_lambda_takes_its_start_times_and_not_those_of_a_fork(tmp_path: Path) -> None:
    model = modelled(written(tmp_path, SETTINGS.replace("keep_alive_s = 5", 'like = "lambda"'))).model
    assert 0.3 < model.cold_start_s[0] < model.cold_start_s[-1] < 1.0
    assert (model.starts_per_s, model.starts_burst) == (100.0, 1000)


@pytest.mark.parametrize(
    ("missing", "said"),
    [("service_s", "service times"), ("warm_function_s", "warm function"), ("local_cold_start_s", "cold starts")],
)
def test_a_figure_that_was_not_measured_stops_the_prediction_by_name(
    settings: Settings, missing: str, said: str
) -> None:
    with pytest.raises(PlanError, match=said):
        modelled(settings, **{missing: None})


def test_a_figure_of_functions_is_not_missed_where_nothing_spills(tmp_path: Path) -> None:
    model = modelled(written(tmp_path, SETTINGS.replace("spill = true", "")), warm_function_s=None).model
    assert (model.placement, model.spillable_share) == ("servers", 0.0)


def test_routes_on_functions_alone_are_refused(tmp_path: Path) -> None:
    text = SETTINGS + '[[route]]\npath = "/render"\nplacement = "functions"\n'
    with pytest.raises(PlanError, match="functions alone"):
        modelled(written(tmp_path, text), ROOT, Target("GET", "/render"))


def test_a_plan_is_replayed_at_the_mean_of_each_of_its_moments() -> None:
    plan = with_plan(traffic=(moment(0, 1.25), moment(10, 0.0), moment(20, 3.5)), hours=25 / 3600)
    trace = trace_of_plan(plan, "plan.json")
    assert (trace.step_s, trace.counts) == (10.0, (12, 0, 18))
    assert trace_of_plan(PLAN, "plan.json").total == pytest.approx(
        sum(each.mean_per_s for each in PLAN.traffic) * 600, abs=1
    )


def test_a_plan_without_traffic_is_refused() -> None:
    for traffic in ((), (moment(0, 0.0),)):
        with pytest.raises(PlanFileError, match="no traffic"):
            trace_of_plan(with_plan(traffic=traffic), "plan.json")


def moment(start_s: float, mean_per_s: float) -> Moment:
    return Moment(start_s=start_s, mean_per_s=mean_per_s, peak_per_s=mean_per_s)


def test_a_candidate_is_the_recommended_one_or_the_one_that_is_named() -> None:
    assert candidate_named(PLAN, None, "plan.json") is HYBRID
    assert candidate_named(PLAN, "servers for the peak", "plan.json") is FIXED
    assert candidate_named(PLAN, FUNCTIONS.title, "plan.json") is FUNCTIONS
    with pytest.raises(PlanFileError, match="no candidate 'moon' in it; there are: 'servers for the peak'"):
        candidate_named(PLAN, "moon", "plan.json")
    with pytest.raises(PlanFileError, match="recommends nothing"):
        candidate_named(with_plan(recommended=None), None, "plan.json")


def test_servers_of_a_part_of_the_plan_are_those_of_that_time() -> None:
    assert servers_in(SCALED, (0.0, 1.0)) == (3, 26, 3)
    assert servers_in(SCALED, (1 / 3, 2 / 3)) == (26,)
    assert servers_in(SCALED, (0.0, 0.5)) == (3, 26)
    assert servers_in(FIXED, (0.2, 0.4)) == (7,)
    assert servers_in(FUNCTIONS, (0.0, 1.0)) == (0,)


def test_a_candidate_is_simulated_with_the_figures_the_plan_was_made_with() -> None:
    """Half of the work computes: on cores twice as fast it takes three quarters, on 512 MB that half is stretched."""
    model = model_of_plan(with_plan(simulated_with=FIGURES), HYBRID, load(), part=(0.0, 1.0)).model
    assert model.service_s == pytest.approx((0.06, 0.09))
    assert model.function_factor == pytest.approx((0.5 + 0.25 * 1769 / 512) / 0.75)
    assert (model.servers, model.workers, model.slots, model.placement) == ((2,), 1, 8, "hybrid")
    assert (model.spillable_share, model.objective_s, model.server_usd_per_hour) == (0.9, 0.3, 0.0084)
    alone = model_of_plan(with_plan(simulated_with=FIGURES), FUNCTIONS, load(), part=(0.0, 1.0)).model
    assert (alone.servers, alone.placement) == ((0,), "functions")


def test_a_plan_of_earlier_and_kinds_that_one_model_cannot_say_are_refused() -> None:
    with pytest.raises(PlanFileError, match="make it again"):
        model_of_plan(PLAN, HYBRID, load(), part=(0.0, 1.0))
    held = dataclasses.replace(FUNCTIONS, kind=Kind.PROVISIONED)
    with pytest.raises(PlanFileError, match="'functions, provisioned' is not simulated"):
        model_of_plan(with_plan(simulated_with=FIGURES), held, load(), part=(0.0, 1.0))
