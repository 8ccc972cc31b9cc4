"""Counters and histograms that processes share."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaker.errors import StateError
from peaker.meter.usage import (
    BUCKETS,
    COUNTER_INDEX,
    Ran,
    UsageRow,
    bucket_end_s,
    bucket_of,
    create_usage_table,
    open_usage_table,
    read_usage,
)
from peaker.shared_table import SharedTable


@given(st.floats(min_value=64e-6, max_value=1000))
def test_a_latency_lies_within_one_bucket_width_of_its_bucket_end(latency_s: float) -> None:
    end_s = bucket_end_s(bucket_of(latency_s))
    assert latency_s <= end_s * (1 + 1e-9)
    assert end_s / latency_s <= 2 ** (1 / 16) * (1 + 1e-9)


@pytest.mark.parametrize(("latency_s", "bucket"), [(0.0, 0), (1e-9, 0), (1e9, BUCKETS - 1)])
def test_latencies_beyond_the_ends_are_counted_at_the_ends(latency_s: float, bucket: int) -> None:
    assert bucket_of(latency_s) == bucket


def test_percentiles_agree_with_a_direct_calculation(tmp_path: Path) -> None:
    table = create_usage_table(tmp_path / "usage", 2)
    rows = [UsageRow(table, 0), UsageRow(table, 1)]
    chance = random.Random(7)
    samples = [chance.lognormvariate(-3, 0.7) for _ in range(20_000)]
    for index, sample in enumerate(samples):
        rows[index % 2].latency(Ran.SERVER, sample)
    usage = read_usage(table)
    cuts = statistics.quantiles(samples, n=100)
    for percent in (50, 95, 99):
        assert usage.percentile_s(percent / 100) == pytest.approx(cuts[percent - 1], rel=0.05)
    assert usage.percentile_s(0.5, [Ran.FUNCTION]) is None


def test_a_worker_goes_on_where_the_one_before_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    table = create_usage_table(path, 2)
    for row in (0, 1):
        UsageRow(table, row).add(COUNTER_INDEX["requests"], 10)
        UsageRow(table, row).latency(Ran.FUNCTION, 0.01)
    before = read_usage(table)
    heir = UsageRow(open_usage_table(path), 1)
    assert read_usage(table) == before
    heir.add(COUNTER_INDEX["requests"])
    assert (read_usage(table) - before).counters["requests"] == 1


def test_another_process_sees_what_one_process_counts(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    create_usage_table(path, 1)
    program = (
        "import sys; from pathlib import Path; from peaker.meter.usage import *\n"
        "UsageRow(open_usage_table(Path(sys.argv[1])), 0).add(COUNTER_INDEX['refused'], 42)"
    )
    mine = open_usage_table(path)
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=30)
    assert read_usage(mine).counters["refused"] == 42


def test_a_table_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    SharedTable.create(tmp_path / "usage", ("one", "two"), 3)
    with pytest.raises(StateError, match="another version"):
        open_usage_table(tmp_path / "usage")


def test_a_missing_and_a_truncated_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be opened"):
        open_usage_table(tmp_path / "absent")
    (tmp_path / "short").write_bytes(b"PEAK")
    with pytest.raises(StateError, match="truncated"):
        open_usage_table(tmp_path / "short")


def test_making_a_table_anew_leaves_those_who_have_the_old_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "table"
    old = SharedTable.create(path, ("a", "b"), 2)
    old.set(1, "b", 5)
    fresh = SharedTable.create(path, ("a", "b"), 2)
    assert (old.get(1, "b"), fresh.get(1, "b")) == (5, 0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert old.row(1) == {"a": 0, "b": 5}
