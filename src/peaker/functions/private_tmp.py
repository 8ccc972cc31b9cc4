"""A /tmp of an instance's own, as on Lambda: its scratch folder, mounted over /tmp where only the instance sees it.

What the instance needs of the machine's own /tmp (code that lies below it, a virtual environment) stays where it was.
Where the kernel does not allow mounts, `TMPDIR` leads to the scratch folder instead, as it does with `like = "local"`:
there an app may have its database's socket in /tmp.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from peaker.functions import kernel

TMP = "/tmp"  # noqa: S108 - the folder this is about

_PATH_LISTS = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
_PATHS = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")


def why_impossible(kept: Iterable[str]) -> str:
    """Try it in a child of this process; "" where it works, else the reason."""
    if TMP in kept:
        return f"the code stands in {TMP} itself"
    pid = os.fork()
    if pid == 0:
        number = 255
        try:
            kernel.enter_own_mounts()
            number = 0
        except OSError as error:
            number = error.errno or number
        finally:
            os._exit(number)
    _, status = os.waitpid(pid, 0)
    number = os.waitstatus_to_exitcode(status)
    return f"no mounts of its own here ({os.strerror(number)})" if number else ""


def paths_to_keep(directory: str) -> list[str]:
    """What lies below /tmp of all that this process and its programs load code or settings from, outermost only."""
    named = [directory, sys.prefix, sys.base_prefix, sys.executable, str(Path(__file__).parents[2]), *sys.path]
    named += [part for name in _PATH_LISTS for part in os.environ.get(name, "").split(":")]
    named += [os.environ[name] for name in _PATHS if name in os.environ]
    # A link elsewhere may lead there.
    real = {os.path.realpath(path) for path in named if path} | {path for path in named if path.startswith(TMP)}
    found: list[str] = []
    for path in sorted(path.rstrip("/") for path in real if os.path.exists(path)):  # noqa: PTH110 - thousands of forks
        if (path == TMP or path.startswith(f"{TMP}/")) and not any(path.startswith(f"{above}/") for above in found):
            found.append(path)
    return found


def mount(scratch: str, kept: Iterable[str]) -> None:
    """Have `scratch` be /tmp for this process and its children from now on, with what is kept in its place.

    Raises:
        OSError: the kernel refused.
    """
    kernel.enter_own_mounts()
    for path in kept:
        target = Path(scratch + path.removeprefix(TMP))
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.isdir(path):  # noqa: PTH112 - as above
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        kernel.bind(path, str(target))
    # With the mounts made below it just now.
    kernel.bind(scratch, TMP, with_all_below=True)


def redirect(scratch: str) -> None:
    """Have programs and Python's `tempfile` that ask for the temporary folder use `scratch`."""
    before = os.environ.get("TMPDIR", TMP)
    os.environ["TMPDIR"] = scratch
    if tempfile.tempdir in (before, TMP):
        tempfile.tempdir = scratch  # what the zygote has found for all its copies
