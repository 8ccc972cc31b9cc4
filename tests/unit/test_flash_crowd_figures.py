import math

import pytest
from benchmarks.flash_crowd.case import BY_NAME, CASES, JUMP_AT_S, SLOTS, TRACE, WORKERS
from benchmarks.flash_crowd.figures import by_second, figures, is_void, percentile_ms, results
from benchmarks.flash_crowd.measure import Seen

from peaker.settings import load_settings
from peaker.traffic.tally import Outcome, Sample
from peaker.traffic.trace import read_trace

HYBRID, SLOW = BY_NAME["hybrid"], BY_NAME["slow_store"]


def sample(due_s: float, latency_s: float, outcome: Outcome = Outcome.ANSWERED, lag_s: float = 0.0) -> Sample:
    return Sample(due_s, due_s + lag_s, due_s + latency_s, outcome, "server", 200)


def steady(seconds: range, latency_s: float = 0.05) -> list[Sample]:
    return [sample(second + place / 100, latency_s) for second in seconds for place in range(100)]


def test_the_traffic_jumps_where_the_file_says_and_servers_alone_cannot_hold_it() -> None:
    trace = read_trace(TRACE)
    before, after = trace.cut(0, JUMP_AT_S).mean_per_s, trace.cut(JUMP_AT_S + 1).mean_per_s
    assert 4 < after / before < 5.5
    hold = WORKERS * SLOTS / (HYBRID.store_ms / 1000)
    assert before * HYBRID.scale < 0.5 * hold
    assert after * HYBRID.scale > 2 * hold


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_a_valid_configuration(case, tmp_path) -> None:  # noqa: ANN001
    path = tmp_path / "peaker.toml"
    path.write_text(case.settings("127.0.0.1:1"), encoding="utf-8")
    settings = load_settings(path)
    assert settings.objective.latency_p95_ms == case.objective_p95_ms
    assert settings.resource[0].connections_max == case.connections_max
    assert case.from_s + case.for_s <= len(read_trace(TRACE).counts)
    if case.slow_store:
        assert case.from_s + case.for_s <= JUMP_AT_S  # The baseline only.


def test_a_failed_request_ranks_above_every_answer() -> None:
    samples = [*(sample(0, 0.01) for _ in range(94)), *(sample(0, 0.0, Outcome.REFUSED) for _ in range(6))]
    assert percentile_ms(samples, 0.5) == pytest.approx(10)
    assert percentile_ms(samples, 0.95) == math.inf


def test_a_request_belongs_to_the_second_in_which_it_was_due() -> None:
    seconds = by_second([sample(1.99, 5.0), sample(0.0, 0.1), sample(1.0, 0.1)])
    assert {second: len(samples) for second, samples in seconds.items()} == {0: 1, 1: 2}


def test_the_worst_second_is_found_even_if_the_whole_is_fine() -> None:
    bad = HYBRID.event_at_s + 1
    samples = steady(range(HYBRID.for_s))
    samples += [sample(bad + 0.5, 0.4) for _ in range(10)]
    found = figures(HYBRID, Seen(samples=samples))
    assert found.p95_ms < 60
    assert found.worst_second_p95_ms == pytest.approx(400)
    assert found.seconds_missed == 1
    bars = {
        row.name: row.holds for row in results(HYBRID, Seen(samples=samples, instances_gone_after_s=1.0)) if row.bar
    }
    assert bars["hybrid: p95 of the worst second, the first of the jump included"] is False
    assert bars["hybrid: 5xx"] is True
    assert bars["hybrid: instances left after the crowd"] is True


def test_failures_miss_their_bars_and_instances_that_stay_miss_theirs() -> None:
    samples = [*steady(range(HYBRID.for_s)), sample(30.0, 0, Outcome.REFUSED), sample(31.0, 5, Outcome.TIMED_OUT)]
    bars = {row.name: row.holds for row in results(HYBRID, Seen(samples=samples, instances_max=7)) if row.bar}
    assert bars["hybrid: 5xx"] is False
    assert bars["hybrid: client time-outs"] is False
    assert bars["hybrid: instances left after the crowd"] is False


def test_a_void_run_proves_nothing() -> None:
    samples = [*steady(range(HYBRID.for_s)), *(sample(40.5, 0.1, lag_s=0.02) for _ in range(5))]
    seen = Seen(samples=samples)
    assert is_void(seen)
    assert all(row.holds is None for row in results(HYBRID, seen))


def test_recovery_is_counted_from_the_end_of_the_slowness_to_the_last_second_that_missed() -> None:
    end = SLOW.event_at_s + 60
    samples = [*steady(range(end), 0.5), *steady(range(end, end + 4), 0.5), *steady(range(end + 4, SLOW.for_s))]
    concurrency = [(10.0, 12), (SLOW.event_at_s + 1.0, 40), (SLOW.event_at_s + 30.0, 18), (end + 5.0, 50)]
    rows = {row.name: row for row in results(SLOW, Seen(samples=samples, store_concurrency=concurrency))}
    assert rows["slow_store: seconds until the objective holds again"].value == 4
    assert rows["slow_store: queries at once in the slow store"].value == 18
    assert "12 before, 40 in the 2 s" in rows["slow_store: queries at once in the slow store"].detail
