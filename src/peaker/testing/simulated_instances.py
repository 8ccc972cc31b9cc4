"""Instances without processes: what a `Launcher` and its instances do, in memory, on any event loop and clock."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from peaker.clock import Clock
from peaker.errors import Unavailable
from peaker.functions.launcher import InstanceDied, Outcome
from peaker.functions.stream import ResponseStream
from peaker.wire.response_stream import HTTP_INTEGRATION

Handler = Callable[[Any, str], Awaitable[Any]] | Callable[[Any, str], AsyncGenerator[bytes, None]]
"""Takes the event and the request id, returns what JSON can hold; sleeps as long as the run is to take.

One that streams is an async generator of the bytes it writes; where nobody asked for a stream its result is their text.
"""


class Exits(Exception):  # noqa: N818 - what it makes the instance do
    """Raised by a simulated handler to end its instance; `out_of_memory` as the kernel would."""

    def __init__(self, how: str = "exit status 1", *, out_of_memory: bool = False) -> None:
        super().__init__(how)
        self.how = how
        self.out_of_memory = out_of_memory


class SimulatedInstance:
    """Runs one invocation at a time; a second one at once is an AssertionError, for that is what pools must not do."""

    def __init__(self, name: str, handler: Handler, *, clock: Clock, init_ms: float, end_s: float) -> None:
        self.name = name
        self.pid = 0
        self.init_ms = init_ms
        self.started_at_s = clock.now_s()
        self.invocations = 0
        self.on_exit: Callable[[SimulatedInstance], None] | None = None
        self.is_frozen = False
        self._handler = handler
        self._clock = clock
        self._end_s = end_s
        self._running: asyncio.Task[Any] | None = None
        self._killed_by = ""
        self.alive = True
        self._has_told_exit = False

    async def run(
        self,
        payload: bytes,
        *,
        request_id: str,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - as in the interface
        cold: bool = False,
        stream: ResponseStream | None = None,
    ) -> Outcome:
        """As `Instance.run`."""
        assert self._running is None, f"{self.name} is used twice at once"
        assert not self._has_told_exit, f"{self.name} is used after its end"
        assert not self.is_frozen, f"{self.name} is used while frozen"
        if not self.alive:
            raise _death("signal: killed", out_of_memory=False)  # In this very moment; nobody could have known.
        self.invocations += 1
        begun_s = self._clock.now_s()
        task = self._running = asyncio.ensure_future(self._called(json.loads(payload), request_id, stream))
        try:
            await asyncio.wait({task}, timeout=max(0.0, deadline_s - begun_s))
        finally:
            self._running = None
            if stream is not None:
                stream.finish()
        duration_ms = (self._clock.now_s() - begun_s) * 1000
        if not task.done():
            task.cancel()
            self._end_now()
            message = f"Task timed out after {deadline_s - begun_s:.2f} seconds"
            raise InstanceDied(message, error_type="Sandbox.Timedout")
        if task.cancelled():
            raise _death("signal: killed", out_of_memory=False)
        return self._outcome(task, cold=cold, duration_ms=duration_ms)

    async def _called(self, event: Any, request_id: str, stream: ResponseStream | None) -> Any:
        made = self._handler(event, request_id)
        if not isinstance(made, AsyncGenerator):
            return await made
        async with contextlib.aclosing(made) as pieces:
            if stream is None:
                return b"".join([piece async for piece in pieces]).decode()
            source = _Written()
            stream.connect(source)
            stream.begin(HTTP_INTEGRATION)
            async for piece in pieces:
                await source.may_write.wait()
                if source.is_gone:
                    break
                stream.feed(piece)
        return _STREAMED

    def when_free(self, done: Callable[[], None]) -> None:
        """As `Instance.when_free`."""
        done()

    def kill(self) -> None:
        """As `Instance.kill`."""
        if self._running is not None:
            self._running.cancel()
        self._end_now()

    def close(self) -> None:
        """As `Instance.close`; the end comes after `end_s`."""
        assert not self.is_frozen, f"{self.name} is asked to end while frozen"
        asyncio.get_running_loop().call_later(self._end_s, self._end_now)

    def freeze(self) -> None:
        """As `Instance.freeze`."""
        assert self._running is None, f"{self.name} is frozen while it runs"
        self.is_frozen = True

    def thaw(self) -> None:
        """As `Instance.thaw`."""
        self.is_frozen = False

    def _outcome(self, task: asyncio.Task[Any], *, cold: bool, duration_ms: float) -> Outcome:
        error = task.exception()
        if isinstance(error, Exits):
            self._end_now()
            raise _death(error.how, out_of_memory=error.out_of_memory)
        if error is not None:
            payload, function_error = {"errorMessage": str(error), "errorType": type(error).__name__}, "Unhandled"
        else:
            payload, function_error = task.result(), ""
        return Outcome(
            payload=b"" if payload is _STREAMED else json.dumps(payload).encode(),
            function_error=function_error,
            cold=cold,
            init_ms=self.init_ms,
            duration_ms=duration_ms,
            max_memory_mb=1,
        )

    def _end_now(self) -> None:
        if not self.alive:
            return
        self.alive = False
        asyncio.get_running_loop().call_soon(self._tell_exit)

    def _tell_exit(self) -> None:
        self._has_told_exit = True
        if self.on_exit is not None:
            self.on_exit(self)


_STREAMED = object()
"""Stands for the result of what has been written to a stream."""


class _Written:
    """The source of a stream: an app that ends its response as soon as nobody reads it."""

    def __init__(self) -> None:
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.is_gone = False

    def pause(self) -> None:
        self.may_write.clear()

    def resume(self) -> None:
        self.may_write.set()

    def tell_gone(self) -> None:
        self.is_gone = True
        self.may_write.set()


def _death(how: str, *, out_of_memory: bool) -> InstanceDied:
    error_type = "Runtime.OutOfMemory" if out_of_memory else "Runtime.ExitError"
    return InstanceDied(f"Runtime exited with error: {how}", error_type=error_type)


class SimulatedLauncher:
    """Forks simulated instances.

    Args:
        handler: what the function does.
        clock: the loop's own time.
        start_s: how long the n-th start takes, n from 0; or raises what that start fails with.
        end_s: how long an instance takes to end when asked to.
    """

    def __init__(
        self, handler: Handler, *, clock: Clock, start_s: Callable[[int], float] = lambda _: 0.005, end_s: float = 0.0
    ) -> None:
        self._handler = handler
        self._clock = clock
        self._start_s = start_s
        self._end_s = end_s
        self._numbers = itertools.count()
        self.has_zygote = True
        self.instances: list[SimulatedInstance] = []

    @property
    def alive(self) -> list[SimulatedInstance]:
        """Instances whose process would be there."""
        return [instance for instance in self.instances if instance.alive]

    async def fork(self) -> SimulatedInstance:
        """As `Launcher.fork`."""
        if not self.has_zygote:
            raise Unavailable("there is no zygote.")
        number = next(self._numbers)
        start_s = self._start_s(number)
        await asyncio.sleep(start_s)
        instance = SimulatedInstance(
            f"simulated-{number}",
            self._handler,
            clock=self._clock,
            init_ms=start_s * 1000,
            end_s=self._end_s,
        )
        self.instances.append(instance)
        return instance
