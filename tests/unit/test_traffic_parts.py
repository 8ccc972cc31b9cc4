"""Histograms, routes, rules, tables of counts: the parts that reading is made of."""

import io
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from peaker.errors import LogError, MissingExtraError
from peaker.extras import require_extra
from peaker.traffic.columns import Zones, seconds_of
from peaker.traffic.histogram import Histogram
from peaker.traffic.not_load import HEALTH_AGENT, HEALTH_PATH, STREAM_PATH, is_probe
from peaker.traffic.reading import read_traffic
from peaker.traffic.requests import ReadingReport, Traffic
from peaker.traffic.route_names import SIBLINGS_MAX, folded, route_of


def test_a_histogram_tells_quantiles_within_two_percent_and_the_mean_exactly() -> None:
    values = np.random.default_rng(1).lognormal(-3, 1.5, 50_000)
    histogram = Histogram.of(values)
    for q in (0.01, 0.5, 0.9, 0.99, 0.999):
        true = float(np.quantile(values, q, method="inverted_cdf"))
        assert histogram.quantile(q) == pytest.approx(true, rel=0.02)
    assert histogram.mean == pytest.approx(float(values.mean()))
    assert (histogram.quantile(0), histogram.quantile(1)) == (values.min(), pytest.approx(values.max(), rel=0.02))


def test_merged_histograms_are_that_of_all_values() -> None:
    values = np.random.default_rng(2).exponential(2.0, 1000)
    merged = Histogram.of(values[:300]).merge(Histogram.of(values[300:]))
    whole = Histogram.of(values)
    assert (merged.counts == whole.counts).all()
    assert merged.total == pytest.approx(whole.total)
    assert (merged.smallest, merged.largest) == (whole.smallest, whole.largest)


def test_sample_points_have_the_mean_and_order_of_the_whole() -> None:
    histogram = Histogram.of(np.random.default_rng(3).gamma(2.0, 0.1, 20_000))
    points = histogram.sample_points(2000)
    assert (np.diff(points) >= 0).all()
    assert points.mean() == pytest.approx(histogram.mean, rel=0.01)


def test_a_histogram_of_nothing_knows_nothing_and_zero_is_a_value() -> None:
    assert math.isnan(Histogram().mean)
    assert math.isnan(Histogram().quantile(0.5))
    assert Histogram().summary() == {"count": 0}
    assert Histogram.of(np.zeros(3)).quantile(0.5) == 0.0
    with pytest.raises(ValueError, match="0 or more"):
        Histogram.of(np.array([-1.0]))
    with pytest.raises(ValueError, match="0 to 1"):
        Histogram().quantile(1.5)
    with pytest.raises(ValueError, match="1 or more"):
        Histogram().sample_points(0)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/", "/"),
        (b"", ""),
        (b"*", "*"),
        (b"/users/17/posts/", "/users/{}/posts"),
        (b"/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/o/{}"),
        (b"/c/deadbeef01", "/c/{}"),
        (b"/v2/items/12.5", "/v2/items/{}"),
        (b"/t/eHBhkZC47oY64iLMMeXm", "/t/{}"),
        (b"/assets/index-mMaLXldj.css", "/assets/index-{}.css"),
        (b"/app.9f86d081.min.js", "/app-{}.min.js"),
        (b"/article/how-to-cook", "/article/how-to-cook"),
        (b"/img/photo_123.jpg", "/img/photo_{}.jpg"),
        (b"/pets/{petId}", "/pets/{}"),
        (b"/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/..."),
        (b"not-a-path", "{}"),
        ("/käse/\udcff".encode("utf-8", "surrogateescape"), "/käse/\ufffd"),
    ],
)
def test_what_changes_in_a_path_becomes_a_parameter(path: bytes, route: str) -> None:
    assert route_of(path) == route


def test_crowded_places_are_parameters_but_large_words_keep_their_name() -> None:
    words = {f"/shop/{chr(97 + i % 26)}{chr(97 + i // 26)}/price": 1 for i in range(SIBLINGS_MAX + 5)}
    names = folded({**words, "/shop/cart/price": 1000, "/about": 5})
    assert {names[word] for word in words} == {"/shop/{}/price"}
    assert (names["/shop/cart/price"], names["/about"]) == ("/shop/cart/price", "/about")


