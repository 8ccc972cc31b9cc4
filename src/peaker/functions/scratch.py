"""Folders for instances' temporary files: one each, gone when the instance is.

They stand below the state directory, on a disk: pages of a tmpfs would count against the instance's memory.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path


class ScratchFolders:
    """One host's folders, below `root`, which hosts of an app share.

    A host's own folder is locked (flock) as long as it lives, by which the next host knows what a dead one left and
    removes it.

    Raises:
        OSError: they cannot be made there.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        self._own = root / secrets.token_hex(8)
        self._number = 0
        self._remover: ThreadPoolExecutor | None = None
        with _locked(root):
            self._sweep()
            self._own.mkdir(mode=0o700)
            self._lock = _open_folder(self._own)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _sweep(self) -> None:
        """Remove what belongs to no living host."""
        for left in self._root.iterdir():
            descriptor = _open_folder(left)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its host lives
            finally:
                os.close(descriptor)
            # An instance that has not ended yet may still write to it; then the next host comes by again.
            shutil.rmtree(left, ignore_errors=True)

    def make(self) -> str:
        """A new empty folder.

        Raises:
            OSError: the disk is full, or not to be written.
        """
        self._number += 1
        path = self._own / str(self._number)
        path.mkdir(mode=0o700)
        return str(path)

    def remove(self, path: str) -> None:
        """Remove a folder whose instance has ended; one with files in it by a thread, for it may be large."""
        try:
            os.rmdir(path)  # noqa: PTH106 - strings travel to instances
        except OSError:  # not empty, as a rule; of anything else nothing worse comes than that it stays until the end
            if self._remover is None:
                self._remover = ThreadPoolExecutor(1, thread_name_prefix="scratch")
            self._remover.submit(shutil.rmtree, path, ignore_errors=True)

    def close(self) -> None:
        """Remove all of this host's."""
        if self._remover is not None:
            self._remover.shutdown(cancel_futures=True)
        shutil.rmtree(self._own, ignore_errors=True)
        os.close(self._lock)


def _open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = _open_folder(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
