"""The bounded history of work, the days on disk, and latencies by route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from peaker.meter.days import COUNTED, DAYS_MAX, MeterBook, for_run, utc_day, with_totals
from peaker.meter.route_usage import (
    EDGES_S,
    OTHERS,
    ROUTES_MAX,
    UNDECLARED,
    RouteRow,
    coarse,
    create_route_table,
    read_routes,
)
from peaker.meter.servers import ServerTimes
from peaker.meter.usage import BUCKETS, Ran, bucket_of
from peaker.meter.work import TICKS, WINDOWS, Tick, Window, WorkHistory, create_work_table, open_work_table, rates
from peaker.shared_table import SharedTable

DAY_S = 86_400.0


@pytest.fixture
def table(tmp_path: Path) -> Iterator[SharedTable]:
    made = create_work_table(tmp_path / "work.table")
    yield made
    made.close()


def tick(number: int, *, per_s: int = 10) -> Tick:
    return Tick(
        epoch_s=1000.0 + number,
        now_s=float(number),
        on_server=number * per_s,
        on_sibling=0,
        on_function=number,
        refused=0,
        direct=0,
        functions_usd=number * 1e-6,
    )


def window(number: int, *, server_busy_s: float = 1.0, spilled: int = 0) -> Window:
    return Window(
        epoch_s=1000.0 + 10 * number,
        span_s=10.0,
        on_servers=10,
        on_functions=spilled,
        refused=0,
        spilled=spilled,
        server_busy_s=server_busy_s,
        function_busy_s=0.0,
        servers=2.0,
    )


def test_rates_are_of_the_last_ten_seconds(table: SharedTable) -> None:
    history = WorkHistory(table)
    for number in range(30):
        history.add_tick(tick(number))
    for number in range(30, 41):
        history.add_tick(tick(number, per_s=10) if number == 30 else tick(number, per_s=20))
    found = rates(history.ticks(), now_s=40.0)
    assert found is not None
    assert found.span_s == 10.0
    assert found.on_server == pytest.approx((800 - 300) / 10)
    assert found.functions_usd == pytest.approx(1e-6)


def test_rates_that_nobody_writes_any_more_are_not_shown(table: SharedTable) -> None:
    history = WorkHistory(table)
    assert rates(history.ticks(), now_s=0.0) is None
    for number in range(3):
        history.add_tick(tick(number))
    assert rates(history.ticks(), now_s=3.0) is not None
    assert rates(history.ticks(), now_s=60.0) is None


def test_the_history_is_bounded_and_the_peaks_outlast_it(table: SharedTable) -> None:
    history = WorkHistory(table)
    history.add_window(window(0, server_busy_s=70.0, spilled=5))
    for number in range(1, 3 * WINDOWS):
        history.add_window(window(number))
        history.add_tick(tick(number))
    assert len(history.windows()) == WINDOWS - 1
    assert len(history.ticks()) == TICKS - 1
    assert history.windows()[-1].epoch_s == 1000.0 + 10 * (3 * WINDOWS - 1)
    peaks = history.peaks()
    assert peaks.offered == pytest.approx(10.5)
    assert peaks.held_per_server == pytest.approx(3.5)
    assert peaks.windows == 3 * WINDOWS


def test_another_process_reads_what_a_dead_one_wrote(tmp_path: Path) -> None:
    path = tmp_path / "work.table"
    first = create_work_table(path)
    WorkHistory(first).add_window(window(0, server_busy_s=12.0))
    first.close()
    again = open_work_table(path)
    WorkHistory(again).add_window(window(1))
    assert WorkHistory(again).peaks().offered == pytest.approx(1.2)
    again.close()


def totals(value: float) -> dict[str, float]:
    return dict.fromkeys(COUNTED, value)


def test_what_comes_is_added_to_its_day_and_survives_the_disk() -> None:
    book = with_totals(for_run(MeterBook(), run=7), totals(10.0), 0.0)
    book = MeterBook.from_document(json.loads(json.dumps(book.to_document())))
    book = with_totals(book, totals(25.0), DAY_S + 1)
    assert [sums["requests"] for sums in book.days.values()] == [10.0, 15.0]
    assert list(book.days) == ["1970-01-01", "1970-01-02"]


def test_a_new_run_counts_from_zero_and_the_days_go_on() -> None:
    book = with_totals(for_run(MeterBook(), run=7), totals(10.0), 0.0)
    book = MeterBook(run=7, servers=ServerTimes(past_s=5.0), counted=book.counted, days=book.days)
    fresh = for_run(book, run=8)
    assert (fresh.servers, fresh.counted) == (ServerTimes(), {})
    assert with_totals(fresh, totals(3.0), 0.0).days["1970-01-01"]["requests"] == 13.0
    assert for_run(book, run=7) is book


def test_a_clock_set_back_changes_no_day_that_is_over() -> None:
    book = with_totals(for_run(MeterBook(), run=7), totals(1.0), 5 * DAY_S)
    assert list(with_totals(book, totals(2.0), 0.0).days) == [utc_day(5 * DAY_S)]


def test_the_days_kept_are_bounded() -> None:
    book = for_run(MeterBook(), run=7)
    for day in range(DAYS_MAX + 30):
        book = with_totals(book, totals(float(day)), day * DAY_S)
    assert len(book.days) == DAYS_MAX
    assert max(book.days) == utc_day((DAYS_MAX + 29) * DAY_S)


@pytest.mark.parametrize("latency_s", [0.0001, 0.0009, 0.0011, 0.05, 1.0, 33.0, 40.0, 1e6])
def test_a_latency_lies_below_the_bound_of_its_coarse_bucket(latency_s: float) -> None:
    fine = [0] * BUCKETS
    fine[bucket_of(latency_s)] = 1
    index = coarse(fine).index(1)
    assert index == len(EDGES_S) or latency_s <= EDGES_S[index]
    assert index == 0 or latency_s > EDGES_S[index - 1]


def test_latencies_are_kept_by_declared_route_and_by_where_they_ran(tmp_path: Path) -> None:
    table = create_route_table(tmp_path / "routes.table", 2)
    paths = ["/a/*", "/b"]
    rows = [RouteRow(table, row, paths) for row in range(2)]
    for row in rows:
        row.latency("/a/*", Ran.SERVER, 0.01)
        row.latency("/b", Ran.FUNCTION, 0.02, times=3)
        row.latency("", Ran.SERVER, 0.03)
    found = read_routes(table, paths)
    assert {key: sum(counts) for key, (counts, _) in found.items()} == {
        ("/a/*", Ran.SERVER): 2,
        ("/b", Ran.FUNCTION): 6,
        (UNDECLARED, Ran.SERVER): 2,
    }
    assert found["/b", Ran.FUNCTION][1] == pytest.approx(0.12)
    table.close()


def test_routes_of_other_settings_are_not_mixed_with_those_of_now(tmp_path: Path) -> None:
    table = create_route_table(tmp_path / "routes.table", 1)
    RouteRow(table, 0, ["/old"]).latency("/old", Ran.SERVER, 0.01)
    RouteRow(table, 0, ["/new"]).latency("/new", Ran.SERVER, 0.01, times=2)
    found = {route: sum(counts) for (route, _), (counts, _) in read_routes(table, ["/new"]).items()}
    assert found == {OTHERS: 1, "/new": 2}
    table.close()


def test_routes_above_the_bound_are_counted_as_one(tmp_path: Path) -> None:
    table = create_route_table(tmp_path / "routes.table", 1)
    paths = [f"/{number}" for number in range(ROUTES_MAX + 10)]
    row = RouteRow(table, 0, paths)
    for path in paths:
        row.latency(path, Ran.SERVER, 0.01)
    found = {route: sum(counts) for (route, _), (counts, _) in read_routes(table, paths).items()}
    assert len(found) == ROUTES_MAX
    assert found[OTHERS] == 11
    table.close()
