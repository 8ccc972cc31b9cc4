"""Which pages a forked copy writes to before it has answered once, and how to have them copied ahead.

A copy shares its pages with the zygote until it writes to them, and reference counts make it write to hundreds: a page
fault each. The pages are nearly the same for every copy, so those of the trial instance are noted (record and
prefetch, as REAP does for virtual machines: Ustiugov et al., "Benchmarking, Analysis, and Optimization of Serverless
Function Snapshots", ASPLOS 2021) and a copy that has time to spare takes them at once.
"""

from __future__ import annotations

import array
from pathlib import Path

from peaker.functions import kernel

_PAGE_BYTES = 4096
_PRESENT, _SHARED_OR_FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
"""Bits of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst)."""

Ranges = list[tuple[int, int]]
"""Address and length in bytes, page by page or longer."""


def written_by(pid: int) -> Ranges:
    """Memory of this process that its forked child `pid` has a copy of its own of; nothing where /proc does not say."""
    try:
        with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
            found: Ranges = []
            for start, end in _private_mappings():
                pagemap.seek(start // _PAGE_BYTES * 8)
                entries = array.array("Q", pagemap.read((end - start) // _PAGE_BYTES * 8))
                _add(found, start, entries)
            return found
    except OSError:  # no /proc, no right to look, or the child has ended: copies will then fault page by page
        return []


def copy_ahead(ranges: Ranges) -> None:
    """Take copies of these pages now."""
    for start, length in ranges:
        kernel.populate_writable(start, length)


def _private_mappings() -> Ranges:
    """Start and end of all that this process may write to and shares with nobody; not its stack, which moves."""
    found = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        addresses, access, *_ = line.split(maxsplit=2)
        if access == "rw-p" and not line.endswith("[stack]"):
            start, _, end = addresses.partition("-")
            found.append((int(start, 16), int(end, 16)))
    return found


def _add(found: Ranges, start: int, entries: array.array[int]) -> None:
    for number, entry in enumerate(entries):
        if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _SHARED_OR_FILE:
            address = start + number * _PAGE_BYTES
            if found and sum(found[-1]) == address:
                found[-1] = (found[-1][0], found[-1][1] + _PAGE_BYTES)
            else:
                found.append((address, _PAGE_BYTES))
