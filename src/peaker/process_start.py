"""What each long-lived process of ours begins with: an event loop, room for descriptors, a log that a person reads."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Uvloop where it is installed, as it is on Linux, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def allow_descriptors(wanted: int) -> int:
    """Raise the limit of open files to `wanted`, as far as the hard limit lets; returns the limit that holds now.

    The usual soft limit of 1,024 is there for `select` alone, which nothing of ours uses.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def log_to_stderr(name: str, *, also_warnings_of: tuple[str, ...] = ()) -> None:
    """Peaker's own loggers to standard error, after `peaker NAME:`; the root logger is the app's to set up."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"peaker {name}: %(message)s"))
    levels = {"peaker": logging.INFO} | dict.fromkeys(also_warnings_of, logging.WARNING)
    for logger_name, level in levels.items():
        logger = logging.getLogger(logger_name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
