"""`peaker run` as a process of its own, for tests of whole apps."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from peaker.clock import SystemClock
from peaker.control_socket import ControlClient, wait_until_ready
from peaker.engines.local.report import report
from peaker.engines.local.state_dir import LockedState, read_run, started_ticks
from peaker.errors import PeakerError
from peaker.state import StateDirectory

READY_S_MAX = 60.0
STOP_S_MAX = 60.0


class PeakerRun:
    """One `peaker run` in a project directory; leaving the `with` block stops it and whatever it left behind.

    Its output goes to the files run.out and run.err of the directory: a pipe would be held open by processes that
    outlive a killed supervisor.
    """

    def __init__(self, directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.state = StateDirectory(directory / ".peaker")
        self._arguments = arguments
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def with_settings(cls, directory: Path, settings: str, *, environment: dict[str, str] | None = None) -> Self:
        """The same with `settings` written as its peaker.toml, on a free port."""
        (directory / "peaker.toml").write_text(settings, encoding="utf-8")
        return cls(directory, "--listen", "127.0.0.1:0", environment=environment)

    def __enter__(self) -> Self:
        """Start it and wait until everything is ready."""
        self.start()
        self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything; raises PeakerError where a stop in order was no success."""
        self.stop()

    @property
    def supervisor_pid(self) -> int:
        """Of the process started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def app_url(self) -> str:
        """Where the app is served; raises PeakerError before it is known."""
        run = read_run(self.state)
        if run is None:
            raise PeakerError("the app has not been started.", where=str(self.directory))
        return run.app_url

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where the app is served; raises as `app_url`."""
        host, _, port = self.app_url.removeprefix("http://").rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def errors(self) -> str:
        """What it has said on standard error so far."""
        return (self.directory / "run.err").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start (or, after the supervisor was killed, take over) without waiting."""
        with (self.directory / "run.out").open("ab") as out, (self.directory / "run.err").open("ab") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "peaker", "run", *self._arguments],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def wait_ready(self, timeout_s: float = READY_S_MAX) -> None:
        """Wait until every process is ready.

        Raises:
            PeakerError: it ended instead, or was not ready in time; with what it said on standard error.
        """

        def is_ready() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise PeakerError(f"peaker run exited with {self._process.returncode}: {self.errors}")
            run = read_run(self.state)
            return run is not None and run.supervisor_pid == self._process.pid

        until(is_ready, timeout_s)
        self.wait_settled(timeout_s)

    def wait_settled(self, timeout_s: float = READY_S_MAX) -> None:
        """Wait until the supervisor has filled every role; raises PeakerError where it does not."""
        asyncio.run(_settled(self.state.supervisor_socket, timeout_s))

    def settle(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = READY_S_MAX) -> dict[str, Any]:
        """Wait until the status fulfils `condition`, and return it."""
        found: dict[str, Any] = {}

        def holds() -> bool:
            found.clear()
            found.update(self.status())
            return condition(found)

        until(holds, timeout_s)
        return found

    def status(self) -> dict[str, Any]:
        """As `peaker status --json`."""
        return asyncio.run(report(self.state, SystemClock()))

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run another `peaker` command in the same directory."""
        return subprocess.run(
            [sys.executable, "-m", "peaker", *arguments],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def command_json(self, *arguments: str) -> Any:
        """The result of a command with --json; raises PeakerError where it fails."""
        done = self.command(*arguments, "--json")
        if done.returncode:
            raise PeakerError(f"peaker {' '.join(arguments)} exited with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def pids(self) -> dict[str, int]:
        """Pids of the supervised processes by name."""
        run = read_run(self.state)
        return {process.name: process.pid for process in run.processes} if run is not None else {}

    def send(self, number: signal.Signals) -> None:
        """A signal for the supervisor."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout_s: float = STOP_S_MAX) -> int:
        """Wait for the supervisor's end and return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        """Stop the supervisor and, should it be dead, what it left; everything is gone afterwards.

        Raises:
            PeakerError: it ended with another exit code than 0 when it was stopped.
        """
        was_running = self._process is not None and self._process.poll() is None
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        from peaker.engines.local.stop import stop_orphans

        if self.state.root.exists():
            locked = LockedState(self.state.root)
            try:
                asyncio.run(stop_orphans(locked, SystemClock()))
            finally:
                locked.close()
        if was_running and self._process is not None and self._process.returncode:
            raise PeakerError(f"peaker run ended with {self._process.returncode}: {self.errors}")


async def _settled(path: Path, timeout_s: float) -> None:
    await wait_until_ready(path, timeout_s=timeout_s)
    client = await ControlClient.connect(path)
    try:
        await client.command("settled", timeout_s=timeout_s)
    finally:
        client.close()


def until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Look again every 10 ms until `condition` holds; raises TimeoutError after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """The process runs: it is there and no zombie."""
    return started_ticks(pid) is not None
