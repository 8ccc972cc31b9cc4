"""Calls to the Linux kernel that the standard library does not have: prctl, Landlock, mounts.

Constants are those of `linux/prctl.h`, `linux/landlock.h`, `linux/sched.h` and `linux/mount.h`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_SYS_LANDLOCK_CREATE_RULESET = 444
_SYS_LANDLOCK_ADD_RULE = 445
_SYS_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1

_WRITE_FILE = 1 << 1
_ALL_WRITES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Write to a file, remove and make every kind of entry; bits 4 (REMOVE_DIR) to 12 (MAKE_SYM)."""
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_FILE_WRITES = _WRITE_FILE | _TRUNCATE

_MADV_POPULATE_WRITE = 23

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneathAttributes(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that it can wait for them; no effect but on Linux."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal_number: int) -> None:
    """Get this signal when the parent's thread that started this process ends; no effect but on Linux."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal_number)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        _raise_errno(f"prctl({option})")


def populate_writable(start: int, length: int) -> None:
    """Have these pages ready for writing, copied if they are shared; only a hint, which Linux before 5.14 ignores."""
    _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_POPULATE_WRITE)


def enter_own_mounts() -> None:
    """Go on in a mount namespace of one's own: what is mounted from now on is seen by this process and its children.

    Where that needs root's rights, a user namespace in which the user stays who they are gives them.

    Raises:
        OSError: the kernel allows neither.
    """
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(ctypes.c_int(_CLONE_NEWNS)) != 0:
        if _libc.unshare(ctypes.c_int(_CLONE_NEWNS | _CLONE_NEWUSER)) != 0:
            _raise_errno("unshare")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - runs in a fresh fork
                file.write(text)
    # Otherwise mounts would be seen outside where / is shared, as systemd has it.
    _mount(None, "/", _MS_REC | _MS_PRIVATE)


def bind(source: str, target: str, *, with_all_below: bool = False) -> None:
    """Have `source` be seen at `target` too; to be called after `enter_own_mounts`.

    Raises:
        OSError: the kernel refused.
    """
    _mount(source, target, _MS_BIND | (_MS_REC if with_all_below else 0))


def _mount(source: str | None, target: str, flags: int) -> None:
    name = os.fsencode(source) if source is not None else None
    if _libc.mount(name, os.fsencode(target), None, ctypes.c_ulong(flags), None) != 0:
        _raise_errno(f"mount({target})")


def landlock_version() -> int:
    """The Landlock ABI of this kernel, 0 where there is none (absent, not enabled, or not Linux)."""
    if sys.platform != "linux":
        return 0
    found = _libc.syscall(
        ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET),
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint32(_LANDLOCK_CREATE_RULESET_VERSION),
    )
    return max(0, int(found))


def make_disk_read_only(writable: Iterable[str]) -> None:
    """Forbid this process and its children, for good, to change files but below these paths and those already open.

    Raises:
        OSError: the kernel refused.
    """
    version = landlock_version()
    handled = _ALL_WRITES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = _RulesetAttributes(handled)
    ruleset = _libc.syscall(
        ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
        ctypes.c_uint32(0),
    )
    if ruleset < 0:
        _raise_errno("landlock_create_ruleset")
    try:
        for path in writable:
            _allow_writes_beneath(ruleset, path, handled)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        if _libc.syscall(ctypes.c_long(_SYS_LANDLOCK_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
            _raise_errno("landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow_writes_beneath(ruleset: int, path: str, handled: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # a device this machine does not have needs no permission
    try:
        # A rule on a file may only carry the rights that make sense for a file.
        allowed = handled if os.path.isdir(path) else handled & _FILE_WRITES  # noqa: PTH112 - runs in a fresh fork
        rule = _PathBeneathAttributes(allowed, descriptor)
        added = _libc.syscall(
            ctypes.c_long(_SYS_LANDLOCK_ADD_RULE),
            ctypes.c_int(ruleset),
            ctypes.c_int(_LANDLOCK_RULE_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
        if added != 0:
            _raise_errno("landlock_add_rule")
    finally:
        os.close(descriptor)


def _raise_errno(call: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}")
