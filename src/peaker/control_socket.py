"""The control socket of a process: one JSON object a line, each answered, and status changes sent unasked.

Protocol in docs/architecture.md. A command may carry an `id`, which its reply repeats; a line with `"event": "status"`
is no reply. A reply that hands over a socket carries `"descriptor": true` and the socket as SCM_RIGHTS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from peaker.errors import PeakerError
from peaker.json_line import JsonLine
from peaker.unix_socket import UnixListener

CONNECTIONS_MAX = 64
COMMANDS_IN_FLIGHT_MAX = 32

_logger = logging.getLogger("peaker.control_socket")


class ControlUnavailable(PeakerError):  # noqa: N818 - named for the outcome
    """The process does not answer on its control socket."""


class CommandRefused(PeakerError):  # noqa: N818
    """The process rejected the command."""


class Status(Enum):
    """The life of a process; it only moves to the right, or to FAILED from anywhere."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a process tells about itself; `details` is whatever more it sends."""

    process: str
    pid: int
    generation: int
    status: Status
    error: str = ""
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """As it stands on the wire."""
        return {
            "process": self.process,
            "pid": self.pid,
            "generation": self.generation,
            "status": self.status.value,
            "error": self.error,
            "details": self.details,
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Hello:
        """The reverse; raises ControlUnavailable where the other side speaks something else."""
        try:
            return cls(
                process=line["process"],
                pid=line["pid"],
                generation=line["generation"],
                status=Status(line["status"]),
                error=line.get("error", ""),
                details=line.get("details", {}),
            )
        except (KeyError, ValueError) as error:
            raise ControlUnavailable(f"not a hello: {str(line)[:200]}.") from error


@dataclass(frozen=True, slots=True)
class WithSocket:
    """A reply that hands over a duplicate of `handed`; the sender keeps its own."""

    handed: socket.socket
    fields: dict[str, Any] = field(default_factory=dict[str, Any])


Answer = dict[str, Any] | WithSocket
Command = Callable[[dict[str, Any]], Awaitable[Answer]]
"""Takes the command line, returns what the reply holds beside `ok`; a PeakerError becomes `ok: false` with its text."""


def _nothing() -> dict[str, Any]:
    return {}


class ControlServer:
    """Serves `commands` beside the built-in `hello`, and keeps the orphan timer.

    `on_orphaned` is called once each time no connection was open for `orphan_s_max` seconds, the start included;
    None switches that off. `details` is asked for each hello.
    """

    def __init__(
        self,
        path: Path,
        *,
        process: str,
        generation: int,
        commands: Mapping[str, Command],
        orphan_s_max: float | None = None,
        on_orphaned: Callable[[], None] | None = None,
        details: Callable[[], dict[str, Any]] = _nothing,
    ) -> None:
        self._process = process
        self._generation = generation
        self._commands = commands
        self._orphan_s_max = orphan_s_max
        self._on_orphaned = on_orphaned
        self._details = details
        self._status = Status.STARTING
        self._error = ""
        self._loop = asyncio.get_running_loop()
        self._lines: set[JsonLine] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._orphan_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._connected = asyncio.Event()
        self._listener = UnixListener(path)
        self._loop.add_reader(self._listener.socket, self._accept)
        self._watch_for_orphaning()

    @property
    def status(self) -> Status:
        """What hello says."""
        return self._status

    @property
    def connections(self) -> int:
        """Open control connections."""
        return len(self._lines)

    def set_status(self, status: Status, error: str = "") -> None:
        """Tell every connection."""
        self._status, self._error = status, error
        event = {"event": "status", **self.hello().to_json()}
        for line in tuple(self._lines):
            line.send(event)

    async def tell_failure(self, error: str, *, timeout_s: float = 2.0) -> None:
        """Become FAILED, and return when somebody has heard of it or `timeout_s` is over.

        A process that fails while starting does so before its supervisor has connected; ending at once would leave
        the reason untold.
        """
        self.set_status(Status.FAILED, error)
        if not self._lines:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._connected.wait()
            self.set_status(Status.FAILED, error)

    def hello(self) -> Hello:
        """As sent to whoever asks."""
        return Hello(
            process=self._process,
            pid=os.getpid(),
            generation=self._generation,
            status=self._status,
            error=self._error,
            details=self._details(),
        )

    def close(self) -> None:
        """Close everything; commands still running are cancelled."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._listener.socket)
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        for line in tuple(self._lines):
            line.close()
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            _logger.warning("a control connection was not accepted: %s", error, extra={"action": "accept"})
            return
        if len(self._lines) >= CONNECTIONS_MAX:
            connection.close()
            return
        line = JsonLine(connection, self._loop, self._received, self._lost)
        self._lines.add(line)
        self._connected.set()
        self._watch_for_orphaning()

    def _received(self, line: JsonLine, message: dict[str, Any], _: socket.socket | None) -> None:
        if len(self._tasks) >= COMMANDS_IN_FLIGHT_MAX:
            line.send({"ok": False, "error": "too many commands at once.", "id": message.get("id")})
            return
        task = self._loop.create_task(self._answer(line, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, line: JsonLine, message: dict[str, Any]) -> None:
        name = message.get("command")
        identity = {"id": message["id"]} if "id" in message else {}
        try:
            answer: Answer
            if name == "hello":
                answer = self.hello().to_json()
            elif isinstance(name, str) and name in self._commands:
                answer = await self._commands[name](message)
            else:
                known = ", ".join(sorted({"hello", *self._commands}))
                raise CommandRefused(f"unknown command {name!r}; known: {known}.")  # noqa: TRY301 - one place answers
        except PeakerError as error:
            answer = {"ok": False, "error": str(error)}
        except Exception as error:
            _logger.exception("the command %r failed", name, extra={"action": "command"})
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        if isinstance(answer, WithSocket):
            line.send({"ok": True, **answer.fields, "descriptor": True, **identity}, answer.handed)
        else:
            line.send({"ok": True, **answer, **identity})

    def _lost(self, line: JsonLine) -> None:
        self._lines.discard(line)
        if not self._closed:
            self._watch_for_orphaning()

    def _watch_for_orphaning(self) -> None:
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
            self._orphan_timer = None
        if not self._lines and self._on_orphaned is not None and self._orphan_s_max is not None:
            self._orphan_timer = self._loop.call_later(self._orphan_s_max, self._orphan_time_is_over)

    def _orphan_time_is_over(self) -> None:
        # A loop that was busy for long (an import) may run its timers before it looks at its sockets.
        self._accept()
        if not self._lines and self._on_orphaned is not None:
            self._on_orphaned()


class ControlClient:
    """The other end: `command` asks, `on_status` hears of status changes, `on_lost` of the end of the connection."""

    def __init__(
        self,
        connection: socket.socket,
        *,
        on_status: Callable[[Hello], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._on_status = on_status
        self._on_lost = on_lost
        self._next_id = 0
        self._asked: dict[int, asyncio.Future[tuple[dict[str, Any], socket.socket | None]]] = {}
        self.is_lost = False
        self._line = JsonLine(connection, asyncio.get_running_loop(), self._received, self._lost)

    @classmethod
    async def connect(
        cls,
        path: Path,
        *,
        timeout_s: float = 5.0,
        on_status: Callable[[Hello], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> ControlClient:
        """Connect once; raises ControlUnavailable where nobody listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(connection, str(path))
        except OSError as error:  # TimeoutError is one.
            connection.close()
            reason = error.strerror or "no answer in time"
            raise ControlUnavailable(f"the control socket cannot be reached: {reason}.", where=str(path)) from error
        except asyncio.CancelledError:
            connection.close()
            raise
        return cls(connection, on_status=on_status, on_lost=on_lost)

    async def hello(self, *, timeout_s: float = 5.0) -> Hello:
        """Who is there."""
        return Hello.from_json(await self.command("hello", timeout_s=timeout_s))

    async def command(self, name: str, *, timeout_s: float = 30.0, **fields: Any) -> dict[str, Any]:
        """Send one command and return its reply.

        Raises:
            CommandRefused: the reply says `ok: false`.
            ControlUnavailable: no reply within `timeout_s`, or the connection ended.
        """
        reply, handed = await self._ask(name, timeout_s, fields)
        if handed is not None:
            handed.close()
        return reply

    async def receive_socket(self, name: str = "listener", *, timeout_s: float = 30.0, **fields: Any) -> socket.socket:
        """Send a command whose reply hands over a socket, and return that; errors as `command`."""
        _, handed = await self._ask(name, timeout_s, fields)
        if handed is None:
            raise CommandRefused(f"the reply to {name!r} held no socket.")
        return handed

    def close(self) -> None:
        """Hang up; `on_lost` is not called for that."""
        self._on_lost = None
        self._line.close()

    async def _ask(
        self, name: str, timeout_s: float, fields: dict[str, Any]
    ) -> tuple[dict[str, Any], socket.socket | None]:
        if self.is_lost:
            raise ControlUnavailable("the control connection has ended.")
        self._next_id += 1
        identity = self._next_id
        asked = asyncio.get_running_loop().create_future()
        self._asked[identity] = asked
        try:
            self._line.send({"command": name, "id": identity, **fields})
            async with asyncio.timeout(timeout_s):
                reply, handed = await asked
        except TimeoutError:
            raise ControlUnavailable(f"no reply to {name!r} within {timeout_s:g} s.") from None
        finally:
            self._asked.pop(identity, None)
        if not reply.get("ok", False):
            raise CommandRefused(str(reply.get("error", "the command was refused.")))
        return reply, handed

    def _received(self, _: JsonLine, message: dict[str, Any], handed: socket.socket | None) -> None:
        if message.get("event") == "status":
            if self._on_status is not None:
                self._on_status(Hello.from_json(message))
            return
        asked = self._asked.get(message.get("id", -1))
        if asked is not None and not asked.done():
            asked.set_result((message, handed))
        elif handed is not None:
            handed.close()  # Whoever asked has given up.

    def _lost(self, _: JsonLine) -> None:
        self.is_lost = True
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ControlUnavailable("the control connection ended before the reply."))
        if self._on_lost is not None:
            self._on_lost()