@pytest.mark.parametrize("path", [b"/health", b"/healthz", b"/api/health", b"/ping", b"/actuator/health/liveness",
                                  b"/up", b"/health_check.php", b"/_health/", b"/readyz"])  # fmt: skip
def test_paths_named_for_health_checks(path: bytes) -> None:
    assert HEALTH_PATH.fullmatch(path)


@pytest.mark.parametrize("path", [b"/healthy-food", b"/upload", b"/shop/health/articles", b"/live/stream/7", b"/"])
def test_paths_that_only_look_like_it(path: bytes) -> None:
    assert not HEALTH_PATH.fullmatch(path)


def test_agents_and_stream_paths_by_name() -> None:
    assert HEALTH_AGENT.search(b"kube-probe/1.29")
    assert HEALTH_AGENT.search(b"ELB-HealthChecker/2.0")
    assert not HEALTH_AGENT.search(b"Mozilla/5.0 (Windows NT 10.0)")
    assert STREAM_PATH.search(b"/socket.io/1/xhr-polling/abc")
    assert not STREAM_PATH.search(b"/streaming/upload")


def test_a_probe_is_there_in_most_minutes() -> None:
    assert is_probe(30, 10, 0.0, 599.0)
    assert not is_probe(30, 2, 0.0, 599.0)
    assert not is_probe(5, 10, 0.0, 599.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"0.5", 0.5), (b"-", math.nan), (b"-1", math.nan), (b"0.1, 0.2", 0.3), (b"0.1 : 0.2", 0.3), (b"-, 0.2", 0.2),
     (b"-, -", math.nan), (b"1e999", math.nan), (b"nan", math.nan), (b"x", math.nan)],
)  # fmt: skip
def test_seconds_of_a_log_field(text: bytes, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "epoch_s"),
    [
        (b"10/Oct/2000:13:55:36 -0700", 971211336.0),
        (b"10/oct/2000:13:55:60 +0000", 971186160.0),
        (b"31/Feb/2000:13:55:36 +0000", math.nan),
        (b"10/Xxx/2000:13:55:36 +0000", math.nan),
        (b"2000-10-10T13:55:36.123456789Z", 971186136.123456),
        (b"2000/10/10 13:55:36", 971186136.0),
        (b"971186136", 971186136.0),
        (b"971186136000", 971186136.0),
        (b"971186136000000000", 971186136.0),
        (b"0001-01-01T00:00:00Z", math.nan),
        (b"\xff\xfe", math.nan),
        (b"", math.nan),
    ],
)
def test_times_in_whichever_form(text: bytes, epoch_s: float) -> None:
    assert Zones().epoch_s(text) == pytest.approx(epoch_s, nan_ok=True)


def table(text: str, **options: object) -> tuple[Traffic, ReadingReport]:
    traffic, report = read_traffic([io.BytesIO(text.encode())], **options)  # type: ignore[arg-type]
    assert report.used + report.excluded + report.skipped + report.unreadable_count == report.lines
    return traffic, report


def test_a_count_table_keeps_its_gaps_and_makes_gaps_of_what_it_cannot_read() -> None:
    traffic, report = table("count\n1\nx\n-1\n7\n", step_s=60.0)
    assert (traffic.trace.counts, traffic.trace.step_s) == ((1, -1, -1, 7), 60.0)
    assert [(each.kind, each.first_line) for each in report.unreadable] == [("no whole number of 0 or more", 3)]
    assert [(gap.duration_s, gap.start_epoch_s) for gap in report.gaps] == [(120.0, 60.0)]
    assert not traffic.source_has_times


def test_a_count_file_takes_step_and_start_from_its_index_or_name(tmp_path: Path) -> None:
    (tmp_path / "t_5min.csv").write_text("count\n3\n4\n")
    assert read_traffic([tmp_path / "t_5min.csv"])[0].trace.step_s == 300.0
    index = [{"file": "t_5min.csv", "step_s": 900, "start": "2024-01-01T00:00:00", "tz": "Z"}]
    (tmp_path / "INDEX.json").write_text(json.dumps(index))
    traffic, _ = read_traffic([tmp_path / "t_5min.csv"])
    assert (traffic.trace.step_s, traffic.start_epoch_s) == (900.0, 1704067200.0)


