import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from peaker.errors import TraceError
from peaker.traffic.trace import GAP, Trace, parse_trace, read_trace


def lines_of(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def test_a_count_file_is_one_number_a_step_and_minus_one_is_a_gap() -> None:
    trace = parse_trace(lines_of("count\n3\n-1\n0\n7\n\n"))
    assert trace.counts == (3, GAP, 0, 7)
    assert (trace.total, trace.gap_steps, trace.step_s, trace.duration_s) == (10, 1, 1.0, 4.0)
    assert trace.peak_per_s == 7
    assert trace.mean_per_s == pytest.approx(10 / 3)


def test_a_timestamped_file_takes_its_step_from_the_closest_lines_and_missing_lines_are_gaps() -> None:
    trace = parse_trace(
        lines_of("timestamp,count\n2026-01-01T00:00:00Z,5\n2026-01-01T00:05:00Z,6\n2026-01-01T00:20:00Z,7\n")
    )
    assert trace.counts == (5, 6, GAP, GAP, 7)
    assert trace.step_s == 300
    assert trace.start == datetime(2026, 1, 1, tzinfo=UTC)


def test_times_may_be_seconds_since_1970() -> None:
    trace = parse_trace(lines_of("timestamp,count\n1767225600,5\n1767225601.0,6\n"))
    assert trace.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert trace.step_s == 1


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", ":1", "header"),
        ("requests\n3\n", ":1", "'requests'"),
        ("count\n", "", "no step"),
        ("count\n0\n-1\n", "", "no request"),
        ("count\n3\n-2\n", ":3", "-2 is not allowed"),
        ("count\n3\nmany\n", ":3", "'many' is not a whole number"),
        ("count\n3\n1.5\n", ":3", "'1.5' is not a whole number"),
        ("count\n1_000\n", ":2", "'1_000' is not a whole number"),
        ("count\n٣\n", ":2", "is not a whole number"),
        ("count\n3\n\n4\n", ":3", "empty"),
        ("count\n9999999999999\n", ":2", "not allowed"),
        ("timestamp,count\n", "", "no step"),
        ("timestamp,count\n5\n", ":2", "'timestamp,count'"),
        ("timestamp,count\nnoon,5\n", ":2", "'noon' is neither"),
        ("timestamp,count\n1e300,5\n", ":2", "is neither"),
        ("timestamp,count\n10,5\n10,6\n", ":3", "not later"),
        ("timestamp,count\n10,5\n20,6\n35,6\n", ":4", "no multiple"),
        ("timestamp,count\n0,5\n1,6\n900000000,6\n", ":4", "more than"),
        ("timestamp,count\n2026-01-01T00:00:00Z,5\n2026-01-01T00:05:00,6\n", ":3", "zone"),
    ],
)
def test_a_wrong_trace_is_refused_with_the_line_named(text: str, where: str, what: str) -> None:
    with pytest.raises(TraceError) as refused:
        parse_trace(lines_of(text), name="a.csv")
    assert str(refused.value).startswith(f"a.csv{where}: ")
    assert what in str(refused.value)
    assert refused.value.exit_code == 2


def test_the_step_comes_from_the_caller_then_the_index_then_the_name_then_is_a_second(tmp_path: Path) -> None:
    for name in ("requests_5min.csv", "listed_1h.csv", "plain.csv"):
        (tmp_path / name).write_text("count\n1\n2\n")
    index = [{"file": "listed_1h.csv", "step_s": 60, "start": "2026-01-01T12:00:00", "tz": "-04:00"}]
    (tmp_path / "INDEX.json").write_text(json.dumps(index))
    assert read_trace(tmp_path / "requests_5min.csv").step_s == 300
    assert read_trace(tmp_path / "listed_1h.csv").step_s == 60
    assert read_trace(tmp_path / "listed_1h.csv").start == datetime.fromisoformat("2026-01-01T12:00:00-04:00")
    assert read_trace(tmp_path / "plain.csv").step_s == 1
    assert read_trace(tmp_path / "requests_5min.csv", step_s=10).step_s == 10
    with pytest.raises(TraceError, match="step"):
        read_trace(tmp_path / "plain.csv", step_s=0)


def test_a_gzipped_trace_is_read_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"count\n4\n"))
    assert read_trace(path).counts == (4,)
    path.write_bytes(gzip.compress(b"count\n" + b"4\n" * 1000)[:-12])
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(path)
    path.write_bytes(b"count\n4\n")
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(path)


def test_a_missing_file_a_folder_binary_text_and_a_broken_index_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        read_trace(tmp_path / "absent.csv")
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"count\n\xff\xfe\n")
    with pytest.raises(TraceError, match="not UTF-8"):
        read_trace(tmp_path / "binary.csv")
    (tmp_path / "INDEX.json").write_text("[1, 2")
    with pytest.raises(TraceError, match=r"INDEX\.json: the index"):
        read_trace(tmp_path / "binary.csv")


def test_a_cut_takes_the_steps_that_begin_within_it() -> None:
    trace = Trace((1, 2, 3, 4, 5), 60.0, datetime(2026, 1, 1, tzinfo=UTC))
    assert trace.cut(60, 120).counts == (2, 3)
    assert trace.cut(90).counts == (3, 4, 5)
    assert trace.cut(90).start == datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
    assert trace.cut(0, 61).counts == (1, 2)
    assert Trace((1,) * 10, 0.1).cut(0.3, 0.3).counts == (1, 1, 1)


@pytest.mark.parametrize(("from_s", "for_s"), [(300, None), (0, 0), (-1, None), (241, 10)])
def test_an_empty_cut_is_refused(from_s: float, for_s: float | None) -> None:
    with pytest.raises(TraceError, match="no step begins"):
        Trace((1, 2, 3, 4, 5), 60.0).cut(from_s, for_s)


def test_scaling_down_carries_what_rounding_leaves_over() -> None:
    assert Trace((1, 1, 1, GAP, 1), 1.0).scaled(0.5).counts == (1, 0, 1, GAP, 0)
    assert Trace((3, 4), 1.0).scaled(2.5).counts == (8, 10)


def test_speed_shortens_the_steps_and_leaves_the_counts() -> None:
    faster = Trace((6, 60), 60.0).faster(60)
    assert (faster.counts, faster.step_s, faster.peak_per_s) == ((6, 60), 1.0, 60)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf"), 1e7])
def test_a_senseless_factor_is_refused(factor: float) -> None:
    with pytest.raises(TraceError, match="scale"):
        Trace((1,), 1.0).scaled(factor)
    with pytest.raises(TraceError, match="speed"):
        Trace((1,), 1.0).faster(factor)
