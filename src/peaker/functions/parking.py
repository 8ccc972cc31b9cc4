"""One copy of the zygote forked ahead of need: the fork and its page faults are over when a request comes.

A parked copy is not an instance yet. No code of the user's has run in it since the fork, it has no event loop and no
lifespan, and the pool does not know it. It costs the pages it took copies of (about 6 MB for a FastAPI app).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from peaker.errors import Unavailable
from peaker.functions.forked import Instance

PAUSE_S = 0.02
"""After a fork, the next copy is parked this much later: the CPU belongs to the request that waits for that fork."""


class Parking:
    """Room for one copy. `fork` makes a parked one; it raises Unavailable where that is not possible now."""

    def __init__(self, fork: Callable[[], Awaitable[Instance]]) -> None:
        self._fork = fork
        self._parked: Instance | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._filling: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the parked copy, 0 where there is none."""
        return self._parked.pid if self._parked is not None and self._parked.alive else 0

    def take(self) -> Instance | None:
        """The parked copy, told to become an instance; None where there is none that lives."""
        instance, self._parked = self._parked, None
        if instance is None or instance.begin():
            return instance
        instance.abandon()
        return None

    def fill_later(self) -> None:
        """Park a copy when no fork has been asked for during the pause."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._fill)

    def _fill(self) -> None:
        self._timer = None
        if self._parked is None and (self._filling is None or self._filling.done()):
            self._filling = asyncio.get_running_loop().create_task(self._park())

    async def _park(self) -> None:
        try:
            self._parked = await self._fork()
        except Unavailable:
            return  # nobody waits for this one; the next request forks for itself and is told if that fails too

    def empty(self) -> None:
        """End the parked copy and park no other until `fill_later`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._filling is not None:
            self._filling.cancel()
        instance, self._parked = self._parked, None
        if instance is not None:
            instance.abandon()
