"""Where cgroups are found, what is written into them, and what is said where there are none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from peaker.functions.cgroups import Group, Hierarchy, find_hierarchies
from peaker.functions.limits import Limits

MEMORY = {"memory"}


def make_v1(root: Path, own_limit: int | None = None) -> str:
    """A version 1 memory tree made of plain files; returns its mountinfo line."""
    (root / "service").mkdir(parents=True)
    if own_limit is not None:
        (root / "service" / "memory.limit_in_bytes").write_text(str(own_limit))
    return f"35 31 0:32 / {root} rw,relatime shared:1 - cgroup cgroup rw,memory"


def make_v2(root: Path, own: str, controllers: str = "cpu memory pids") -> str:
    """A version 2 tree; the group `own` is the one this process is said to be in."""
    path = root
    for part in ["", *own.strip("/").split("/")]:
        path = path / part
        path.mkdir(parents=True, exist_ok=True)
        (path / "cgroup.controllers").write_text(controllers)
        (path / "cgroup.subtree_control").write_text("")
        if path != root:
            (path / "cgroup.type").write_text("domain")
    return f"41 31 0:38 / {root} rw - cgroup2 cgroup2 rw,nsdelegate"


def test_version_1_without_a_limit_of_our_own_is_used_at_its_top(tmp_path: Path) -> None:
    mount = make_v1(tmp_path / "memory", 9_223_372_036_854_771_712)
    [found] = find_hierarchies(MEMORY, mount, "4:memory:/service\n0::/")
    assert found == Hierarchy(1, tmp_path / "memory", frozenset(MEMORY))


def test_a_limit_of_our_own_is_not_escaped(tmp_path: Path) -> None:
    mount = make_v1(tmp_path / "memory", 2**30)
    [found] = find_hierarchies(MEMORY, mount, "4:memory:/service\n0::/")
    assert found.base == tmp_path / "memory" / "service"


def test_version_2_is_used_beside_our_own_group(tmp_path: Path) -> None:
    mount = make_v2(tmp_path / "unified", "/system.slice/app.service")
    [found] = find_hierarchies({"memory", "cpu", "freezer"}, mount, "0::/system.slice/app.service")
    assert found == Hierarchy(2, tmp_path / "unified" / "system.slice", frozenset({"memory", "cpu", "freezer"}))


def test_a_controller_that_version_1_has_is_not_looked_for_in_version_2(tmp_path: Path) -> None:
    first, second = make_v1(tmp_path / "memory"), make_v2(tmp_path / "unified", "/a/b", "hugetlb")
    found = find_hierarchies({"memory", "cpu"}, f"{second}\n{first}", "4:memory:/service\n0::/a/b")
    assert [(one.version, set(one.controllers)) for one in found] == [(1, {"memory"})]


def test_a_container_that_sees_only_its_own_group_has_none(tmp_path: Path) -> None:
    """The mount shows the container's group as its top, but it is not the real top: it holds processes."""
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "cgroup.type").write_text("domain")
    mount = f"41 31 0:38 /docker/abc {root} ro - cgroup2 cgroup2 rw"
    assert find_hierarchies(MEMORY, mount, "0::/docker/abc") == []


def test_limits_of_version_2_are_written_in_its_own_words(tmp_path: Path) -> None:
    hierarchy = Hierarchy(2, tmp_path, frozenset({"memory", "cpu"}))
    Group.make(hierarchy, tmp_path / "1", 300 * 2**20, 0.5)
    written = {path.name: path.read_text() for path in (tmp_path / "1").iterdir()}
    assert written == {"memory.max": "314572800", "memory.oom.group": "1", "cpu.max": "10000 20000"}


def test_limits_of_version_1_are_written_in_its_own_words(tmp_path: Path) -> None:
    hierarchy = Hierarchy(1, tmp_path, frozenset({"memory", "cpu"}))
    group = Group.make(hierarchy, tmp_path / "1", 300 * 2**20, 0.01)
    written = {path.name: path.read_text() for path in (tmp_path / "1").iterdir()}
    assert written == {
        "memory.limit_in_bytes": "314572800",
        "cpu.cfs_period_us": "20000",
        "cpu.cfs_quota_us": "1000",  # the least the kernel takes
    }
    (tmp_path / "1" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (tmp_path / "1" / "memory.max_usage_in_bytes").write_text("4096\n")
    assert group.was_out_of_memory()
    assert group.peak_bytes() == 4096


def test_a_tree_that_cannot_be_written_is_said_and_done_without(tmp_path: Path) -> None:
    mount = make_v2(tmp_path / "unified", "/a/b")
    (tmp_path / "unified" / "a" / "cgroup.subtree_control").unlink()
    (tmp_path / "unified" / "a" / "cgroup.subtree_control").mkdir()
    limits = Limits.find("app", mountinfo=mount, membership="0::/a/b")
    assert limits.hierarchies == []
    assert limits.notices[0].startswith(f"cgroups for memory below {tmp_path}/unified/a cannot be made: ")
    assert limits.notices[1].startswith("no writable memory cgroup here: memory is limited by address space")
    enclosure = limits.enclose(memory_bytes=2**28)
    assert not enclosure.limits_memory
    limits.release(enclosure, 0)
    limits.close()


def test_without_any_cgroup_the_consequences_are_said() -> None:
    limits = Limits.find("app", like="lambda", mountinfo="", membership="")
    assert [notice.split(":")[0] for notice in limits.notices][:3] == [
        f"no writable {name} cgroup here" for name in ("cpu", "freezer", "memory")
    ]


@pytest.fixture
def real() -> Limits:
    limits = Limits.find("unit-cgroups")
    if not limits.hierarchies:
        pytest.skip(limits.notices[0])
    return limits


def test_a_process_that_moves_in_is_held_and_killed_there(real: Limits) -> None:
    enclosure = real.enclose(memory_bytes=64 * 2**20)
    fds = enclosure.open_to_join()
    code = "import os, sys\nfor fd in sys.argv[1:]: os.write(int(fd), b'0')\nprint('in', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, fds)], pass_fds=fds, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        for fd in fds:
            os.close(fd)
        enclosure.kill_all(spare_pid=process.pid)
        assert process.poll() is None
        real.release(enclosure, 0)  # kills it; the group goes when it has ended
        assert process.wait(10) == -9
    real.close()
    assert [one for hierarchy in real.hierarchies for one in hierarchy.base.glob("peaker-unit-cgroups-*")] == []