def test_a_timed_table_is_put_on_a_grid_and_a_missing_line_is_a_gap() -> None:
    traffic, report = table("timestamp,count\n2024-01-01 00:00:00,5\n2024-01-01 00:02:00,7\n2024-01-01 00:03:00,1\n")
    assert (traffic.trace.counts, traffic.trace.step_s) == ((5, -1, 7, 1), 60.0)
    assert (traffic.trace.start, report.zone) == (datetime(2024, 1, 1, tzinfo=UTC), "not told, taken as UTC")


def test_cloudwatch_stores_no_zeros_so_a_missing_period_is_one() -> None:
    console = (
        '"Full label","app/lb RequestCount"\n"Label","RequestCount"\n"Period","300"\n"Statistic","Sum"\n"Id","m1"\n'
        '"2024/01/01 00:00:00","94"\n"2024/01/01 00:05:00","6.0"\n"2024/01/01 00:15:00","1"\n'
    )
    traffic, report = table(console)
    assert (traffic.trace.counts, traffic.trace.step_s, report.skipped) == ((94, 6, 0, 1), 300.0, 5)
    with pytest.raises(LogError, match="statistic is 'average'"):
        table(console.replace('"Sum"', '"Average"'))


def test_get_metric_data_is_read_in_pages_and_any_order() -> None:
    def page(label: str, minutes: list[int], values: list[float]) -> dict[str, object]:
        stamps = [f"2024-01-01T00:{minute:02d}:00+00:00" for minute in minutes]
        return {"Id": "m1", "Label": label, "Timestamps": stamps, "Values": values, "StatusCode": "Complete"}

    pages = [page("RequestCount", [3, 2], [4.0, 3.0]), page("RequestCount", [1, 0], [2.0, 1.0])]
    traffic, report = table(json.dumps({"MetricDataResults": [*pages, page("TargetResponseTime", [0], [0.5])]}))
    assert (traffic.trace.counts, traffic.trace.step_s, report.zone) == ((1, 2, 3, 4), 60.0, "UTC")
    points = [{"Timestamp": "2024-01-01T00:01:00Z", "Sum": 5.0, "Unit": "Count"},
              {"Timestamp": "2024-01-01T00:00:00Z", "Sum": 7.0, "Unit": "Count"}]  # fmt: skip
    assert table(json.dumps({"Label": "Invocations", "Datapoints": points}))[0].trace.counts == (7, 5)
    both = [page("CPUUtilization", [0], [1.0]), page("TargetResponseTime", [0], [0.5])]
    with pytest.raises(LogError, match="there are: CPUUtilization, TargetResponseTime"):
        table(json.dumps({"MetricDataResults": both}))


def test_utilisation_is_no_count_of_requests() -> None:
    with pytest.raises(LogError, match="no count of requests"):
        table("timestamp,value\n2024-01-01 00:00:00,51.8\n2024-01-01 00:05:00,44.5\n")


@pytest.mark.parametrize("text", ["count\n0\n0\n", "count\n-1\n", "count\n"])
def test_a_table_without_a_request_says_so(text: str) -> None:
    with pytest.raises(LogError, match="no request in it"):
        table(text)


def test_logs_and_tables_are_not_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("count\n3\n")
    (tmp_path / "b.log").write_text('1.1.1.1 - - [01/May/2024:00:00:00 +0000] "GET / HTTP/1.1" 200 5\n')
    with pytest.raises(LogError, match="one or the other"):
        read_traffic([tmp_path])
    (tmp_path / "b.log").write_text("count\n4\n")
    with pytest.raises(LogError, match="only if each line has a time"):
        read_traffic([tmp_path])


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    require_extra("plan", purpose="This")
    with pytest.raises(MissingExtraError, match=r"pip install 'peaker\[plan\]'"):
        require_extra("plan", purpose="This", finds=lambda _name: None)
