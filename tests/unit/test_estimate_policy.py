"""Learned times."""

import random

import pytest

from peaker.policy.estimate import (
    COLD_GUESS_S,
    HOLD_WEIGHT,
    RECENT_WEIGHT,
    ColdStarts,
    Times,
    attribute_cpu,
    cpu_stretch,
    expected_wait_s,
    guess_function_s,
    mean_age_max_s,
    with_run_begun,
    with_run_ended,
    with_samples,
    with_warm_run,
)


def feed(times: Times, samples: list[float], *, began_s: float = 0.0, gap_s: float = 0.1) -> tuple[Times, float]:
    now_s = began_s
    for sample in samples:
        times = with_samples(times, 1, sample, sample**2, now_s)
        now_s += gap_s
    return times, now_s


def test_recent_and_spread_follow_the_samples() -> None:
    times, _ = feed(Times(), [0.05] * 200)
    assert times.recent_s == pytest.approx(0.05)
    assert times.spread_s == pytest.approx(0, abs=1e-6)
    assert times.baseline_s == pytest.approx(0.05)
    chance = random.Random(1)
    times, _ = feed(Times(), [chance.expovariate(20) for _ in range(3000)])
    assert times.tail_s == pytest.approx(0.15, rel=0.5), "the 95th percentile of an exponential is three times its mean"


def test_a_batch_counts_like_its_samples_one_by_one() -> None:
    one_by_one, _ = feed(Times(), [0.05] * 10 + [0.1] * 5, gap_s=0.0)
    start, _ = feed(Times(), [0.05] * 10, gap_s=0.0)
    batch = with_samples(start, 5, 0.5, 0.05, 0.0)
    assert batch.recent_s == pytest.approx(one_by_one.recent_s)
    assert batch.samples == one_by_one.samples == 15
    assert with_samples(start, 0, 0.0, 0.0, 0.0) is start


def test_the_first_samples_are_a_plain_mean() -> None:
    times, _ = feed(Times(), [0.3, 0.1, 0.2])
    assert times.recent_s == pytest.approx(0.2)


def test_how_long_a_slot_is_held_is_known_closer_than_how_long_a_request_takes_of_late() -> None:
    """From the first the wait for a slot is expected: with a fifth of error, requests wait for slots that come late."""
    chance = random.Random(7)
    errors: dict[float, float] = {}
    for weight in (HOLD_WEIGHT, RECENT_WEIGHT):
        times, square = Times(), 0.0
        for number in range(6000):
            sample = chance.expovariate(20)
            times = with_samples(times, 1, sample, sample**2, number * 0.01, weight_of_one=weight)
            square += (times.recent_s / 0.05 - 1) ** 2 if number >= 1000 else 0.0
        errors[weight] = (square / 5000) ** 0.5
    assert errors[HOLD_WEIGHT] < 0.13
    assert errors[RECENT_WEIGHT] > 0.18


@pytest.mark.parametrize("running", [1, 4, 16])
def test_ages_of_exponential_requests_are_rarely_out_of_the_ordinary_by_chance(running: int) -> None:
    chance = random.Random(running)
    times, _ = feed(Times(), [chance.expovariate(20) for _ in range(3000)])
    looks = [sum(chance.expovariate(20) for _ in range(running)) / running for _ in range(4000)]
    found = sum(age_s > mean_age_max_s(times, running) for age_s in looks) / len(looks)
    assert found < 0.04, "each finding holds spills back"


def test_a_minute_of_tenfold_times_hardly_moves_the_baseline_and_its_end_is_seen_at_once() -> None:
    times, now_s = feed(Times(), [0.05] * 300)
    slow, now_s = feed(times, [0.5] * 600, began_s=now_s)
    assert slow.recent_s == pytest.approx(0.5)
    assert slow.baseline_s < 0.08
    well, _ = feed(slow, [0.05] * 300, began_s=now_s)
    assert well.recent_s == pytest.approx(0.05, rel=0.01)
    assert well.baseline_s == pytest.approx(0.05, rel=0.2)


def test_what_stays_for_an_hour_is_the_new_normal() -> None:
    times, now_s = feed(Times(), [0.05] * 300)
    times, _ = feed(times, [0.5] * 3600, began_s=now_s, gap_s=2.0)
    assert times.baseline_s > 0.4


