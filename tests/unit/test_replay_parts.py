import math
import random
from collections import Counter
from pathlib import Path

import pytest

from peaker.errors import SettingsError
from peaker.traffic.arrivals import Spread, arrival_times_s
from peaker.traffic.latencies import Latencies
from peaker.traffic.mix import Mix, Target, parse_target, read_targets
from peaker.traffic.replay import destination
from peaker.traffic.tally import PLACEMENTS_MAX, Outcome, Sample, Tally
from peaker.traffic.trace import GAP, Trace
from peaker.units import parse_duration_s


@pytest.mark.parametrize("spread", Spread)
def test_the_same_seed_sends_at_the_same_times(spread: Spread) -> None:
    trace = Trace((30, 0, GAP, 50), 1.0)
    one = list(arrival_times_s(trace, spread, random.Random(7)))
    again = list(arrival_times_s(trace, spread, random.Random(7)))
    other = list(arrival_times_s(trace, spread, random.Random(8)))
    assert one == again
    assert (one == other) is (spread is Spread.EVEN)


def test_even_arrivals_are_equally_far_apart() -> None:
    assert list(arrival_times_s(Trace((2, 4), 1.0), Spread.EVEN, random.Random(1))) == [
        0.25, 0.75, 1.125, 1.375, 1.625, 1.875
    ]  # fmt: skip


def test_random_arrivals_are_uniform_within_the_step() -> None:
    count = 20_000
    times = list(arrival_times_s(Trace((count,), 1.0), Spread.RANDOM, random.Random(3)))
    # Kolmogorov-Smirnov at 1 %: the largest distance from the uniform distribution stays below 1.63 / sqrt(n).
    distance = max(max(abs(t - i / count), abs(t - (i + 1) / count)) for i, t in enumerate(times))
    assert distance < 1.63 / math.sqrt(count)


def test_poisson_arrivals_vary_in_number_by_the_root_of_their_mean() -> None:
    trace = Trace((100,) * 400, 1.0)
    times = list(arrival_times_s(trace, Spread.POISSON, random.Random(5)))
    counts = Counter(int(t) for t in times)
    mean = len(times) / 400
    variance = sum((counts[step] - mean) ** 2 for step in range(400)) / 399
    assert mean == pytest.approx(100, rel=0.02)
    assert variance == pytest.approx(100, rel=0.25)


def test_percentiles_agree_with_the_sorted_list_within_a_bucket() -> None:
    chance = random.Random(11)
    values = [chance.lognormvariate(-3, 1.2) for _ in range(5000)]
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    ordered = sorted(values)
    for fraction in (0.01, 0.5, 0.95, 0.99, 0.999, 1.0):
        exact = ordered[math.ceil(fraction * len(ordered)) - 1]
        measured = latencies.percentile_s(fraction)
        assert exact <= measured * (1 + 1e-9)
        assert measured <= exact * 1.0101
    assert latencies.max_s == ordered[-1]


def test_failed_requests_rank_above_every_answer() -> None:
    latencies = Latencies()
    for _ in range(94):
        latencies.add(0.010)
    assert latencies.percentile_s(0.5, failed=6) == pytest.approx(0.010, rel=0.01)
    assert latencies.percentile_s(0.95, failed=6) is None
    assert Latencies().percentile_s(0.5) is None


def test_latencies_beyond_the_ends_are_counted_at_the_ends() -> None:
    latencies = Latencies()
    for value in (-0.001, 0.0, 1e-9, 1e9):
        latencies.add(value)
    assert latencies.count == 4
    assert latencies.percentile_s(0.5) <= 1e-6
    assert latencies.percentile_s(1.0) == pytest.approx(1800, rel=0.02)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/x", Target("GET", "/x", 1.0)),
        ("/x:3", Target("GET", "/x", 3.0)),
        ("POST /x?a=1:0.5", Target("POST", "/x?a=1", 0.5)),
        ("/a:b:2", Target("GET", "/a:b", 2.0)),
        ("/a:b", Target("GET", "/a:b", 1.0)),
    ],
)
def test_a_path_may_carry_a_method_and_a_weight(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["x", "", "/x y", "FETCH /x", "/x:0", "/ö", "GET/x"])
def test_a_wrong_path_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_target(text)


def test_paths_from_a_file_name_the_line_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "paths"
    path.write_text("# mix\n/a:3\n\nPOST /b\n")
    assert read_targets(path) == [Target("GET", "/a", 3.0), Target("POST", "/b", 1.0)]
    path.write_text("/a\nb\n")
    with pytest.raises(SettingsError, match=r"paths:2: 'b'"):
        read_targets(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_targets(tmp_path / "absent")


def test_targets_are_drawn_by_weight_and_the_same_by_seed() -> None:
    mix = Mix([Target("GET", "/a", 3.0), Target("HEAD", "/b", 1.0)], host="h", prefix="/p", headers=[("x-a", "1")])
    chance = random.Random(2)
    drawn = [mix.draw(chance) for _ in range(4000)]
    heads = Counter(head for head, _ in drawn)
    (often, times), (seldom, _) = heads.most_common()
    assert often.startswith(b"GET /p/a HTTP/1.1\r\nhost: h\r\n")
    assert b"\r\nx-a: 1\r\n" in often
    assert seldom.startswith(b"HEAD /p/b ")
    assert times / 4000 == pytest.approx(0.75, abs=0.03)
    assert all(is_head == head.startswith(b"HEAD") for head, is_head in drawn)
    assert [mix.draw(random.Random(2)) for _ in range(1)] == drawn[:1]


def test_a_destination_is_a_plain_url() -> None:
    to = destination("http://127.0.0.1:8000/base/")
    assert (to.address.host, to.address.port, to.host, to.prefix) == ("127.0.0.1", 8000, "127.0.0.1:8000", "/base")
    assert destination("https://example.org").address.port == 443
    assert destination("http://[::1]:80").address.host == "::1"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x", "http://", "http://u:p@x", "http://x/?q=1", "http://x:99999", "http://x/#f"]
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="--to"):
        destination(url)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("2d", 172_800)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 s", "5x", "1h-30m", "nan"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_s(text)


def sample(outcome: Outcome = Outcome.ANSWERED, *, placement: str = "server", lag_s: float = 0.0) -> Sample:
    return Sample(1.0, 1.0 + lag_s, 1.1 + lag_s, outcome, placement, 200)


def test_a_run_is_void_when_one_request_in_a_hundred_was_sent_ten_milliseconds_late() -> None:
    tally = Tally()
    for _ in range(980):
        tally.add(sample())
    assert not tally.is_void
    for _ in range(20):
        tally.add(sample(lag_s=0.012))
    assert tally.is_void
    assert tally.summary()["void"] is True


def test_latency_from_due_holds_the_lag_and_latency_from_sent_does_not() -> None:
    tally = Tally()
    tally.add(sample(lag_s=0.05))
    server = tally.summary()["placements"]["server"]
    assert server["latency_ms"]["max"] == pytest.approx(150)
    assert server["latency_from_sent_ms"]["max"] == pytest.approx(100)


def test_a_server_cannot_make_the_tally_grow_by_inventing_placements() -> None:
    tally = Tally()
    for number in range(1000):
        tally.add(sample(placement=f"place-{number}"))
    placements = tally.summary()["placements"]
    assert len(placements) == PLACEMENTS_MAX + 1
    assert placements["other"]["requests"] == 1000 - PLACEMENTS_MAX