async def wait_until_ready(path: Path, *, timeout_s: float) -> Hello:
    """Wait for a process to say it is ready.

    Raises:
        CommandRefused: it failed or drains instead; the text is its own.
        ControlUnavailable: not ready within `timeout_s`.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while True:
        with contextlib.suppress(ControlUnavailable):
            return await _ready_hello(path, deadline_s)
        if loop.time() >= deadline_s:
            raise ControlUnavailable(f"not ready within {timeout_s:g} s.", where=str(path))
        await asyncio.sleep(0.01)  # The process has not made its socket yet; nothing else can be waited on.


async def _ready_hello(path: Path, deadline_s: float) -> Hello:
    loop = asyncio.get_running_loop()
    seen: asyncio.Queue[Hello | None] = asyncio.Queue()
    client = await ControlClient.connect(path, on_status=seen.put_nowait, on_lost=lambda: seen.put_nowait(None))
    try:
        hello: Hello | None = await _hello_or_last_words(client, seen, timeout_s=max(0.01, deadline_s - loop.time()))
        while hello is not None and hello.status is Status.STARTING:
            async with asyncio.timeout_at(deadline_s):
                hello = await seen.get()
    except TimeoutError:
        raise ControlUnavailable("still starting.", where=str(path)) from None
    finally:
        client.close()
    if hello is None:
        raise ControlUnavailable("the process ended while starting.", where=str(path))
    if hello.status is not Status.READY:
        raise CommandRefused(f"{hello.process} is {hello.status.value}. {hello.error}".strip(), where=str(path))
    return hello


async def _hello_or_last_words(client: ControlClient, seen: asyncio.Queue[Hello | None], *, timeout_s: float) -> Hello:
    """The reply to hello; where the process ended before it replied, the status it had pushed just before."""
    try:
        return await client.hello(timeout_s=timeout_s)
    except ControlUnavailable:
        last = None if seen.empty() else seen.get_nowait()
        if last is None:
            raise
        return last
