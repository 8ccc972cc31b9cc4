"""Whether a folder is on a disk of this machine, as far as the kernel tells.

SQLite's write-ahead log needs three things of a file system: locks that hold, memory mapped by several that shows the
same to all, and an fsync that returns when the data would survive. Over a network none can be relied upon ("How To
Corrupt An SQLite Database File", sections 2.1 and 3), nor with the shared folders of virtual machines and desktop
containers.
"""

from __future__ import annotations

import re
from pathlib import Path

from peaker.errors import QueueFileError

_NETWORK = frozenset((
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "lustre", "glusterfs", "beegfs", "gpfs",
    "ocfs2", "gfs2", "gfs", "pvfs2", "orangefs", "coda", "davfs", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "drvfs",
))  # fmt: skip
"""ocfs2 and gfs2 are disks, but shared ones, on which another machine may hold the file; 9p and drvfs are a Windows
disk seen from WSL; virtiofs, vboxsf, vmhgfs and prl_fs are folders of the machine around a virtual one."""

_LOCAL_FUSE = frozenset(("fuseblk", "fuse.fuse-overlayfs"))
"""A local NTFS disk, and the file system of a container without root; all else by FUSE is taken for a network."""

_MEMORY = frozenset(("tmpfs", "ramfs"))

MOUNTS = Path("/proc/self/mountinfo")


def file_system_of(folder: Path, mounts: str) -> str:
    """The type of the file system that holds `folder`, by the text of /proc/self/mountinfo; "" where it is not told.

    Of several mounts over one another the last is the one that is seen (proc_pid_mountinfo(5)).
    """
    found, longest = "", -1
    parts = folder.resolve().parts
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = Path(_unescaped(fields[4])).parts
        if parts[: len(point)] == point and len(point) >= longest:
            found, longest = after.split(" ", 1)[0], len(point)
    return found


def check_local(folder: Path, mounts: Path = MOUNTS) -> str:
    """The file system's type; raises QueueFileError where it is one on which a queue could be damaged or lost."""
    if not mounts.exists():  # no Linux: there is nobody to ask
        return ""
    kind = file_system_of(folder, mounts.read_text())
    if kind in _NETWORK or ((kind == "fuse" or kind.startswith("fuse.")) and kind not in _LOCAL_FUSE):
        raise QueueFileError(
            f"the event queue cannot be kept on a file system of type {kind}: its locks, its shared memory or its "
            "fsync are not those of a local disk.",
            where=str(folder),
            remedy="Put the state directory on a local disk (--state).",
        )
    return kind


def survives_power_loss(kind: str) -> bool:
    """Whether a file system of this type keeps anything without power."""
    return kind not in _MEMORY


def _unescaped(text: str) -> str:
    r"""Blanks stand as \040 in mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
