"""The production gate on virtual time: one worker with an app, functions and a store that take as long as they say.

    async def main():
        store = Store(takes_s=0.05)
        functions = FunctionsInMemory(store.use)
        async with World(settings, work=store.use, functions=functions).running() as world:
            await world.open_loop(per_second=300, for_s=10, chance=random.Random(1))
        assert p95_s(world.clients) < 0.3

    run_virtual(main)

Only what surrounds the gate is simulated here: nothing in it decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from peaker.asgi import ASGIApp, Message, Receive, Scope, Send
from peaker.errors import InvokeError, Throttled
from peaker.gate.gate import Gate
from peaker.gate.siblings import Siblings
from peaker.gate.slots import WorkerStatus, create_slot_table
from peaker.interfaces import Functions, StreamingFunctions
from peaker.messages import Invocation, Reply, Response, RunNotes
from peaker.meter.usage import Usage, UsageRow, create_usage_table, read_usage
from peaker.settings import Settings
from peaker.testing.virtual_loop import VirtualLoop
from peaker.wire.http_api import response_to_result

Work = Callable[[], Awaitable[None]]
BEAT_S = 0.01


def the_loop() -> VirtualLoop:
    """The virtual loop that runs now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


class Busy:
    """How many were at it at once, over time."""

    def __init__(self) -> None:
        self.now = 0
        self._history: list[tuple[float, int]] = []

    def __enter__(self) -> None:
        self.now += 1
        self._history.append((the_loop().time(), self.now))

    def __exit__(self, *_: object) -> None:
        self.now -= 1

    def most(self, from_s: float = 0.0, to_s: float = float("inf")) -> int:
        """The most at once between two moments."""
        return max((count for at_s, count in self._history if from_s <= at_s < to_s), default=0)


class Store:
    """What stands behind the app; `takes_s` may change while it runs."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.busy = Busy()

    async def use(self) -> None:
        """One request to it."""
        with self.busy:
            await asyncio.sleep(self.takes_s)


class FunctionsInMemory:
    """A function host that keeps its instances: a new one takes `init_s`, at most `concurrency_max` run at once.

    `fails_with` makes every invocation fail; `response` is what the app answers there.
    """

    def __init__(
        self, work: Work, *, init_s: float = 0.02, overhead_s: float = 0.001, concurrency_max: int = 1000
    ) -> None:
        self.work = work
        self.init_s = init_s
        self.overhead_s = overhead_s
        self.concurrency_max = concurrency_max
        self.busy = Busy()
        self.invocations: list[Invocation] = []
        self.fails_with: InvokeError | None = None
        self.response = Response(status=200, headers=((b"content-length", b"8"),), body=b"function")
        self._idle = 0

    async def invoke(self, invocation: Invocation) -> Reply:
        """As `Functions.invoke`."""
        if self.fails_with is not None:
            raise self.fails_with
        if self.busy.now >= self.concurrency_max:
            raise Throttled
        self.invocations.append(invocation)
        cold = self._idle == 0
        self._idle -= 0 if cold else 1
        with self.busy:
            await asyncio.sleep(self.overhead_s + (self.init_s if cold else 0.0))
            began_s = the_loop().time()
            await self.work()
            duration_ms = (the_loop().time() - began_s) * 1000
        self._idle += 1
        notes = RunNotes(cold=cold, init_ms=self.init_s * 1000 if cold else 0.0, duration_ms=duration_ms)
        return Reply(payload=response_to_result(self.response, notes))


@dataclasses.dataclass
class Client:
    """One request as its client sees it; `ends` counts how often its response was completed."""

    sent_s: float
    done_s: float = 0.0
    status: int = 0
    headers: dict[bytes, bytes] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    ends: int = 0
    error: BaseException | None = None
    gone: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def latency_s(self) -> float:
        """From sending to the last byte."""
        return self.done_s - self.sent_s

    @property
    def ran(self) -> str:
        """Where it was answered, if the settings have `placement_header`."""
        return self.headers.get(b"x-peaker-ran", b"").decode()

    def leave(self) -> None:
        """Close the connection."""
        self.gone.set()

    async def send(self, message: Message) -> None:
        """What the server's `send` does."""
        if self.gone.is_set():
            return
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        self.body += message.get("body", b"")
        if not message.get("more_body"):
            self.done_s = the_loop().time()
            self.ends += 1


