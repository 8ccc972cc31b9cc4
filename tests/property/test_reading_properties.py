"""What is written is read back, and junk anywhere changes nothing else."""

import io
from collections import Counter
from datetime import UTC, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from peaker.errors import LogError
from peaker.traffic.columns import Columns
from peaker.traffic.histogram import Histogram
from peaker.traffic.log_formats.known import MAKERS
from peaker.traffic.reading import read_traffic
from peaker.traffic.request_tally import RequestTally, Texts
from peaker.traffic.route_names import route_of

BEGIN = int(datetime(2024, 5, 1, tzinfo=UTC).timestamp())

requests = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
        st.sampled_from(["/", "/a", "/b/17", "/b/18", "/käse", "/x?y=1"]),
        st.sampled_from([200, 204, 302, 404, 500]),
        st.integers(0, 10**6),
        st.sampled_from([0, 3600, -5400]),
    ),
    min_size=1,
    max_size=60,
)
junk = st.binary(max_size=60).filter(lambda data: b"\n" not in data)


def line(request: tuple[int, str, str, int, int, int]) -> bytes:
    second, method, path, status, size, offset_s = request
    local = datetime.fromtimestamp(BEGIN + second + offset_s, UTC)
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    zone = f"{'-' if offset_s < 0 else '+'}{hours:02d}{minutes:02d}"
    stamp = f"{local:%d/%b/%Y:%H:%M:%S} {zone}"
    return f'10.0.0.1 - - [{stamp}] "{method} {path} HTTP/1.1" {status} {size} "-" "Mozilla/5.0"'.encode()


@given(requests, st.lists(st.tuples(st.integers(0, 60), junk), max_size=20), st.sampled_from([b"\n", b"\r\n"]))
@settings(max_examples=60, deadline=None)
def test_a_written_log_is_read_back_whatever_stands_between(
    written: list[tuple[int, str, str, int, int, int]], between: list[tuple[int, bytes]], end: bytes
) -> None:
    lines = [line(request) for request in written]
    for place, data in between:
        lines.insert(min(place, len(lines)), data)
    traffic, report = read_traffic([io.BytesIO(end.join(lines) + end)], format="combined")
    assert report.used == len(written)
    assert report.used + report.excluded + report.skipped + report.unreadable_count == report.lines == len(lines)
    seconds = Counter(request[0] for request in written)
    first = min(seconds)
    assert traffic.start_epoch_s == BEGIN + first
    assert traffic.trace.counts == tuple(seconds[second] for second in range(first, max(seconds) + 1))
    assert dict(traffic.methods) == Counter(request[1] for request in written)
    assert dict(traffic.status_classes) == Counter(request[3] // 100 for request in written)
    assert {route.pattern: route.count for route in traffic.routes} == Counter(
        route_of(request[2].split("?")[0].encode()) for request in written
    )
    assert traffic.response_bytes is not None
    assert traffic.response_bytes.total == sum(request[4] for request in written)


@given(st.binary(max_size=3000), st.sampled_from([None, *MAKERS, "counts", "cloudwatch"]))
@settings(max_examples=150, deadline=None)
def test_bytes_of_any_kind_are_read_or_refused_by_name(data: bytes, name: str | None) -> None:
    try:
        _, report = read_traffic([io.BytesIO(data)], format=name)
    except LogError:
        return
    assert report.used + report.excluded + report.skipped + report.unreadable_count == report.lines


@given(st.lists(st.floats(0, 1e9), max_size=50), st.lists(st.floats(0, 1e9), max_size=50), st.floats(0, 1))
@settings(deadline=None)
def test_a_histogram_is_within_two_percent_merged_or_not(left: list[float], right: list[float], q: float) -> None:
    merged = Histogram.of(np.array(left)).merge(Histogram.of(np.array(right)))
    values = np.sort(np.array(left + right))
    assert merged.count == len(values)
    if len(values):
        true = values[max(1, int(np.ceil(q * len(values)))) - 1]
        assert abs(merged.quantile(q) - true) <= 0.02 * true + 1e-6


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_tallies_of_parts_merge_into_that_of_the_whole(routes: list[int], parts: int) -> None:
    def tally(chosen: list[int], begin: int) -> RequestTally:
        made = RequestTally()
        count = len(chosen)
        columns = Columns(
            time_s=BEGIN + begin + np.arange(count, dtype=np.float64),
            targets=[b"/r%c" % (97 + route) for route in chosen],
            methods=[b"GET"] * count,
            status=np.full(count, 200, np.int16),
            service_s=np.array(chosen, np.float64) / 10,
        )
        made.add(columns, Texts(), "")
        return made

    whole, merged = tally(routes, 0), RequestTally()
    for begin in range(0, len(routes), parts):
        merged.merge(tally(routes[begin : begin + parts], begin))
    assert merged.steps.trace("x") == whole.steps.trace("x")
    assert {name: merged.routes.count(name) for name in merged.routes.rows} == {
        name: whole.routes.count(name) for name in whole.routes.rows
    }
    assert (merged.service_time.counts == whole.service_time.counts).all()
