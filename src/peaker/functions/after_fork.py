"""The first thing a forked copy does: stop being a copy of the zygote."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Iterable
from typing import Any

from peaker.functions import kernel, private_tmp

WRITABLE_PATHS = ("/tmp", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom")  # noqa: S108
"""What stays writable where the disk is read-only: Lambda's /tmp, and devices that keep nothing."""


def take_over(
    order: dict[str, Any],
    log_fd: int | None,
    join_fds: Iterable[int],
    close_fds: Iterable[int],
    *,
    kept_in_tmp: Iterable[str] | None = None,
) -> None:
    """Become a process of its own: session, cgroups, output, limits and environment; runs nothing of the user's.

    Args:
        order: `name`, and where they apply `scratch`, `descriptors_max`, `address_space_bytes`, `read_only`,
            `dies_with_parent`.
        log_fd: becomes standard output and error; None leaves them.
        join_fds: `cgroup.procs` files, open for writing.
        close_fds: what belongs to the zygote.
        kept_in_tmp: what stays in a /tmp of its own; None where it is not to have one.

    Raises:
        OSError: the kernel refused one of them.
    """
    os.setsid()
    for fd in join_fds:
        os.write(fd, b"0")
        os.close(fd)
    if log_fd is not None:
        os.dup2(log_fd, 1)
        os.dup2(log_fd, 2)
        os.close(log_fd)
    for fd in close_fds:
        os.close(fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if order.get("dies_with_parent"):
        kernel.die_with_parent(signal.SIGKILL)
    if size := order.get("address_space_bytes"):
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    if descriptors_max := order.get("descriptors_max"):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = descriptors_max if most == resource.RLIM_INFINITY else min(descriptors_max, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    scratch = order.get("scratch", "")
    if scratch and kept_in_tmp is not None:
        private_tmp.mount(scratch, kept_in_tmp)
    elif scratch:
        private_tmp.redirect(scratch)
    if order.get("read_only"):
        kernel.make_disk_read_only((*WRITABLE_PATHS, scratch) if scratch else WRITABLE_PATHS)
    os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] = order["name"]


def begin() -> None:
    """Let the user's code go on: with chance of its own, collections, and the hooks it has for this moment."""
    _reseed()
    gc.enable()
    _run_after_restore_hooks()


def _reseed() -> None:
    """Give this copy chance of its own. The `random` module does this by itself after every fork."""
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()


def _run_after_restore_hooks() -> None:
    """The hooks of AWS's snapshot-restore-py, as Lambda SnapStart runs them after a restore."""
    if "snapshot_restore_py" in sys.modules:
        for function, arguments, named in sys.modules["snapshot_restore_py"].get_after_restore():
            function(*arguments, **named)


def flush() -> None:
    """Write out what was printed; the process ends without the interpreter's own shutdown."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed by the user's code, or nobody reads it any more
            continue
