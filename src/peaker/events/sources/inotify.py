"""Told by the kernel what is written in a folder and below: which files are being written, and which are whole.

Source: inotify(7). Linux alone; where it is not there, or has no watch left to give, folders are looked through at
intervals, and a file counts as whole when it has stood still for a while.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_MODIFY, _CLOSE_WRITE = 0x2, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED, _IS_FOLDER = 0x4000, 0x8000, 0x40000000
_ONLY_FOLDER, _NO_LINKS = 0x1000000, 0x2000000
_WATCHED = _MODIFY | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLY_FOLDER | _NO_LINKS
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_HEAD = struct.Struct("iIII")
_READ_BYTES = 65_536


@dataclass(slots=True)
class Written:
    """Paths by what is known of them.

    `begun`: made, nothing written yet (or a hard link, which nobody will close); `writing`: somebody has it open and
    has written; `whole`: closed, or moved here.
    """

    begun: set[str] = field(default_factory=set[str])
    writing: set[str] = field(default_factory=set[str])
    whole: set[str] = field(default_factory=set[str])

    def now(self, path: str, known: set[str] | None) -> None:
        """What is known of a path is this from now on; None is nothing."""
        for one in (self.begun, self.writing, self.whole):
            one.discard(path)
        if known is not None:
            known.add(path)


class Inotify:
    """Watches a folder and all below; `on_change` is called whenever something may have changed there.

    Raises OSError where the kernel gives no (more) watches.
    """

    def __init__(self, root: Path, on_change: Callable[[], None]) -> None:
        if sys.platform != "linux":
            raise OSError("there is no inotify on this system")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._root = root
        self._on_change = on_change
        self._folders: dict[int, Path] = {}
        self.written = Written()
        self.is_blind = False
        """A folder below could not be watched: what happens there is only found by looking."""
        self.descriptor = self._libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        try:
            self.watch(root)
        except OSError:
            self.close()
            raise

    def watch(self, folder: Path) -> None:
        """Watch a folder and those below it; a folder that is gone meanwhile is left out."""
        found = self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _WATCHED)
        if found < 0:
            number = ctypes.get_errno()
            if number in (2, 20) and folder != self._root:  # ENOENT, ENOTDIR: it came and went
                return
            raise OSError(number, os.strerror(number), str(folder))
        self._folders[found] = folder
        with os.scandir(folder) as entries:
            below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for one in below:
            self.watch(one)

    def read(self) -> None:
        """Take what the kernel has to tell; to be called when the descriptor can be read."""
        for watch, mask, name in self._events():
            if mask & _IGNORED:
                self._folders.pop(watch, None)
            elif (folder := self._folders.get(watch)) is not None and name:
                self._take(folder / os.fsdecode(name), mask)
        self._on_change()

    def close(self) -> None:
        """Watch no more."""
        os.close(self.descriptor)

    def _take(self, path: Path, mask: int) -> None:
        if mask & _IS_FOLDER:
            if mask & (_CREATE | _MOVED_TO):
                try:
                    self.watch(path)
                except OSError:
                    self.is_blind = True
            return
        known = str(path.relative_to(self._root))
        written = self.written
        if mask & (_CLOSE_WRITE | _MOVED_TO):
            written.now(known, written.whole)
        elif mask & _MODIFY:
            written.now(known, written.writing)
        else:
            written.now(known, written.begun if mask & _CREATE else None)

    def _events(self) -> Iterator[tuple[int, int, bytes]]:
        while True:
            try:
                text = os.read(self.descriptor, _READ_BYTES)
            except BlockingIOError:
                return
            at = 0
            while at < len(text):
                watch, mask, _, length = _HEAD.unpack_from(text, at)
                if mask & _OVERFLOW:
                    # What is being written is not known any more: those files count when they stand still.
                    self.written = Written()
                yield watch, mask, text[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
                at += _HEAD.size + length
