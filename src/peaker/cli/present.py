"""The only file that prints: results on standard output, talk on standard error."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peaker.errors import PeakerError


def out(text: str) -> None:
    """A result, for a person."""
    print(text, flush=True)  # noqa: T201


def data(value: Any) -> None:
    """A result, for a program: one JSON line."""
    print(json.dumps(value), flush=True)  # noqa: T201


def say(text: str) -> None:
    """Talk beside the result."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def error(failure: PeakerError) -> None:
    """One sentence: where, what, and what to do."""
    say(f"peaker: {failure}")


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Columns as wide as their widest cell; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(indent + line for line in lines)


def milliseconds(value: float | None) -> str:
    """`12.3 ms`, or a dash where there is none yet."""
    return "-" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"


@contextmanager
def reading_bar() -> Iterator[Callable[[int, int | None], None]]:
    """A bar on standard error while something is read, if a person is there to see it; gives what moves it."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def work_bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for steps of work, if a person is there to see it; gives what is told of each step."""
    if not sys.stderr.isatty():
        yield lambda _step, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda step, done, total: progress.update(task, description=step, completed=done, total=total)


def log_to_stderr() -> None:
    """Sentences of the program's own log beside the talk."""
    logging.basicConfig(format="peaker: %(message)s", level=logging.INFO, stream=sys.stderr)


def lose_output() -> None:
    """Whoever read standard output is gone; keep the interpreter from saying so at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def lose_terminal() -> None:
    """The terminal is gone: what would be shown there goes nowhere, instead of failing."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        # Files and pipes stay as they are; a terminal is still a character device when it has hung up.
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)
