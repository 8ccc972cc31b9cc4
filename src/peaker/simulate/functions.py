"""Functions of a world: the function host's own pool, keep-alive and meter on instances that only take time."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from peaker.app import FunctionSpec
from peaker.errors import FunctionCrashed, Throttled, Unavailable
from peaker.functions.function_log import Report
from peaker.functions.invocations import Invocations
from peaker.functions.launcher import InstanceDied, Outcome
from peaker.functions.pool import Pool
from peaker.functions.prepared import Prepared
from peaker.functions.starts import Starts
from peaker.functions.stream import ResponseStream
from peaker.messages import Invocation, Reply, Response, RunNotes
from peaker.meter.function_usage import FunctionMeter
from peaker.plan.workload import FunctionPool
from peaker.policy.learned_keep_alive import LearnedKeepAlive
from peaker.policy.stream_pace import UNPACED
from peaker.simulate.virtual_loop import VirtualHandle, VirtualLoop
from peaker.wire.http_api import response_to_result
from peaker.wire.invoke_api import BILLED_HEADER, invoke_error
from peaker.wire.lambda_errors import InvokeApiError

ANSWER = Response(status=200, headers=((b"content-length", b"8"),), body=b"function")

STARTS_AT_ONCE_MAX = 1_000_000
"""A world's machine forks as many at once as are asked for; `FunctionPool.starts_per_s` is what limits them."""


def release(future: asyncio.Future[None]) -> None:
    """Let who waits for it go on, if somebody still does."""
    if not future.done():
        future.set_result(None)


async def sleep(loop: VirtualLoop, seconds: float) -> None:
    """As `asyncio.sleep`, in half of its time."""
    until: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, release, until)
    await until


class WorldInstance:
    """A `RunningInstance` whose run takes as long as it is told."""

    def __init__(self, name: str, run_s: Callable[[], float], loop: VirtualLoop) -> None:
        self.name = name
        self.init_ms = 0.0
        self.on_exit: Callable[[Any], None] | None = None
        self.alive = True
        self._run_s = run_s
        self._loop = loop
        self._running: asyncio.Future[None] | None = None
        self._timer: VirtualHandle | None = None

    async def run(
        self,
        payload: bytes,  # noqa: ARG002 - as in the interface
        *,
        request_id: str,  # noqa: ARG002
        deadline_s: float,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002
        cold: bool = False,
        stream: ResponseStream | None = None,  # noqa: ARG002
    ) -> Outcome:
        """Take the time of one run, or of the time limit."""
        loop = self._loop
        began_s = loop.now_s()
        assert self._running is None, f"{self.name} is used twice at once"
        end_s = min(began_s + self._run_s(), deadline_s)
        self._running = loop.create_future()
        self._timer = loop.call_at(end_s, release, self._running)
        if not self.alive:
            self._end_run()
        try:
            await self._running
        finally:
            self._timer.cancel()
            self._running = None
        if not self.alive:
            raise InstanceDied("Runtime exited with error: signal: killed", error_type="Runtime.ExitError")
        duration_ms = (end_s - began_s) * 1000
        if end_s >= deadline_s:
            self.kill()
            raise InstanceDied(f"Task timed out after {end_s - began_s:.2f} seconds", error_type="Sandbox.Timedout")
        notes = RunNotes(cold=cold, init_ms=self.init_ms if cold else 0.0, duration_ms=duration_ms)
        return Outcome(
            payload=response_to_result(ANSWER, notes),
            cold=cold,
            init_ms=self.init_ms,
            duration_ms=duration_ms,
            max_memory_mb=1,
        )

    def when_free(self, done: Callable[[], None]) -> None:
        """At once."""
        done()

    def kill(self) -> None:
        """End now; who waits for a run hears of it."""
        if self.alive:
            self.alive = False
            self._end_run()
            self._loop.call_soon(self._tell_exit)

    close = kill

    def freeze(self) -> None:
        """It computes nothing anyway."""

    def thaw(self) -> None:
        """Likewise."""

    def _end_run(self) -> None:
        if self._running is not None:
            release(self._running)

    def _tell_exit(self) -> None:
        if self.on_exit is not None:
            self.on_exit(self)


class Pace:
    """A `StartModel`: start times as drawn, starts as a bucket of tokens allows."""

    freezes = False
    stream_pace = UNPACED

    def __init__(self, limits: FunctionPool, start_s: Callable[[], float]) -> None:
        self._limits = limits
        self._start_s = start_s
        self._tokens = float(limits.starts_burst)
        self._counted_s = 0.0

    def may_start(self, now_s: float) -> bool:
        """Counts the start as made."""
        limits = self._limits
        self._tokens = min(float(limits.starts_burst), self._tokens + (now_s - self._counted_s) * limits.starts_per_s)
        self._counted_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def start_s(self, took_s: float) -> float:
        """At least what it took here."""
        return max(took_s, self._start_s())

    def overhead_s(self) -> float:
        """None of the instance's time; what the way takes is `WorldFunctions.overhead_s`."""
        return 0.0


