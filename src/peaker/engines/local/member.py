"""One process of the running app as its supervisor sees it: its role, its end, and what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peaker.clock import Clock
from peaker.control_socket import CommandRefused, ControlClient, ControlUnavailable, Hello, Status
from peaker.engines.local.child import Child
from peaker.engines.local.state_dir import ProcessRecord
from peaker.policy.supervision import Role

CONNECT_PAUSE_S = 0.02
HELLO_TIMEOUT_S = 10.0


class Member:
    """A process and the control connection to it, which is made again whenever it breaks while the process lives.

    `on_change` is called when the process ended, changed its status or could be reached.
    """

    def __init__(
        self,
        role: Role,
        name: str,
        child: Child,
        *,
        row: int | None,
        generation: int,
        started_epoch_s: float,
        clock: Clock,
    ) -> None:
        self.role = role
        self.name = name
        self.child = child
        self.row = row
        self.generation = generation
        self.started_epoch_s = started_epoch_s
        self.started_s = clock.now_s()
        self.ready_s: float | None = None
        self.status = Status.STARTING
        self.error = ""
        self.details: dict[str, Any] = {}
        self.is_connected = False
        self.is_draining = False
        self.has_failed = False
        self.kill_at_s: float | None = None
        self._clock = clock
        self._client: ControlClient | None = None
        self._link: asyncio.Task[None] | None = None
        self._commands: set[asyncio.Task[None]] = set()
        self._on_change: Callable[[], None] = lambda: None

    def watch(self, socket_path: Path, on_change: Callable[[], None]) -> None:
        """Begin to follow the process."""
        self._on_change = on_change
        self.child.watch(self._ended)
        self._link = asyncio.get_running_loop().create_task(self._stay_connected(socket_path))

    def drain(self, kill_at_s: float, **fields: Any) -> None:
        """Ask the process to finish what it has; it is killed if it is still there at `kill_at_s`.

        `fields` go with the command; a process that can only be sent a signal does not hear of them.
        """
        self.is_draining = True
        self.kill_at_s = kill_at_s
        if self._client is None:
            # It has not made its control socket yet, or is stuck: every process takes SIGTERM as `drain`.
            self.child.send(signal.SIGTERM)
            return
        task = asyncio.get_running_loop().create_task(self._ask_to_drain(self._client, fields))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    def record(self) -> ProcessRecord:
        """For run.json."""
        return ProcessRecord(
            name=self.name,
            kind=self.role.kind.value,
            pid=self.child.pid,
            started_ticks=self.child.started_ticks,
            server=self.role.server,
            index=self.role.index,
            row=self.row,
            generation=self.generation,
            started_epoch_s=self.started_epoch_s,
        )

    def forget(self) -> None:
        """Stop following; the process itself is left alone."""
        if self._link is not None:
            self._link.cancel()
        for task in self._commands:
            task.cancel()
        self._hang_up()

    async def _ask_to_drain(self, client: ControlClient, fields: dict[str, Any]) -> None:
        try:
            await client.command("drain", timeout_s=HELLO_TIMEOUT_S, **fields)
        except (ControlUnavailable, CommandRefused):
            self.child.send(signal.SIGTERM)

    async def _stay_connected(self, socket_path: Path) -> None:
        while not self.child.has_exited:
            lost = asyncio.Event()
            with contextlib.suppress(ControlUnavailable, CommandRefused):
                await self._connect(socket_path, lost)
                await lost.wait()
            self._hang_up()
            # While a process starts there is nothing to wait on: its socket appears when it has got that far.
            await asyncio.sleep(CONNECT_PAUSE_S if self.status is Status.STARTING else CONNECT_PAUSE_S * 10)

    async def _connect(self, socket_path: Path, lost: asyncio.Event) -> None:
        changes: list[Hello] = []
        client = await ControlClient.connect(
            socket_path, on_status=lambda hello: self._heard_change(hello, changes), on_lost=lost.set
        )
        try:
            hello = await client.hello(timeout_s=HELLO_TIMEOUT_S)
            self._require_own(hello)
        except BaseException:
            client.close()
            raise
        self._client = client
        self.is_connected = True
        # A change that came with the reply in one read was heard before this task woke: the reply is then the older.
        self._heard(changes[-1] if changes else hello)

    def _require_own(self, hello: Hello) -> None:
        if hello.pid != self.child.pid:
            raise ControlUnavailable(f"pid {hello.pid} answers where {self.child.pid} should.")

    def _heard_change(self, hello: Hello, changes: list[Hello]) -> None:
        changes[:] = [hello]
        self._heard(hello)

    def _heard(self, hello: Hello) -> None:
        self.status, self.error, self.details = hello.status, hello.error, hello.details
        if self.status is Status.READY and self.ready_s is None:
            self.ready_s = self._clock.now_s()
        self._on_change()

    def _ended(self) -> None:
        self.forget()
        self._on_change()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self.is_connected = False
