"""Cores as a container sees them."""

import os
from pathlib import Path

import pytest

from peaker.cores import usable_cores

HERE = len(os.sched_getaffinity(0))


def group(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", HERE), ("50000 100000\n", 1), ("150000 100000\n", 2), ("6400000 100000\n", 64)]
)
def test_a_container_has_no_more_cores_than_it_is_given_time_on(tmp_path: Path, text: str, cores: int) -> None:
    assert usable_cores(group(tmp_path, cpu_DOT_max=text)) == min(HERE, cores)


@pytest.mark.parametrize(("quota", "cores"), [("-1\n", HERE), ("100000\n", 1)])
def test_the_older_control_groups_say_the_same(tmp_path: Path, quota: str, cores: int) -> None:
    found = group(tmp_path, cpu__cpu_DOT_cfs_quota_us=quota, cpu__cpu_DOT_cfs_period_us="100000\n")
    assert usable_cores(found) == min(HERE, cores)


def test_without_control_groups_it_is_the_cores_the_process_is_bound_to(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == HERE