def test_slow_first_answers_do_not_stay_the_baseline() -> None:
    times, now_s = feed(Times(), [2.0] * 3 + [0.05] * 120)
    times, _ = feed(times, [0.05] * 600, began_s=now_s)
    assert times.baseline_s == pytest.approx(0.05, rel=0.1)


def test_the_baseline_of_a_function_rests_while_the_store_is_under_suspicion() -> None:
    times = Times()
    for now_s in range(30):
        times = with_warm_run(times, 0.06, float(now_s), learn_baseline=True)
    for now_s in range(30, 90):
        times = with_warm_run(times, 0.6, float(now_s), learn_baseline=False)
    assert times.recent_s == pytest.approx(0.6, rel=0.01)
    assert times.baseline_s == pytest.approx(0.06)


def test_a_function_computes_longer_than_a_server_and_waits_as_long() -> None:
    assert cpu_stretch(512) == pytest.approx(1769 / 512)
    assert cpu_stretch(3008) == 1.0
    guess_s = guess_function_s(0.05, 0.01, stretch=cpu_stretch(512), overhead_s=0.015)
    assert guess_s == pytest.approx(0.01 * 1769 / 512 + 0.04 + 0.015)
    assert guess_function_s(0.05, 9.0, stretch=1.0, overhead_s=0.0) == 0.05, "no request computes longer than it takes"


def test_a_gate_learns_that_a_burst_starts_cold_and_what_comes_back_is_warm() -> None:
    starts = ColdStarts(extra_s=COLD_GUESS_S["lambda"])
    assert starts.expected_extra_s(0) == 1.0
    for in_flight in range(10):
        assert starts.is_growing(in_flight)
        starts = with_run_begun(starts, in_flight + 1, 0.0)
    for _ in range(10):
        starts = with_run_ended(starts, 0.3, was_growing=True)
    for _ in range(20):
        starts = with_run_ended(starts, None, was_growing=False)
    assert not starts.is_growing(5)
    assert starts.expected_extra_s(5) == 0.0
    assert 0.3 < starts.expected_extra_s(10) < 0.5
    starts = with_run_begun(starts, 1, 200.0)
    assert starts.is_growing(5), "ten instances two minutes ago say nothing about now"


def test_with_spares_a_growing_load_is_learned_to_be_warm() -> None:
    starts = ColdStarts(extra_s=1.0)
    for _ in range(30):
        starts = with_run_ended(starts, None, was_growing=True)
    assert starts.expected_extra_s(100) < 0.01


def test_cpu_is_attributed_to_the_routes_that_use_it() -> None:
    chance = random.Random(5)
    true_s = {"cheap": 0.001, "dear": 0.03}
    costs_s: dict[str, float] = {}
    for _ in range(300):
        counts = {"cheap": chance.randrange(1, 100), "dear": chance.randrange(0, 20)}
        used_s = sum(counts[key] * true_s[key] for key in counts)
        costs_s |= attribute_cpu(costs_s, counts, used_s)
    assert costs_s["cheap"] == pytest.approx(0.001, abs=0.0005)
    assert costs_s["dear"] == pytest.approx(0.03, rel=0.1)
    assert attribute_cpu(costs_s, {}, 1.0) == {}


def test_the_wait_counts_what_is_in_flight_not_what_might_be() -> None:
    assert expected_wait_s(0, 0.05, 8) == pytest.approx(0.05 / 8)
    assert expected_wait_s(7, 0.05, 8) == pytest.approx(0.05)
    assert expected_wait_s(2, 0.02, 0) == pytest.approx(0.06)


def test_the_ordinary_mean_age_is_that_of_a_steady_stream_or_of_a_burst() -> None:
    steady, _ = feed(Times(), [0.05] * 100)
    assert mean_age_max_s(steady, 10_000) == pytest.approx(0.05, rel=0.02), "all begun at once grow to E[S]"
    assert mean_age_max_s(steady, 4) == pytest.approx(0.05 * 1.75)
    mixed, _ = feed(Times(), ([0.01] * 9 + [0.5]) * 300)
    mean_s = 0.059
    inspection_s = (0.9 * 0.01**2 + 0.1 * 0.5**2) / (2 * mean_s)
    assert mean_age_max_s(mixed, 10_000) == pytest.approx(inspection_s, rel=0.5)
    assert mean_age_max_s(Times(), 5) == 0.0
