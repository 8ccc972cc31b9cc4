"""An asyncio event loop on virtual time: sleeping costs nothing, and the same program runs the same way every time.

    result = run_virtual(main)          # an hour of timers in milliseconds

Only timers and futures exist here. Sockets, subprocesses, threads and signals are refused: what they do is not
deterministic. When nothing is left that could ever happen, the run ends with `NothingLeft` instead of hanging.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

_Result = TypeVar("_Result")


class NothingLeft(RuntimeError):  # noqa: N818 - named for what was found
    """Every task waits for something that no timer and no other task will bring about."""


class _TimeForSelector:
    """Stands where the loop asks the kernel to wait: time moves to the next timer at once."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingLeft(f"nothing is scheduled after {self._loop.time():g} s of virtual time.")
        self._loop.advance(timeout)
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """Starts at 0 s. `time()` is virtual; it is also a `peaker.clock.Clock`."""

    def __init__(self, *, epoch_s: float = 1_767_225_600.0) -> None:
        super().__init__()
        self._virtual_s = 0.0
        self._epoch_at_start_s = epoch_s
        self._selector = _TimeForSelector(self)

    def time(self) -> float:
        """Virtual seconds since this loop was made."""
        return self._virtual_s

    def now_s(self) -> float:
        """The same, as a Clock."""
        return self._virtual_s

    def epoch_s(self) -> float:
        """Virtual calendar time, as a Clock."""
        return self._epoch_at_start_s + self._virtual_s

    def advance(self, seconds: float) -> None:
        """Called by the loop itself when nothing is left to do at this instant."""
        self._virtual_s += max(0.0, seconds)

    def run_for(self, seconds: float) -> None:
        """Let this much virtual time pass, running what falls into it."""
        self.run_until_complete(asyncio.sleep(seconds))

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
