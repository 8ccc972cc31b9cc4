"""Control groups, version 1 or 2: where Peaker may make its own, and one group for one instance.

Paths and files are those of the kernel's `Documentation/admin-guide/cgroup-v1` and `cgroup-v2.rst`.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

CPU_PERIOD_US = 20_000
"""Lambda's scheduling period ("Making Sense of Lambda Throttling", and /proc/self/cgroup seen in Lambda): 20 ms."""

_MEMORY_V1_UNLIMITED = 1 << 62
"""cgroup v1 shows "no limit" as the largest page-aligned signed 64-bit number."""

_REMOVE_S_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted tree in which groups can be made, and what it controls."""

    version: int
    base: Path
    controllers: frozenset[str]


def find_hierarchies(wanted: set[str], mountinfo: str, membership: str) -> list[Hierarchy]:
    """The trees for `memory`, `cpu` and `freezer`, version 1 before version 2 (a controller is only ever in one).

    Args:
        wanted: controllers to look for.
        mountinfo: text of /proc/self/mountinfo.
        membership: text of /proc/self/cgroup.
    """
    own_paths: dict[str, str] = {}
    for line in membership.splitlines():
        _, names, path = line.split(":", 2)
        own_paths |= dict.fromkeys(names.split(","), path)
    found, missing = [], set(wanted)
    mounts = [_parse_mount(line) for line in mountinfo.splitlines()]
    for kind, root, point, options in mounts:
        if kind == "cgroup" and (offered := missing & options):
            own = own_paths.get(next(iter(offered)), "/")
            found.append(Hierarchy(1, _base_v1(point, root, own), frozenset(offered)))
            missing -= offered
    for kind, root, point, _ in mounts:
        if kind == "cgroup2" and missing and (base := _base_v2(point, root, own_paths.get("", "/"))):
            offered = missing & (set((base / "cgroup.controllers").read_text().split()) | {"freezer"})
            if offered:
                found.append(Hierarchy(2, base, frozenset(offered)))
    return found


def _parse_mount(line: str) -> tuple[str, str, Path, set[str]]:
    """File system type, root within it, mount point and options of one line of mountinfo (proc(5))."""
    before, _, after = line.partition(" - ")
    fields = before.split()
    kind, _, options = after.split(" ", 2)
    return kind, fields[3], Path(fields[4]), set(options.split(","))


def _base_v1(point: Path, root: str, own: str) -> Path:
    """Below our own group where that carries a memory limit, which leaving it would escape; else at the top.

    At the top the next start finds what a killed host left behind.
    """
    ours = _below(point, root, own)
    limit = ours / "memory.limit_in_bytes"
    is_limited = limit.exists() and int(limit.read_text()) < _MEMORY_V1_UNLIMITED
    return ours if is_limited else point


def _base_v2(point: Path, root: str, own: str) -> Path | None:
    """A group that may have both controllers and children: the top, or the parent of our own, which holds processes.

    None where neither exists, as in a container that sees only its own group.
    """
    ours = _below(point, root, own)
    is_top = not (ours / "cgroup.type").exists()
    base = ours if is_top else ours.parent
    return base if (base / "cgroup.controllers").exists() else None


def _below(point: Path, root: str, own: str) -> Path:
    """Where the group `own` is seen under a mount that shows the tree from `root`."""
    inside = own.removeprefix(root) if root != "/" else own
    return point / inside.lstrip("/")


@dataclass(slots=True)
class Group:
    """The group of one instance in one hierarchy."""

    hierarchy: Hierarchy
    path: Path
    _kills_before: int = field(default=0, init=False)

    @classmethod
    def make(cls, hierarchy: Hierarchy, path: Path, memory_bytes: int, vcpus: float) -> Group:
        """Create it with its limits; zero means none.

        Raises:
            OSError: the kernel refused.
        """
        path.mkdir()
        group = cls(hierarchy, path)
        if memory_bytes and "memory" in hierarchy.controllers:
            group._limit_memory(memory_bytes)
        if vcpus and "cpu" in hierarchy.controllers:
            quota_us = max(1000, int(vcpus * CPU_PERIOD_US))
            if hierarchy.version == 1:
                (path / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_US))
                (path / "cpu.cfs_quota_us").write_text(str(quota_us))
            else:
                (path / "cpu.max").write_text(f"{quota_us} {CPU_PERIOD_US}")
        return group

    def _limit_memory(self, memory_bytes: int) -> None:
        """Limit memory and keep it from going to swap instead."""
        if self.hierarchy.version == 1:
            (self.path / "memory.limit_in_bytes").write_text(str(memory_bytes))
            if (swap := self.path / "memory.memsw.limit_in_bytes").exists():
                swap.write_text(str(memory_bytes))
            return
        (self.path / "memory.max").write_text(str(memory_bytes))
        (self.path / "memory.oom.group").write_text("1")
        if (swap := self.path / "memory.swap.max").exists():
            swap.write_text("0")

    def open_to_join(self) -> int:
        """A descriptor; the process that writes "0" to it is moved in, if it is its only thread.

        Moving a whole process makes the kernel wait for a grace period of RCU, some 20 ms where none has moved lately.
        Moving the thread that writes does not (Linux 5.17, `cgroup_procs_write_start`), but version 2 has no such file
        for groups with a memory limit.
        """
        name = "tasks" if self.hierarchy.version == 1 else "cgroup.procs"
        return os.open(self.path / name, os.O_WRONLY | os.O_CLOEXEC)

    def was_out_of_memory(self) -> bool:
        """Whether the kernel killed a process here for going over the limit."""
        name = "memory.oom_control" if self.hierarchy.version == 1 else "memory.events"
        return self._number_in(name, "oom_kill") > 0

    def peak_bytes(self) -> int:
        """The most memory it has held; 0 where the kernel does not say."""
        name = "memory.max_usage_in_bytes" if self.hierarchy.version == 1 else "memory.peak"
        try:
            return int((self.path / name).read_text())
        except FileNotFoundError:  # memory.peak is there since Linux 5.19
            return 0

    def _number_in(self, name: str, key: str) -> int:
        for line in (self.path / name).read_text().splitlines():
            found, _, value = line.partition(" ")
            if found == key:
                return int(value)
        return 0

    def freeze(self, *, frozen: bool) -> None:
        """Stop or continue all processes in it."""
        if self.hierarchy.version == 1:
            (self.path / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
        else:
            (self.path / "cgroup.freeze").write_text("1" if frozen else "0")

    def kill_all(self, spare_pid: int = 0) -> None:
        """Send SIGKILL to whatever is in it, but for one process."""
        for pid in self.pids():
            if pid != spare_pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def pids(self) -> list[int]:
        """Processes in it now."""
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]

    def remove(self) -> bool:
        """Remove it; False while a process in it has not ended yet."""
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def remove_tree(hierarchy: Hierarchy, top: Path) -> bool:
    """Kill what is in a host's groups and remove them; False where something would not go within two seconds."""
    give_up_s = time.monotonic() + _REMOVE_S_MAX
    left = [Group(hierarchy, path) for path in top.iterdir() if path.is_dir()] + [Group(hierarchy, top)]
    while True:
        for group in left[:]:
            if group.path.exists():
                group.kill_all()
            if group.remove():
                left.remove(group)
        if not left or time.monotonic() > give_up_s:
            return not left
        time.sleep(0.005)
