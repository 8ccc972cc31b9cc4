"""Real workers on a loopback port, without a supervisor: what a test of an app, or of a worker, needs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from peaker.control_socket import CommandRefused, wait_until_ready
from peaker.errors import PeakerError
from peaker.gate.slots import create_slot_table, open_slot_table
from peaker.meter.route_usage import create_route_table
from peaker.meter.usage import Usage, create_usage_table, open_usage_table, read_usage
from peaker.settings import Settings
from peaker.state import StateDirectory

GENERATION = 1


class RunningWorkers:
    """`count` workers that share a listening socket, ready when the `with` block begins, drained when it ends.

        with RunningWorkers(Settings(app=AppSection(web="shop:app"))) as workers:
            httpx.get(workers.url + "/")

    A worker that is still there `drain_s_max` and a few seconds later is killed. As long as this process lives, the
    workers take it for their supervisor; with `supervised=False` they drain by themselves after `orphan_s_max`.

    Raises:
        PeakerError: a worker did not start; the text is its own.
    """

    def __init__(self, settings: Settings, *, count: int = 1, rows: int | None = None, supervised: bool = True) -> None:
        self.settings = settings
        self.count = count
        self.rows = rows or count
        self.supervised = supervised
        self._held: list[socket.socket] = []
        """One open control connection a worker, as a supervisor has."""
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.state = StateDirectory(Path(tempfile.mkdtemp(prefix="peaker-workers-")))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Make the state directory, start the workers, wait until they serve."""
        self.state.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_slot_table(self.state.slots, self.rows).close()
        create_usage_table(self.state.usage, self.rows).close()
        create_route_table(self.state.route_usage, self.rows).close()
        self.state.settings_of(GENERATION).write_text(self.settings.to_json(), encoding="utf-8")
        try:
            for row in range(self.count):
                self.start(row)
            for row in range(self.count):
                self.wait_until_ready(row)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain and clean up."""
        self.close()

    def start(self, row: int) -> subprocess.Popen[bytes]:
        """Start one worker; its output goes to that of this process."""
        command = [sys.executable, "-P", "-m", "peaker.servers.worker", "--state", str(self.state.root)]
        command += ["--generation", str(GENERATION), "--row", str(row), "--listen-fd", str(self.listener.fileno())]
        self.processes[row] = subprocess.Popen(
            command, cwd=self.settings.directory, pass_fds=[self.listener.fileno()], start_new_session=True
        )
        return self.processes[row]

    def wait_until_ready(self, row: int) -> None:
        """Return when the worker of this row serves; raises PeakerError with its own words where it does not."""
        limit_s = self.settings.servers.start_s_max
        path = self.state.control_socket(f"worker-{row}")
        try:
            # In a thread, so that it can be called where a loop runs already, as in asynchronous tests.
            with ThreadPoolExecutor(1) as waiting:
                waiting.submit(lambda: asyncio.run(wait_until_ready(path, timeout_s=limit_s))).result()
        except CommandRefused:
            self.processes[row].wait(limit_s)  # It has failed, and ends by itself.
            raise
        if self.supervised:
            held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._held.append(held)
            held.connect(str(path))

    def signal(self, row: int, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the worker of this row."""
        self.processes[row].send_signal(number)

    def wait_for_exit(self, row: int, timeout_s: float = 30.0) -> int:
        """Exit code of a worker that is ending."""
        return self.processes[row].wait(timeout_s)

    def usage(self) -> Usage:
        """Counters of all workers together."""
        table = open_usage_table(self.state.usage)
        try:
            return read_usage(table)
        finally:
            table.close()

    def slots(self, row: int) -> dict[str, int]:
        """A worker's row of the slot table."""
        table = open_slot_table(self.state.slots)
        try:
            return table.row(row)
        finally:
            table.close()

    def close(self) -> None:
        """Drain every worker, kill what does not end, remove the state directory."""
        self.listener.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        try:
            for process in self.processes.values():
                _reap(process, self.settings.servers.drain_s_max + 10)
        finally:
            for held in self._held:
                held.close()
            shutil.rmtree(self.state.root, ignore_errors=True)
            if not self.state.sockets.is_relative_to(self.state.root):
                shutil.rmtree(self.state.sockets, ignore_errors=True)


def _reap(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        # It leads a session of its own, so this reaches what the app started too.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise PeakerError(f"worker {process.pid} did not end within {timeout_s:g} s.") from None
