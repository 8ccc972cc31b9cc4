"""One worker of a world: the production gate with its tables and its beats, an app that takes time, and a core."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from peaker.asgi import Message, Receive, Scope, Send
from peaker.gate.gate import Gate
from peaker.gate.neighbours import Neighbourhood
from peaker.gate.room import BEAT_S
from peaker.gate.slots import WorkerStatus
from peaker.interfaces import Functions
from peaker.meter.usage import UsageRow
from peaker.policy.sharing import most_free
from peaker.settings import Settings
from peaker.shared_table import SharedTable
from peaker.simulate.functions import release
from peaker.simulate.virtual_loop import VirtualHandle, VirtualLoop

GENERATION = 1

_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]}
_BODY = {"type": "http.response.body", "body": b"server"}


class Core:
    """What a worker's loop is busy with: one thing at a time, in the order in which they became due."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._due: deque[Callable[[], object]] = deque()
        self._is_waking = False
        self.free_s = 0.0
        self.used_s = 0.0

    def turn(self, call: Callable[[], object]) -> None:
        """Call this when all that was due before has been done."""
        if not self._due and self._loop.now_s() >= self.free_s:
            call()
            return
        self._due.append(call)
        self._wake()

    def compute(self, seconds: float) -> float:
        """Be busy from now on; returns when that is over."""
        self.free_s = max(self.free_s, self._loop.now_s()) + seconds
        self.used_s += seconds
        return self.free_s

    def _wake(self) -> None:
        if not self._is_waking:
            self._is_waking = True
            self._loop.call_at(max(self.free_s, self._loop.now_s()), self._next)

    def _next(self) -> None:
        self._is_waking = False
        if self._due and self._loop.now_s() >= self.free_s:
            self._due.popleft()()
        if self._due:
            self._wake()


class Client:
    """One request as its client sees it; it is the server's `send` and `receive`, too."""

    __slots__ = ("_begun", "done", "sent_s", "server_row", "status", "worker")

    def __init__(self, worker: Worker, sent_s: float, done: Callable[[Client], None]) -> None:
        self.worker = worker
        self.sent_s = sent_s
        self.server_row = -1
        """Row of the worker whose app ran it; -1 while none has."""
        self.status = 0
        self.done = done
        self._begun = False

    async def receive(self) -> Message:
        """A request without a body, from a client that stays."""
        if not self._begun:
            self._begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.get_running_loop().create_future()
        raise AssertionError("it never comes to an end")

    async def send(self, message: Message) -> None:
        """What the server's `send` does."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body"):
            self.done(self)


_SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"world")],
    "client": ("127.0.0.1", 40000),
    "server": ("127.0.0.1", 80),
    "state": {},
}
_DIED = {"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"6")]}
_CLIENT = "peaker.simulate.client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the workers of a world have in common."""

    loop: VirtualLoop
    settings: Settings
    slots: SharedTable
    usage: SharedTable
    functions: Functions | None
    service_s: Callable[[], float]
    cpu_share: float
    workers: dict[int, Worker]
    """Those that live, by row."""


