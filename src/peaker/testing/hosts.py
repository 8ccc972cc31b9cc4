"""A real function host on this machine, without a supervisor: what a test of functions needs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from peaker.control_socket import CommandRefused, Hello, wait_until_ready
from peaker.errors import PeakerError
from peaker.functions.credentials import load_or_create_key
from peaker.meter.function_usage import create_function_table
from peaker.settings import Settings
from peaker.state import StateDirectory
from peaker.wire.sigv4 import SigningKey

GENERATION = 1
_ANSWER_S_MAX = 5.0


class RunningHost:
    """A function host, ready when the `with` block begins, drained when it ends.

        with RunningHost(Settings(function=(FunctionSection(name="resize", handler="media:resize"),))) as host:
            boto3.client("lambda", endpoint_url=host.url, ...)

    `with_events` starts an events process beside it, which takes and runs events.

    As long as this process lives, the host takes it for its supervisor. A host that is still there `drain_s_max` and a
    few seconds after it was told to drain is killed.

    Raises:
        PeakerError: it did not start; the text is its own.
    """

    def __init__(self, settings: Settings, *, state: Path | None = None, with_events: bool = False) -> None:
        self.settings = settings
        self.state = StateDirectory(state or Path(tempfile.mkdtemp(prefix="peaker-host-")))
        self._owns_state = state is None
        self._with_events = with_events
        self._held: list[socket.socket] = []
        self.events_process: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> SigningKey:
        """What signs calls to `url`."""
        return load_or_create_key(self.state.credentials)

    def __enter__(self) -> Self:
        """Start it and wait until it serves."""
        self.state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state.settings_of(GENERATION).write_text(self.settings.to_json(), encoding="utf-8")
        create_function_table(self.state.function_usage).close()
        try:
            self.start()
            self.wait_until_ready()
            if self._with_events:
                # One after the other: who waits for the first is no supervisor to the second.
                self.start_events()
                self.wait_until_events_are_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain and clean up."""
        self.close()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process; its output goes to that of this one."""
        command = [*self._command("peaker.functions.host"), "--invoke-fd", str(self.listener.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[self.listener.fileno()], cwd=self.settings.directory)
        return self.process

    def start_events(self) -> subprocess.Popen[bytes]:
        """Start the events process."""
        self.events_process = subprocess.Popen(self._command("peaker.events.main"), cwd=self.settings.directory)
        return self.events_process

    def _command(self, module: str) -> list[str]:
        return [
            sys.executable, "-P", "-m", module, "--state", str(self.state.root), "--generation", str(GENERATION),
        ]  # fmt: skip

    def wait_until_ready(self, *, timeout_s: float = 60.0) -> Hello:
        """Until it serves; raises PeakerError with its own words where it fails."""
        assert self.process is not None
        path = self.state.control_socket("host")
        try:
            hello = asyncio.run(wait_until_ready(path, timeout_s=timeout_s))
        except CommandRefused as refused:
            self.process.wait(timeout_s)  # It ends by itself, with the exit code that says why.
            raise PeakerError(str(refused)) from refused
        self._hold(path)
        return hello

    def wait_until_events_are_ready(self, *, timeout_s: float = 60.0) -> None:
        """Until the events process takes events; raises ControlUnavailable or CommandRefused where it does not."""
        path = self.state.control_socket("events")
        asyncio.run(wait_until_ready(path, timeout_s=timeout_s))
        self._hold(path)

    def _hold(self, path: Path) -> None:
        """As a supervisor does: as long as it is connected, the process does not take itself for an orphan."""
        held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        held.connect(str(path))
        self._held.append(held)

    def let_go(self) -> None:
        """As a supervisor that has died: nobody is connected any more."""
        while self._held:
            self._held.pop().close()

    def events(self) -> dict[str, Any]:
        """What the events process tells: `counts` and `totals`."""
        return self._ask("events", "events")

    def hello(self) -> Hello:
        """What it tells about itself now."""
        return Hello.from_json(self._ask("host", "hello"))

    def _ask(self, process: str, command: str) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_S_MAX)
            connection.connect(str(self.state.control_socket(process)))
            connection.sendall(json.dumps({"command": command}).encode() + b"\n")
            with connection.makefile("r", encoding="utf-8") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
                return answer

    def function(self, name: str) -> dict[str, Any]:
        """The part of `hello` that is about one function."""
        functions: list[dict[str, Any]] = self.hello().details["functions"]
        return next(function for function in functions if function["name"] == name)

    def log_text(self) -> str:
        """The function log up to now; lines are written a twentieth of a second late."""
        path = self.state.logs / "functions.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def close(self) -> None:
        """Drain, kill what does not end, remove the state directory."""
        self.let_go()
        for process in (self.events_process, self.process):  # As a supervisor stops them: what runs may need the host.
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(self.settings.servers.drain_s_max + 10)
                except subprocess.TimeoutExpired:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
        self.listener.close()
        if self._owns_state:
            shutil.rmtree(self.state.sockets, ignore_errors=True)
            shutil.rmtree(self.state.root, ignore_errors=True)