class _NoLog:
    """An invocation log that keeps nothing: the meter counts."""

    def start(self, function: str, request_id: str, *, with_tail: bool = False) -> None: ...

    def write(self, function: str, request_id: str, line: str) -> None: ...

    def died(self, function: str, request_id: str, message: str, error_type: str) -> None: ...

    def init_failed(self, function: str, request_id: str, init_ms: float, error_type: str) -> None: ...

    def end(self, function: str, report: Report) -> None: ...


class _Caller:
    """Who waits for an answer, and what is to happen when they leave."""

    __slots__ = ("_on_gone",)

    def __init__(self) -> None:
        self._on_gone: Callable[[], object] | None = None

    def set_on_gone(self, action: Callable[[], object] | None) -> None:
        self._on_gone = action

    def leave(self) -> None:
        if self._on_gone is not None:
            self._on_gone()


class WorldFunctions:
    """`interfaces.Functions` over the pool of one function.

    Args:
        spec: the function.
        limits: how many, how quickly started, how long the way to them and back takes.
        loop: the clock too.
        run_s: what a run takes.
        start_s: what starting an instance takes.
        meter: counts what is billed.
        learned: None where idle instances end after `spec.keep_alive_s`.
    """

    def __init__(
        self,
        spec: FunctionSpec,
        limits: FunctionPool,
        *,
        loop: VirtualLoop,
        run_s: Callable[[], float],
        start_s: Callable[[], float],
        meter: FunctionMeter,
        learned: Callable[[], LearnedKeepAlive | None],
    ) -> None:
        self._spec = spec
        self._loop = loop
        self._run_s = run_s
        self._learned = learned
        self._overhead_s = limits.overhead_s
        self._model = Pace(limits, start_s)
        self._invocations = Invocations(log=_NoLog(), clock=loop, meter=meter)
        self._numbers = itertools.count()
        self._alive: dict[WorldInstance, None] = {}
        self._tasks: dict[asyncio.Task[Reply], None] = {}
        self._kept = 64
        self.throttled_to = math.inf
        """No more than so many run at once, whatever the function's own limit is."""
        self.running = 0
        self.is_away = False
        self._pool = self._new_pool()

    async def invoke(self, invocation: Invocation) -> Reply:
        """As `interfaces.Functions.invoke`."""
        if self.is_away:
            raise Unavailable("the function host cannot be reached.")
        if self.running >= self.throttled_to:
            raise Throttled("the account's concurrency is used up.")
        caller = _Caller()
        # A task of its own: a run goes on, and is billed, when the worker that asked for it dies.
        task = self._loop.create_task(self._run(invocation, caller))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller.leave()
            task.add_done_callback(_heard)  # Who asked is dead: how it ends is nobody's matter.
            raise

    async def _run(self, invocation: Invocation, caller: _Caller) -> Reply:
        self.running += 1
        try:
            return await self._run_counted(invocation, caller)
        finally:
            self.running -= 1

    async def _run_counted(self, invocation: Invocation, caller: _Caller) -> Reply:
        pool = self._pool
        prepared = Prepared(
            pool=pool, request_id=invocation.request_id, payload=invocation.payload, wait_s=invocation.timeout_s
        )
        try:
            ran = await self._invocations.run(prepared, caller.set_on_gone)
        except InvokeApiError as error:
            if pool is not self._pool or self.is_away:
                raise FunctionCrashed("the connection to the function host broke.") from error
            headers = dict(error.headers(invocation.request_id))
            raise invoke_error(error.status, headers, error.body()) or FunctionCrashed(str(error)) from error
        if pool is not self._pool or self.is_away:
            raise FunctionCrashed("the connection to the function host broke.")
        if self._overhead_s:
            await sleep(self._loop, self._overhead_s)
        headers = {BILLED_HEADER: str(ran.billed_ms)}
        if ran.function_error:
            headers["x-amz-function-error"] = ran.function_error
            if (failure := invoke_error(200, headers, ran.payload)) is not None:
                raise failure
        return Reply(payload=ran.payload, function_error=ran.function_error, headers=headers)

    async def fork(self) -> WorldInstance:
        """As `Starter.fork`; the pool waits for what its model says."""
        instance = WorldInstance(f"instance-{next(self._numbers)}", self._run_s, self._loop)
        self._alive[instance] = None
        if len(self._alive) > 2 * self._kept:
            self._alive = {one: None for one in self._alive if one.alive}
            self._kept = max(64, len(self._alive))
        return instance

    @property
    def instances(self) -> int:
        """Alive now."""
        return sum(instance.alive for instance in self._alive)

    def go_away(self) -> None:
        """The host ends with all that is in it."""
        self.is_away = True
        self._pool.close()
        for instance in list(self._alive):
            instance.kill()
        self._alive.clear()

    def come_back(self) -> None:
        """A new host, with what its keep-alive had learned."""
        self.is_away = False
        self._pool = self._new_pool()

    def _new_pool(self) -> Pool:
        starts = Starts(in_flight_max=STARTS_AT_ONCE_MAX)
        return Pool(self._spec, self, starts=starts, clock=self._loop, model=self._model, learned=self._learned())


def _heard(task: asyncio.Task[Reply]) -> None:
    if not task.cancelled():
        task.exception()
