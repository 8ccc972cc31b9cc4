"""Compile a function with numba, and keep the machine code where a read-only installation is no obstacle."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from peaker.policy import admission

Function = TypeVar("Function", bound=Callable[..., object])

KEPT_MAX = 4
"""Machine code of this many versions of the sources is kept."""


def compiled(function: Function) -> Function:
    """The function as machine code, compiled at its first call or read from the cache.

    Without numba, which the extra peaker[plan] brings, it is the function itself.
    """
    numba = _numba()
    if numba is None:
        return function
    directory = cache_directory()
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(directory or "")
    try:
        fast: Function = numba.njit(cache=directory is not None, forceinline=True)(function)
    finally:
        numba.config.CACHE_DIR = before
    return fast


@lru_cache(maxsize=1)
def _numba() -> Any:
    try:
        return importlib.import_module("numba")
    except ImportError:
        return None


@lru_cache(maxsize=1)
def cache_directory() -> Path | None:
    """Where machine code is kept, None where nothing can be written: then each process compiles for itself.

    It is named by a digest of the sources that are compiled into each other, since numba looks only at the file of the
    outermost function and would go on with an old `policy.admission` inside of it.
    """
    digest = hashlib.sha256()
    for path in (Path(admission.__file__), *sorted(Path(__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "peaker" / "compiled"
        directory = home / digest.hexdigest()[:16]
        directory.mkdir(parents=True, exist_ok=True)
        os.utime(directory)
        for old in sorted(home.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT_MAX]:
            shutil.rmtree(old, ignore_errors=True)  # Another process may be removing it too.
    except (OSError, RuntimeError):  # Nowhere to write, or no home at all.
        return None
    return directory if os.access(directory, os.W_OK) else None
