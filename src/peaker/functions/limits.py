"""What an instance may use: memory, CPU share, disk, temporary files; by the best mechanism that is there and writable.

Memory of an instance is the zygote's resident pages, which it shares, and its own private ones; so its own may take
`memory_mb` less the zygote's size. A cgroup holds it to that exactly, with all its children. Without one, RLIMIT_AS
bounds the address space of each process and a watchdog in the launcher looks at the resident sizes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from peaker.functions import kernel
from peaker.functions.cgroups import Group, Hierarchy, find_hierarchies, remove_tree
from peaker.functions.scratch import ScratchFolders

DESCRIPTORS_MAX = 1024
"""Of an instance that is to be like Lambda's ("Lambda quotas": file descriptors)."""


@dataclass(slots=True)
class Enclosure:
    """The limits of one instance, as they stand on this machine."""

    read_only: bool = False
    scratch: str = ""
    """Folder for its temporary files, "" where there is none."""
    _groups: list[Group] = field(default_factory=list[Group])

    @property
    def limits_memory(self) -> bool:
        """Whether a cgroup holds its memory; otherwise RLIMIT_AS and the watchdog have to."""
        return self._memory is not None

    @property
    def _memory(self) -> Group | None:
        return self._controlling("memory")

    def _controlling(self, controller: str) -> Group | None:
        return next((group for group in self._groups if controller in group.hierarchy.controllers), None)

    def open_to_join(self) -> list[int]:
        """Descriptors for the instance to write "0" to; the caller closes its own copies."""
        return [group.open_to_join() for group in self._groups]

    def was_out_of_memory(self) -> bool:
        """Whether the kernel killed a process of it for its memory."""
        return self._memory is not None and self._memory.was_out_of_memory()

    def peak_bytes(self) -> int:
        """The most private memory it has held, 0 where that is not known."""
        return self._memory.peak_bytes() if self._memory else 0

    def freeze(self, *, frozen: bool) -> bool:
        """Stop or continue it with all its children; False where no cgroup can."""
        group = self._controlling("freezer")
        if group is not None:
            group.freeze(frozen=frozen)
        return group is not None

    def pids(self) -> list[int]:
        """Processes in it now; none where there is no cgroup."""
        return self._groups[0].pids() if self._groups else []

    def kill_all(self, spare_pid: int) -> None:
        """End whatever is still in it, but for one process."""
        for group in self._groups[:1]:
            group.kill_all(spare_pid)

    def release(self) -> bool:
        """Remove its cgroups; False while a process in them has not ended yet."""
        self._groups = [group for group in self._groups if not group.remove()]
        return not self._groups


