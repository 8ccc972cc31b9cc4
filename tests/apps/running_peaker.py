"""`peaker run` as a user starts it, with its own processes, until the block ends."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

START_S_MAX = 60.0
STOP_S_MAX = 40.0
APPS = Path(__file__).parent


@dataclass
class RunningPeaker:
    """A started app: where it serves, and what it has said so far."""

    host: str
    port: int
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)


@contextmanager
def running_peaker(directory: Path, settings: str) -> Iterator[RunningPeaker]:
    """Write `settings` as peaker.toml, run it, wait until it serves, and stop it by SIGTERM.

    The apps beside this file can be imported by name.
    """
    config = directory / "peaker.toml"
    config.write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "peaker", "run", "--config", str(config), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(APPS)},
    )
    assert process.stderr is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    said: list[str] = []
    reader = threading.Thread(target=_read, args=(process.stderr, lines, said))
    reader.start()
    try:
        host, port = _address(lines, said)
        yield RunningPeaker(host, port, process, said)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            reader.join(STOP_S_MAX)
            process.stderr.close()
    assert process.returncode == 0, "\n".join(said)


def _read(stream: IO[str], lines: queue.SimpleQueue[str], said: list[str]) -> None:
    for line in stream:
        said.append(line.rstrip("\n"))
        lines.put(line)
    lines.put("")


def _address(lines: queue.SimpleQueue[str], said: list[str]) -> tuple[str, int]:
    """The address in the line that says it serves."""
    deadline_s = time.monotonic() + START_S_MAX
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            line = ""
        if found := re.search(r"serving http://([\w.]+):(\d+)", line):
            return found[1], int(found[2])
        assert line, "peaker run did not come to serve:\n" + "\n".join(said)
