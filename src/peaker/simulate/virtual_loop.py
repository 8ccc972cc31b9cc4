"""An asyncio event loop on virtual time: sleeping costs nothing, and the same program runs the same way every time.

    result = run_virtual(main)          # an hour of timers in milliseconds

Only timers and futures exist here. Sockets, subprocesses, threads and signals are refused: what they do is not
deterministic. When nothing is left that could ever happen, the run ends with `NothingLeft` instead of hanging.

It has its own queue and timers: those of asyncio are written for what may come from outside, and a simulated request
has some eight of both.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

_Result = TypeVar("_Result")

CANCELLED_MAX = 512
"""Timers that were cancelled leave the heap when there are so many, and more than those that still count."""


class NothingLeft(RuntimeError):  # noqa: N818 - named for what was found
    """Every task waits for something that no timer and no other task will bring about."""


class VirtualHandle:
    """One call to come; stands where asyncio has its `Handle` and `TimerHandle`."""

    __slots__ = ("_args", "_callback", "_context", "_loop", "_when_s", "is_cancelled")

    def __init__(
        self,
        loop: VirtualLoop,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        when_s: float | None = None,
    ) -> None:
        self._loop = loop
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context = context if context is not None else contextvars.copy_context()
        self._when_s = when_s
        self.is_cancelled = False

    def cancel(self) -> None:
        """It is not called any more."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._callback, self._args = None, ()
            if self._when_s is not None:
                self._loop.note_cancelled()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.is_cancelled

    def when(self) -> float:
        """The moment of a timer."""
        assert self._when_s is not None
        return self._when_s

    def run(self) -> None:
        """Call it; what it raises goes where the loop's exceptions go."""
        if self._callback is None:
            return
        try:
            self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio's own handle does
            self._loop.call_exception_handler({"message": f"exception in {self._callback!r}", "exception": error})


class VirtualLoop(asyncio.BaseEventLoop):
    """Starts at 0 s. `time()` is virtual; it is also a `peaker.clock.Clock`, whose calendar may be set."""

    def __init__(self, *, epoch_s: float = 1_767_225_600.0) -> None:
        super().__init__()
        self._virtual_s = 0.0
        self._epoch_at_start_s = epoch_s
        self._ready: deque[VirtualHandle] = deque()
        self._timers: list[tuple[float, int, VirtualHandle]] = []
        self._numbers = 0
        self._cancelled = 0
        self._stopping = False

    def time(self) -> float:
        """Virtual seconds since this loop was made."""
        return self._virtual_s

    def now_s(self) -> float:
        """The same, as a Clock."""
        return self._virtual_s

    def epoch_s(self) -> float:
        """Virtual calendar time, as a Clock."""
        return self._epoch_at_start_s + self._virtual_s

    def set_calendar(self, by_s: float) -> None:
        """Move the calendar by so many seconds, as setting a clock does; the monotonic clock goes on."""
        self._epoch_at_start_s += by_s

    def advance(self, seconds: float) -> None:
        """What keeps the loop busy for so long: nothing else runs meanwhile."""
        self._virtual_s += max(0.0, seconds)

    def run_for(self, seconds: float) -> None:
        """Let this much virtual time pass, running what falls into it."""
        self.run_until_complete(asyncio.sleep(seconds))

    def call_soon(  # type: ignore[override]  # what it returns has all that a Handle is used for
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> VirtualHandle:
        """As in asyncio."""
        handle = VirtualHandle(self, callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> VirtualHandle:
        """As in asyncio."""
        return self.call_at(self._virtual_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> VirtualHandle:
        """As in asyncio; of two timers for the same moment the one set first comes first."""
        handle = VirtualHandle(self, callback, args, context, when)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, handle))
        return handle

    def note_cancelled(self) -> None:
        """A timer was cancelled; it is thrown out with others."""
        self._cancelled += 1
        if self._cancelled > CANCELLED_MAX and 2 * self._cancelled > len(self._timers):
            self._timers = [timer for timer in self._timers if not timer[2].is_cancelled]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run_once(self) -> None:
        """One turn: time moves to the next timer when nothing is left to do at this instant."""
        ready, timers = self._ready, self._timers
        if not ready:
            while timers and timers[0][2].is_cancelled:
                heapq.heappop(timers)
                self._cancelled -= 1
            if not timers:
                if self._stopping:
                    return
                raise NothingLeft(f"nothing is scheduled after {self._virtual_s:g} s of virtual time.")
            self._virtual_s = max(self._virtual_s, timers[0][0])
        while timers and timers[0][0] <= self._virtual_s:
            handle = heapq.heappop(timers)[2]
            if handle.is_cancelled:
                self._cancelled -= 1
            else:
                ready.append(handle)
        for _ in range(len(ready)):
            ready.popleft().run()

    def close(self) -> None:
        """As in asyncio."""
        self._timers.clear()
        super().close()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> NoReturn:
        raise RuntimeError("a virtual loop has no threads.")


def run_virtual(main: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Run `main()` on a fresh virtual loop and return its result.

    Raises:
        NothingLeft: it, or what it waits for, can never end.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
