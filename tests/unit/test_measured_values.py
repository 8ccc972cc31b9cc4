"""What was measured as a value: saved and read back, made into figures of a plan; and the CPU score beside it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from pathlib import Path

import pytest

from peaker.plan.case import Origin
from peaker.plan.cpu_benchmark import (
    CHECK,
    RUN_TO_RUN,
    CpuScore,
    assumed_speed,
    measure_score,
    median_interval,
    one_round,
    speed_of,
)
from peaker.plan.from_traffic import Known
from peaker.plan.measured import (
    CurvePoint,
    Measured,
    MeasuredFileError,
    RouteMeasured,
    from_json,
    known_of,
    load_measured,
    load_score,
    pooled,
    speed_known,
    to_json,
)
from peaker.plan.workload import PlanError, mean_of_quantiles
from peaker.policy.knee import Verdict

SCORE = CpuScore(rounds_per_s=10.0, low_per_s=9.0, high_per_s=12.0, rounds=25, python="3.11.7", machine="here")
BARE = Measured(
    app="shop",
    made_by="peaker 0.1.0",
    measured_at="2026-11-24T02:00:00+00:00",
    machine="here, 2 cores",
    python="3.11.7",
    objective_s=0.2,
)
ROUTE = RouteMeasured(
    target="GET /a", share=1.0, requests=9, service_s=(0.01, 0.02, 0.03), cpu_s=0.004, response_bytes=100.0
)
WHOLE = dataclasses.replace(
    BARE,
    routes=(ROUTE,),
    service_s=(0.01, 0.02, 0.03),
    cpu_s=0.004,
    response_bytes=100.0,
    worker_idle_mb=40.0,
    worker_memory_mb=60.0,
    capacity_per_s=150.0,
    missed_per_s=170.0,
    knee_per_s=90.0,
    curve=(
        CurvePoint(
            rate_per_s=150.0,
            requests=300,
            failed=0,
            achieved_per_s=150.0,
            p50_s=0.02,
            p95_s=0.1,
            p99_s=None,
            cpu_cores=0.6,
            verdict=Verdict.HELD,
        ),
    ),
    fresh_start_s=(0.4, 0.5),
    local_cold_start_s=(0.003, 0.004),
    warm_function_s=(0.02,),
    function_memory_mb=200.0,
    cpu=SCORE,
    notes=("a note",),
)


@pytest.mark.parametrize("measured", [BARE, WHOLE], ids=["nothing", "everything"])
def test_a_saved_measurement_is_read_back_equal(measured: Measured, tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    path.write_text(to_json(measured), encoding="utf-8")
    assert load_measured(path) == measured


def changed(**members: object) -> str:
    return json.dumps(json.loads(to_json(WHOLE)) | members)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        ("{}", "'app' is missing"),
        (changed(format=2), "format = 2 is not 1"),
        (changed(colour="red"), "'colour' is not known"),
        (changed(cpu_s="fast"), "'fast' is not a finite number"),
        (changed(cpu_s=True), "'True' is not a finite number"),
        (changed(cpu_s=float("nan")), "'nan' is not a finite number"),
        (changed(cpu_s=-1.0), "cpu_s = -1.0 is not 0 or more"),
        (changed(service_s=[0.2, 0.1]), "service_s[1] = 0.1"),
        (changed(notes="none"), "'none' is not a list"),
        (changed(app=7), "'7' is not of the type str"),
        (changed(curve=[{"rate_per_s": 1.0}]), "'requests' is missing"),
        (to_json(WHOLE).replace('"held"', '"kept"'), "'kept' is not allowed; allowed: held, missed, void"),
    ],
)
def test_what_is_no_measurement_is_refused_with_the_member(text: str, says: str) -> None:
    with pytest.raises(MeasuredFileError) as refused:
        from_json(text, "m.json")
    assert says in str(refused.value)
    assert str(refused.value).startswith("m.json")
    assert refused.value.exit_code == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeasuredFileError, match="cannot be read"):
        load_measured(tmp_path / "none.json")


def test_measured_figures_say_so_and_the_rest_stays_unknown() -> None:
    assert known_of(BARE) == Known()
    known = known_of(WHOLE)
    figures = [getattr(known, field.name) for field in dataclasses.fields(known) if field.name != "routes"]
    (route,) = known.routes
    assert route.cpu_share is not None
    assert {figure.origin for figure in (*figures, route.service, route.cpu_share)} == {Origin.MEASURED}
    assert (route.pattern, route.cpu_share.value) == ("/a", pytest.approx(0.2))
    assert known.service_s is not None
    assert known.service_s.mean_s == pytest.approx(0.02)
    assert known.cpu_share is not None
    assert known.cpu_share.value == pytest.approx(0.2)
    assert known.worker_memory_mb is not None
    assert known.worker_memory_mb.value == 60


def test_the_cold_start_of_a_plan_is_a_fresh_process_and_never_a_fork() -> None:
    known = known_of(WHOLE)
    assert known.cold_start is not None
    assert known.cold_start.quantiles_s == (0.4, 0.5)
    assert known_of(dataclasses.replace(WHOLE, fresh_start_s=None)).cold_start is None


@pytest.mark.parametrize(("used_mb", "size_mb"), [(20.0, 128.0), (200.0, 240.0), (201.0, 242.0), (20_000.0, 10_240.0)])
def test_a_function_gets_a_fifth_more_than_was_used(used_mb: float, size_mb: float) -> None:
    known = known_of(dataclasses.replace(WHOLE, function_memory_mb=used_mb))
    assert known.function_memory_mb is not None
    assert known.function_memory_mb.value == size_mb


def test_threads_that_compute_side_by_side_make_no_share_above_one() -> None:
    assert dataclasses.replace(WHOLE, cpu_s=0.5).cpu_share == 1.0
    assert dataclasses.replace(WHOLE, cpu_s=None).cpu_share is None


def test_a_mix_is_pooled_by_share() -> None:
    slow = dataclasses.replace(ROUTE, target="GET /b", share=0.25, service_s=(0.1, 0.2, 0.3), cpu_s=0.1)
    fast = dataclasses.replace(ROUTE, share=0.75, response_bytes=500.0)
    service_s, cpu_s, size = pooled([fast, slow])
    assert len(service_s) == 101
    assert mean_of_quantiles(service_s) == pytest.approx(0.75 * 0.02 + 0.25 * 0.2, rel=0.01)
    assert service_s[70] < 0.03
    assert service_s[80] > 0.09
    assert cpu_s == pytest.approx(0.75 * 0.004 + 0.25 * 0.1)
    assert size == pytest.approx(400)
    assert pooled([fast, dataclasses.replace(slow, cpu_s=None)])[1] is None


def test_the_mix_does_the_same_work_everywhere() -> None:
    assert one_round() == CHECK


def test_a_score_is_the_median_of_rounds_by_the_clock_given() -> None:
    """Rounds of 0.1 s and, every fifth, one that was disturbed for half a second."""
    ticks = itertools.chain.from_iterable((0.0, 0.5 if number % 5 == 0 else 0.1) for number in range(7))
    now = itertools.accumulate(ticks)
    score = measure_score(lambda: next(now), python="3.11.7", machine="here", rounds=7)
    assert score.rounds_per_s == pytest.approx(10)
    assert score.low_per_s == pytest.approx(2)
    assert score.high_per_s == pytest.approx(10 * (1 + RUN_TO_RUN))


def test_a_real_score_lies_within_its_interval() -> None:
    score = measure_score(time.process_time, python="3.11.7", machine="here", rounds=7)
    assert 0 < score.low_per_s <= score.rounds_per_s * (1 - RUN_TO_RUN) + 1e-9
    assert score.rounds_per_s < score.high_per_s


@pytest.mark.parametrize("rounds", [0, 6, 1001])
def test_a_number_of_rounds_out_of_range_is_refused(rounds: int) -> None:
    with pytest.raises(PlanError, match=r"rounds = \d+ is not within 7\.\.1000"):
        measure_score(time.process_time, python="3", machine="here", rounds=rounds)


@pytest.mark.parametrize(
    ("count", "low", "high"), [(1, 0, 0), (5, 0, 4), (6, 0, 5), (9, 1, 7), (25, 7, 17), (100, 39, 60)]
)
def test_the_interval_of_a_median_has_the_ranks_of_the_tables(count: int, low: int, high: int) -> None:
    """Ranks from 0; 25 values have the 8th and the 18th, 100 the 40th and the 61st."""
    assert median_interval(range(count)) == (low, (count - 1) / 2, high)


def test_the_factor_between_two_machines_has_the_widest_interval() -> None:
    there = dataclasses.replace(SCORE, rounds_per_s=20.0, low_per_s=18.0, high_per_s=24.0, machine="there")
    speed = speed_of(SCORE, there)
    assert (speed.factor, speed.low, speed.high) == (2.0, 18 / 12, 24 / 9)
    assert not speed.is_assumed
    assert "Python" not in speed.note
    assert "tells of both" in speed_of(SCORE, dataclasses.replace(there, python="3.14.0")).note


def test_scores_of_different_mixes_are_not_compared() -> None:
    with pytest.raises(PlanError, match="mix of the other score = 2"):
        speed_of(SCORE, dataclasses.replace(SCORE, mix=2))


def test_without_a_score_the_factor_is_one_give_or_take_thirty_percent() -> None:
    speed = assumed_speed()
    assert (speed.factor, speed.low, speed.high, speed.is_assumed) == (1.0, 0.7, 1.3, True)
    assert speed_known(None) == speed_known(BARE) == speed
    known = dataclasses.replace(speed, is_assumed=False, factor=1.2)
    assert speed_known(dataclasses.replace(BARE, speed=known)) == known


def test_a_score_is_read_from_its_own_file_and_from_a_measurement(tmp_path: Path) -> None:
    for name, text in {"score": json.dumps(dataclasses.asdict(SCORE)), "measured": to_json(WHOLE)}.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text, encoding="utf-8")
        assert load_score(path) == SCORE
    path.write_text(to_json(BARE), encoding="utf-8")
    with pytest.raises(MeasuredFileError, match="no CPU score"):
        load_score(path)


def test_a_score_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(PlanError, match="low_per_s"):
        dataclasses.replace(SCORE, low_per_s=11.0)