class Limits:
    """The mechanisms of this machine, shared by all launchers of one host."""

    def __init__(self, app_name: str, hierarchies: list[Hierarchy], notices: list[str]) -> None:
        self.notices = notices
        """Sentences about what is not enforced here and why."""
        self._prefix = f"peaker-{app_name}-"
        # Process ids only mean something within their namespace, so it is part of the name.
        self._name = f"{self._prefix}{Path('/proc/self/ns/pid').stat().st_ino if hierarchies else 0}-{os.getpid()}"
        self.hierarchies = [hierarchy for hierarchy in hierarchies if self._prepare(hierarchy)]
        self.joins_are_slow = any(hierarchy.version == 2 for hierarchy in self.hierarchies)
        """Whether moving into a cgroup takes long enough to be done ahead (`Group.open_to_join`)."""
        self._number = 0
        self._ending: list[tuple[Enclosure, int]] = []
        self.can_limit_disk = kernel.landlock_version() > 0
        self._scratch: ScratchFolders | None = None

    @classmethod
    def find(
        cls,
        app_name: str,
        *,
        like: str = "local",
        scratch: Path | None = None,
        mountinfo: str | None = None,
        membership: str | None = None,
    ) -> Limits:
        """Look at what this machine offers and remove what dead hosts of this app left behind.

        Args:
            app_name: names the cgroups.
            like: `lambda` also looks for CPU shares and the freezer.
            scratch: folder that is to have the instances' folders for temporary files; None for none.
            mountinfo: text of /proc/self/mountinfo where that is not to be read.
            membership: text of /proc/self/cgroup, likewise.
        """
        wanted = {"memory", "cpu", "freezer"} if like == "lambda" else {"memory"}
        limits = cls(
            app_name,
            find_hierarchies(wanted, _text(mountinfo, "mountinfo"), _text(membership, "cgroup")),
            [],
        )
        missing = wanted - {name for hierarchy in limits.hierarchies for name in hierarchy.controllers}
        consequences = {
            "memory": "memory is limited by address space, and checked every quarter of a second",
            "cpu": "instances get whole cores, not the CPU share of their memory_mb",
            "freezer": "idle instances are stopped by SIGSTOP, their children are not",
        }
        limits.notices += [f"no writable {name} cgroup here: {consequences[name]}." for name in sorted(missing)]
        if like == "lambda" and not limits.can_limit_disk:
            limits.notices.append("this kernel has no Landlock: instances can write wherever you can.")
        if scratch is not None:
            limits._make_scratch(scratch)
        return limits

    def _make_scratch(self, root: Path) -> None:
        try:
            self._scratch = ScratchFolders(root)
        except OSError as error:
            self.notices.append(f"instances have no temporary folders of their own, {root}: {error.strerror}.")

    def _prepare(self, hierarchy: Hierarchy) -> bool:
        """Make this host's own group and sweep up after dead hosts; False where it is not ours to write."""
        try:
            for left in hierarchy.base.glob(f"{self._name.rpartition('-')[0]}-*"):
                if not _is_running(int(left.name.rpartition("-")[2])):
                    remove_tree(hierarchy, left)
            top = hierarchy.base / self._name
            if hierarchy.version == 2:  # noqa: SIM102 - the two conditions are of different kinds
                if enabled := " ".join(f"+{name}" for name in sorted(hierarchy.controllers - {"freezer"})):
                    (hierarchy.base / "cgroup.subtree_control").write_text(enabled)
                    top.mkdir(exist_ok=True)
                    (top / "cgroup.subtree_control").write_text(enabled)
            top.mkdir(exist_ok=True)
        except OSError as error:
            names = ", ".join(sorted(hierarchy.controllers))
            self.notices.append(f"cgroups for {names} below {hierarchy.base} cannot be made: {error.strerror}.")
            return False
        return True

    def enclose(self, *, memory_bytes: int, vcpus: float = 0.0, read_only: bool = False) -> Enclosure:
        """Limits for one new instance; zero vcpus is no CPU limit.

        Raises:
            OSError: a cgroup or a folder could not be made.
        """
        self._number += 1
        self._sweep()
        enclosure = Enclosure(read_only and self.can_limit_disk)
        if self._scratch is not None:
            enclosure.scratch = self._scratch.make()
        for hierarchy in self.hierarchies:
            path = hierarchy.base / self._name / str(self._number)
            enclosure._groups.append(Group.make(hierarchy, path, memory_bytes, vcpus))  # noqa: SLF001
        return enclosure

    def release(self, enclosure: Enclosure, spare_pid: int) -> None:
        """End what is left in it, but for one process, and remove it; later, if it is not empty yet."""
        enclosure.kill_all(spare_pid)
        if enclosure.release():
            self._remove_scratch(enclosure)
        else:
            self._ending.append((enclosure, spare_pid))

    def _remove_scratch(self, enclosure: Enclosure) -> None:
        if self._scratch is not None and enclosure.scratch:
            self._scratch.remove(enclosure.scratch)

    def _sweep(self) -> None:
        for ending in self._ending[:]:
            enclosure, spare_pid = ending
            enclosure.kill_all(spare_pid)
            if enclosure.release():
                self._remove_scratch(enclosure)
                self._ending.remove(ending)

    def close(self) -> None:
        """Kill whatever is left in the cgroups made here and remove them, and the temporary folders."""
        for hierarchy in self.hierarchies:
            top = hierarchy.base / self._name
            if top.exists() and not remove_tree(hierarchy, top):
                self.notices.append(f"cgroup {top} could not be removed: a process in it does not end.")
        self.hierarchies = []
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None


def _text(given: str | None, name: str) -> str:
    if given is not None:
        return given
    path = Path("/proc/self", name)
    return path.read_text() if path.exists() else ""


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