class World:
    """One worker: a gate, its tables, its beats, its clients."""

    def __init__(
        self,
        settings: Settings,
        *,
        work: Work,
        functions: Functions | None = None,
        streaming: StreamingFunctions | None = None,
        siblings: Siblings | None = None,
        app: ASGIApp | None = None,
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="peaker-world-")
        path = Path(self._directory.name)
        self.slots = create_slot_table(path / "slots.table", 2)
        self._usage_table = create_usage_table(path / "usage.table", 2)
        self.slots.set(0, "status", WorkerStatus.READY)
        self.clients: list[Client] = []
        self.app_calls = 0
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()
        self.gate = Gate(
            app or self._app,
            settings,
            row=0,
            slots=self.slots,
            usage=UsageRow(self._usage_table, 0),
            functions=functions,
            streaming=streaming,
            siblings=siblings,
            clock=the_loop(),
            chance=random.Random(7),  # noqa: S311 - the same on every run
            cpu_s=the_loop().time,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """Beats while inside; leaves when every request has ended."""
        self.gate.started()
        beating = asyncio.create_task(self._beat())
        try:
            yield self
            await self.settle()
        finally:
            beating.cancel()
            self._directory.cleanup()

    async def settle(self) -> None:
        """Wait until every request has ended, and let the gate take that in."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self.gate.beat()

    def request(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        body: Sequence[bytes] = (b"",),
        headers: dict[str, str] | None = None,
    ) -> Client:
        """Send one request; it is answered in its own time."""
        client = Client(sent_s=the_loop().time())
        self.clients.append(client)
        task = asyncio.create_task(self._exchange(client, _scope(method, path, headers or {}), list(body)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return client

    async def open_loop(self, per_second: float, for_s: float, chance: random.Random, path: str = "/") -> None:
        """Poisson arrivals that wait neither for answers nor for a busy loop: one that is late counts from its time."""
        at_s = the_loop().time()
        end_s = at_s + for_s
        while (at_s := at_s + chance.expovariate(per_second)) < end_s:
            if at_s > the_loop().time():
                await asyncio.sleep(at_s - the_loop().time())
            # Like sockets that became readable while the loop was busy, all that are due come in one turn of it.
            self.request(path).sent_s = at_s
        await asyncio.sleep(max(0.0, end_s - the_loop().time()))

    def usage(self) -> dict[str, int]:
        """The worker's counters."""
        return self.usage_of_all().counters

    def usage_of_all(self) -> Usage:
        """Counters and histograms."""
        return read_usage(self._usage_table)

    def sent(self, from_s: float, to_s: float = float("inf")) -> list[Client]:
        """Clients that sent their request between two moments."""
        return [client for client in self.clients if from_s <= client.sent_s < to_s]

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        self.app_calls += 1
        await self._work()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"server"})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self.gate.beat()

    async def _exchange(self, client: Client, scope: Scope, body: list[bytes]) -> None:
        async def receive() -> Message:
            if body:
                part = body.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(body)}
            await client.gone.wait()
            return {"type": "http.disconnect"}

        try:
            await self.gate(scope, receive, client.send)
        except Exception as error:  # noqa: BLE001 - as a server does, for whatever the app raises
            client.error = error


def _scope(method: str, path: str, headers: dict[str, str]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"shop")] + [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


def p95_s(clients: Sequence[Client]) -> float:
    """The 95th percentile of their latencies, by nearest rank."""
    latencies = sorted(client.latency_s for client in clients)
    return latencies[max(0, -(-95 * len(latencies) // 100) - 1)]
