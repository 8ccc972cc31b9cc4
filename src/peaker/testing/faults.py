"""Fault injection: kill a process of a running app, and know which requests that may have cost.

The promise is that only requests inside a killed process fail. To test it, a client that never tries again records
every answer and every failure (`Checker`), the app notes which process began which request, and `kill` notes which
connections the process held. `unexplained` is what remains.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from peaker.testing.running import until

_STOP_S_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request: its answer (`status` is 0 without one) or what went wrong, and the client's port it went out on."""

    request_id: str
    client_port: int
    sent_s: float
    ended_s: float
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    failure: str = ""

    @property
    def is_failed(self) -> bool:
        """No whole answer, or an answer that blames the server."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A process that was killed, when, and when it was gone (monotonic seconds), and whose connections it had.

    Clients are known by their ports.
    """

    pid: int
    killed_s: float
    gone_s: float
    client_ports: frozenset[int]


def kill(pid: int) -> Killed:
    """SIGKILL, with the process stopped for a moment before, so that what it holds is known exactly.

    Connections that wait in the listening socket's queue are nobody's yet and not counted: a sibling takes them. It
    returns when the kernel has closed what the process had open, which takes some milliseconds: until then others still
    send to it. Raises ValueError for what is no process: signals to 0 or -1 would reach the caller's own group, or all.
    """
    if pid <= 1:
        raise ValueError(f"pid = {pid} is not a process to kill")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: _state(pid) in "TtZX", _STOP_S_MAX)
    ports = accepted_ports(pid)
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    until(lambda: _state(pid) in "ZX", _STOP_S_MAX)
    return Killed(pid=pid, killed_s=killed_s, gone_s=time.monotonic(), client_ports=ports)


def accepted_ports(pid: int) -> frozenset[int]:
    """Remote ports of the TCP connections a process holds; proc_net(5): field 3 is the remote address, 10 the inode."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()))
        except (FileNotFoundError, ProcessLookupError):
            continue  # Closed meanwhile: the process has not stopped, or is gone.
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in inodes:
                ports.add(int(fields[2].rpartition(":")[2], 16))
    return frozenset(ports - {0})


def children_of(pid: int) -> list[int]:
    """Direct children of a process, all of its threads taken together."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # That thread has ended.
    return found


def unexplained(
    outcomes: Iterable[Outcome], killed: Iterable[Killed], begun: Mapping[str, AbstractSet[int]]
) -> list[Outcome]:
    """Failures outside the killed processes.

    `begun` has for each request id the processes that began it. A failure is explained when one of those was killed,
    or when the request was sent on a connection that a killed process had accepted.
    """
    all_killed = list(killed)
    pids = {one.pid for one in all_killed}
    return [
        outcome
        for outcome in outcomes
        if outcome.is_failed
        and not begun.get(outcome.request_id, frozenset()) & pids
        and not any(outcome.client_port in one.client_ports and outcome.ended_s >= one.killed_s for one in all_killed)
    ]


class Checker:
    """Clients that each send request after request on one connection, never try again, and forget nothing.

    `target` makes the request target from a request's id, which is `id_prefix` and a number. A client whose connection
    ends opens a new one for its next request; a connection that cannot be opened is a failed request too.
    """

    def __init__(
        self,
        url: str,
        target: Callable[[str], str],
        *,
        clients: int,
        pause_s: float = 0.0,
        timeout_s: float = 15.0,
        requests_max: int = 100_000,
        id_prefix: str = "",
    ) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._address = (host.strip("[]"), int(port))
        self._target = target
        self._clients = clients
        self._pause_s = pause_s
        self._timeout_s = timeout_s
        self._left = requests_max
        self._id_prefix = id_prefix
        self._numbers = itertools.count()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = asyncio.Condition()
        self.outcomes: list[Outcome] = []

    async def __aenter__(self) -> Self:
        """Begin to send."""
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let every request that was sent come to its end."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    @property
    def failed(self) -> list[Outcome]:
        """Requests that failed so far."""
        return [outcome for outcome in self.outcomes if outcome.is_failed]

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait, while sending, until `condition` holds; looked at after every answer and every 50 ms."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"not within {timeout_s:g} s; {len(self.outcomes)} requests ended")
            await asyncio.sleep(0.05)

    async def answers(self, count: int, timeout_s: float = 30.0) -> None:
        """Wait for that many more requests to end."""
        wanted = len(self.outcomes) + count
        await self.until(lambda: len(self.outcomes) >= wanted, timeout_s)

    async def _client(self) -> None:
        connection: _Connection | None = None
        while not self._stopping.is_set() and self._left > 0:
            self._left -= 1
            if connection is None or connection.is_over:
                connection = _Connection(self._address)
            self.outcomes.append(await self._one(connection, f"{self._id_prefix}{next(self._numbers)}"))
            await asyncio.sleep(self._pause_s)
        if connection is not None:
            await connection.close()

    async def _one(self, connection: _Connection, request_id: str) -> Outcome:
        sent_s = time.monotonic()
        status, body, failure = 0, b"", ""
        headers: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._timeout_s):
                status, headers, body = await connection.get(self._target(request_id), request_id)
        except TimeoutError:
            failure = f"no answer within {self._timeout_s:g} s"
            await connection.close()
        except (OSError, EOFError) as error:
            failure = f"{type(error).__name__}: {error}"
            await connection.close()
        return Outcome(
            request_id=request_id,
            client_port=connection.port,
            sent_s=sent_s,
            ended_s=time.monotonic(),
            status=status,
            headers=headers,
            body=body,
            failure=failure,
        )


class _Connection:
    """One keep-alive connection that is opened with its first request."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.port = 0
        self.is_over = False

    async def get(self, target: str, request_id: str) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
            self.port = self._streams[1].get_extra_info("sockname")[1]
        reader, writer = self._streams
        writer.write(
            f"GET {target} HTTP/1.1\r\nhost: {self._address[0]}\r\nx-request-id: {request_id}\r\n\r\n".encode()
        )
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return int(first.split()[1]), headers, body

    async def close(self) -> None:
        self.is_over = True
        if self._streams is None:
            return
        writer = self._streams[1]
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            return  # The other side was faster, or less polite.


def _state(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return text[text.rindex(")") + 2]
