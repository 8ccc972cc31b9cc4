"""What the same traffic would have cost otherwise, worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from peaker.meter.counterfactual import WebFunction, functions_only, mean_latency_s, servers_only
from peaker.meter.price import prices_of
from peaker.meter.usage import COUNTER_INDEX, Ran, Usage, UsageRow, create_usage_table, read_usage
from peaker.meter.work import Peaks, Window
from peaker.settings import Settings

PRICES = prices_of(Settings())


def window(**changes: float) -> Window:
    values = {
        "epoch_s": 0.0,
        "span_s": 10.0,
        "on_servers": 0,
        "on_functions": 0,
        "refused": 0,
        "spilled": 0,
        "server_busy_s": 0.0,
        "function_busy_s": 0.0,
        "servers": 1.0,
    }
    return Window(**(values | changes))  # type: ignore[arg-type]


def usage_of(path: Path, counters: dict[str, int], latencies_s: dict[Ran, list[float]] | None = None) -> Usage:
    table = create_usage_table(path / "usage.table", 1)
    row = UsageRow(table, 0)
    for name, count in counters.items():
        row.add(COUNTER_INDEX[name], count)
    for ran, values in (latencies_s or {}).items():
        row.latencies(ran, values, 1)
    found = read_usage(table)
    table.close()
    return found


def test_what_ran_elsewhere_is_offered_with_the_mean_latency_of_servers() -> None:
    """400 requests of 50 ms on servers are 2 at once; 100 spilled and 100 refused would have been one more."""
    peak = window(on_servers=400, on_functions=100, refused=100, spilled=100, server_busy_s=20.0, function_busy_s=90.0)
    assert peak.offered == pytest.approx(3.0)
    assert peak.held_per_server == pytest.approx(2.0)


def test_where_servers_took_nothing_the_functions_own_latency_counts() -> None:
    assert window(on_functions=100, function_busy_s=30.0).offered == pytest.approx(3.0)
    assert window().offered == 0.0


def test_a_server_that_was_not_full_tells_nothing_of_what_it_could_hold() -> None:
    """On a route declared for functions nothing spills for want of room."""
    assert window(on_servers=10, on_functions=500, server_busy_s=1.0, function_busy_s=5.0).held_per_server is None


def test_servers_only_is_the_peak_over_what_a_full_server_held() -> None:
    """5.2 at once over 2.0 each are 3 servers; for 10 h at $0.0725 that is $2.175; handlers add $0.10."""
    peaks = Peaks(windows=3600, offered=5.2, held_per_server=2.0, servers_max=1.0)
    found = servers_only(peaks, PRICES, run_s=36_000, handlers_usd=0.10)
    assert found.servers == 3
    assert found.usd == pytest.approx(3 * 0.725 + 0.10)
    assert "5.2 requests at once" in found.rests_on[0]


def test_a_peak_that_fits_exactly_needs_no_server_more() -> None:
    found = servers_only(Peaks(windows=1, offered=6.0, held_per_server=2.0), PRICES, run_s=60, handlers_usd=0)
    assert found.servers == 3


def test_where_no_server_was_ever_full_those_that_were_there_would_have_done() -> None:
    found = servers_only(Peaks(windows=9, offered=0.5, servers_max=2.0), PRICES, run_s=3600, handlers_usd=0)
    assert found.servers == 2
    assert found.usd == pytest.approx(0.145)
    assert "No server was ever full" in found.rests_on[0]


def test_before_the_first_window_nothing_is_said() -> None:
    assert servers_only(Peaks(), PRICES, run_s=3, handlers_usd=0).usd is None


def functions(usage: Usage, web: WebFunction | None = None, **changes: object) -> object:
    arguments = {"memory_mb": 512, "is_like_lambda": False, "handlers_usd": 0.0} | changes
    return functions_only(usage, web or WebFunction(), Peaks(), PRICES, **arguments)  # type: ignore[arg-type]


def test_functions_only_stretches_the_cpu_time_and_keeps_the_wait(tmp_path: Path) -> None:
    """By hand: 1,000 requests of 100 ms with 20 ms of CPU each at 512 MB.

    1. 20 ms x 1769 / 512 = 69.1 ms, and 80 ms of waiting: 149.1 ms, billed 150 (the bucket of 100 ms is 4 % wide).
    2. 1,000 x 0.15 s x 0.5 GB = 75 GB-s, $0.00100001; 1,000 requests are $0.0002: $0.0012.
    """
    usage = usage_of(tmp_path, {"on_server": 1000, "cpu_us": 20_000_000}, {Ran.SERVER: [0.1] * 1000})
    found = functions(usage)
    assert found.function_ms_mean == pytest.approx(150, abs=4)  # type: ignore[attr-defined]
    assert found.usd == pytest.approx(0.0012, rel=0.03)  # type: ignore[attr-defined]


def test_cpu_time_is_no_longer_than_the_request(tmp_path: Path) -> None:
    """Workers at rest use CPU too; a request of 1 ms cannot have used 50 of it. 1 ms x 1769 / 512 = 3.5, billed 4."""
    usage = usage_of(tmp_path, {"on_server": 10, "cpu_us": 500_000}, {Ran.SERVER: [0.001] * 10})
    assert functions(usage).function_ms_mean == 4  # type: ignore[attr-defined]


def test_refused_requests_would_have_been_invocations_too(tmp_path: Path) -> None:
    usage = usage_of(tmp_path, {"on_server": 10, "refused": 90}, {Ran.SERVER: [0.01] * 10})
    assert functions(usage).invocations == 100  # type: ignore[attr-defined]


def test_runs_at_lambdas_own_speed_count_as_they_were_billed(tmp_path: Path) -> None:
    """4 spills billed 1 s each at 1,024 MB are 4 GB-s; 4 requests on the server are 1 ms each, so 0.004 GB-s."""
    usage = usage_of(tmp_path, {"on_server": 4, "on_function": 4}, {Ran.SERVER: [0.0005] * 4})
    web = WebFunction(invocations=4, billed_mb_ms=4 * 1024 * 1000)
    found = functions(usage, web, memory_mb=1024, is_like_lambda=True)
    assert found.usd == pytest.approx(8 * 2e-7 + 4.004 * 1.33334e-5)  # type: ignore[attr-defined]


def test_the_starts_that_the_peak_needs_are_billed(tmp_path: Path) -> None:
    """2.9 at once need 3 instances where a run takes as long there as here; 3 x 1 s x 0.5 GB = 1.5 GB-s."""
    usage = usage_of(tmp_path, {"on_server": 100, "cpu_us": 0}, {Ran.SERVER: [0.1] * 100})
    web = WebFunction()
    without = functions_only(usage, WebFunction(), Peaks(), PRICES, memory_mb=512, is_like_lambda=False, handlers_usd=0)
    peaks = Peaks(windows=1, offered=2.9)
    found = functions_only(usage, web, peaks, PRICES, memory_mb=512, is_like_lambda=False, handlers_usd=0)
    assert found.usd is not None
    assert without.usd is not None
    assert found.usd - without.usd == pytest.approx(1.5 * 1.33334e-5)
    assert found.rests_on[2].startswith("3 starts of 1 s")


def test_what_no_request_ran_for_has_no_figure(tmp_path: Path) -> None:
    assert functions(usage_of(tmp_path, {})).usd is None  # type: ignore[attr-defined]


def test_the_mean_of_a_histogram_is_within_a_bucket_of_the_mean(tmp_path: Path) -> None:
    latencies_s = [0.001 * 1.01**n for n in range(600)]
    usage = usage_of(tmp_path, {}, {Ran.SERVER: latencies_s})
    mean_s = mean_latency_s(usage.histograms, (Ran.SERVER,))
    assert mean_s == pytest.approx(sum(latencies_s) / 600, rel=0.022)
    assert mean_latency_s(usage.histograms, (Ran.FUNCTION,)) is None