class Worker:
    """A process that serves; `row` is its own in all tables."""

    def __init__(self, place: Place, row: int, server: int, chance: random.Random) -> None:
        self._place = place
        self._loop = place.loop
        self.row = row
        self.server = server
        self.core = Core(place.loop) if place.cpu_share else None
        self._chance = chance
        self._requests: dict[asyncio.Task[None], Client] = {}
        self.guests: dict[asyncio.Task[None], None] = {}
        """Requests of siblings that run here."""
        self.is_dead = False
        slots, loop = place.slots, place.loop
        slots.clear(row)  # What the tasks of a worker that died here wrote when they were ended.
        slots.set(row, "status", WorkerStatus.READY)
        slots.set(row, "generation", GENERATION)
        slots.set(row, "pid", row + 1)
        lag_ms_max = place.settings.servers.lag_ms_max
        self._neighbours = Neighbourhood(slots, row=row, generation=GENERATION, clock=loop, lag_ms_max=lag_ms_max)
        core = self.core
        self.gate = Gate(
            self._app,
            place.settings,
            row=row,
            slots=slots,
            usage=UsageRow(place.usage, row),
            functions=place.functions,
            siblings=self,
            clock=loop,
            chance=chance,
            cpu_s=(lambda: 0.0) if core is None else lambda: core.used_s,  # Without a core nothing computes.
        )
        place.workers[row] = self
        self.gate.started()
        # Workers started together do not beat together.
        self._timer: VirtualHandle = loop.call_later(BEAT_S * chance.random(), self._beat_due)

    def take(self, client: Client) -> None:
        """A request has come over one of its connections."""
        if self.core is None:
            self._begin(client)
        else:
            self.core.turn(lambda: self._begin(client))

    def _begin(self, client: Client) -> None:
        scope = dict(_SCOPE)
        scope[_CLIENT] = client
        task = self._loop.create_task(self._answer(scope, client))
        self._requests[task] = client
        task.add_done_callback(self._requests.pop)

    async def _answer(self, scope: Scope, client: Client) -> None:
        await self.gate(scope, client.receive, client.send)

    @property
    def is_draining(self) -> bool:
        """It takes nothing new."""
        return self._place.slots.get(self.row, "status") != WorkerStatus.READY

    async def drain(self) -> None:
        """End in order."""
        self._place.slots.set(self.row, "status", WorkerStatus.DRAINING)
        await self.gate.drain()
        self._leave()

    def die(self) -> list[Client]:
        """End now; returns whose requests were in it."""
        self.is_dead = True
        lost = list(self._requests.values())
        for task in [*self._requests, *self.guests]:
            task.cancel()
        self._leave()
        return lost

    def _leave(self) -> None:
        self._timer.cancel()
        self._place.workers.pop(self.row, None)
        self._place.slots.clear(self.row)

    # Its siblings (gate.siblings.Siblings), as it sees them.

    def find_free(self) -> int | None:
        """As `SiblingLinks.find_free`."""
        return most_free(self._neighbours.ready(), self._chance.random())

    async def hand_over(self, row: int, scope: Scope, receive: Receive, send: Send) -> bool:
        """As `SiblingLinks.hand_over`, without the way there."""
        sibling = self._place.workers.get(row)
        running = sibling.gate.admit_handed_over(scope, receive, send) if sibling is not None else None
        if sibling is None or running is None:
            return False
        guest = self._loop.create_task(_awaited(running))
        sibling.guests[guest] = None
        guest.add_done_callback(sibling.guests.pop)
        try:
            await guest
        except asyncio.CancelledError:
            if self.is_dead or not sibling.is_dead:
                raise
            await send(_DIED)  # Nobody knows what it has done, so it is given to nobody else.
            await send(_BODY)
        return True

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        client: Client = scope[_CLIENT]
        client.server_row = self.row
        service_s, loop, core = self._place.service_s(), self._loop, self.core
        until: asyncio.Future[None] = loop.create_future()
        if core is None:
            loop.call_later(service_s, release, until)
        else:
            computed_s = core.compute(service_s * self._place.cpu_share)
            rest_s = service_s * (1 - self._place.cpu_share)
            loop.call_at(computed_s + rest_s, core.turn, lambda: release(until))
        await until
        await send(_START)
        await send(_BODY)

    def _beat_due(self) -> None:
        self._timer = self._loop.call_later(BEAT_S, self._beat_due)
        if self.core is None:
            self._beat()
        else:
            self._timer.cancel()
            self.core.turn(self._beat_of_core)

    def _beat_of_core(self) -> None:
        self._timer = self._loop.call_later(BEAT_S, self._beat_due)
        self._beat()

    def _beat(self) -> None:
        self.gate.beat()
        self._neighbours.refresh()


async def _awaited(running: Awaitable[None]) -> None:
    await running
