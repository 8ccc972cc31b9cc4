import itertools
import math
import random

from hypothesis import given
from hypothesis import strategies as st

from peaker.traffic.arrivals import Spread, arrival_times_s
from peaker.traffic.latencies import Latencies
from peaker.traffic.trace import GAP, Trace, parse_trace

counts = st.lists(st.one_of(st.integers(0, 60), st.just(GAP)), min_size=1, max_size=30)
factors = st.floats(0.01, 50)


@given(counts, factors)
def test_scaling_keeps_the_sum_to_half_a_request_after_every_step(counted: list[int], factor: float) -> None:
    scaled = Trace(tuple(counted), 1.0).scaled(factor)
    seen = given_so_far = 0
    for before, after in zip(counted, scaled.counts, strict=True):
        assert (before == GAP) == (after == GAP)
        seen += max(0, before)
        given_so_far += max(0, after)
        assert abs(given_so_far - seen * factor) <= 0.5 + 1e-6
    assert scaled.total == math.floor(factor * seen + 0.5)


@given(counts, factors, st.floats(0.1, 100), st.sampled_from([Spread.RANDOM, Spread.EVEN]), st.integers())
def test_every_request_of_the_trace_arrives_in_its_own_step(
    counted: list[int], factor: float, speed: float, spread: Spread, seed: int
) -> None:
    trace = Trace(tuple(counted), 60.0).scaled(factor).faster(speed)
    times = list(arrival_times_s(trace, spread, random.Random(seed)))
    assert len(times) == trace.total
    assert all(earlier <= later for earlier, later in itertools.pairwise(times))
    by_step = [0] * len(trace.counts)
    for time in times:
        # The order statistics may touch the end of a step by the last bit.
        by_step[min(int(time / trace.step_s * (1 - 1e-12)), len(by_step) - 1)] += 1
    assert by_step == [max(0, count) for count in trace.counts]


@given(counts)
def test_a_trace_written_and_read_again_is_the_same(counted: list[int]) -> None:
    if not any(count > 0 for count in counted):
        counted.append(1)
    assert parse_trace(["count\n", *(f"{count}\n" for count in counted)]).counts == tuple(counted)


@given(st.lists(st.floats(1e-6, 1000), min_size=1, max_size=200), st.floats(0.001, 1.0), st.integers(0, 20))
def test_a_percentile_is_the_nearest_rank_to_one_percent(values: list[float], fraction: float, failed: int) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    rank = max(1, math.ceil(fraction * (len(values) + failed)))
    measured = latencies.percentile_s(fraction, failed=failed)
    if rank > len(values):
        assert measured is None
    else:
        exact = sorted(values)[rank - 1]
        assert exact * (1 - 1e-9) <= measured <= exact * 1.0101
