"""A disk of some megabytes, where root may mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Skips the test where nothing can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "peaker-test", folder]
        mounted = subprocess.run(mount, check=False, capture_output=True)
        if mounted.returncode:
            pytest.skip(f"no mount here: {mounted.stderr.decode(errors='replace').strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)
