"""A fleet on paper: how many servers are ready now, and how many in each moment to come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.provision import SERVERS_MAX

_ROUNDING_S = 1e-6


class PaperFleet:
    """Servers that start for a known time. Those that were started last are given up first, at once."""

    __slots__ = ("_coming", "_ready")

    def __init__(self) -> None:
        self._ready = 0
        self._coming: list[list[float]] = []
        """Seconds until they are ready, and how many; soonest first."""

    @property
    def ready(self) -> int:
        """That serve now."""
        return self._ready

    @property
    def servers(self) -> int:
        """Ready or starting."""
        return self._ready + sum(int(count) for _, count in self._coming)

    def ready_after(self, time_s: float) -> int:
        """That will serve so many seconds from now if nothing is changed."""
        return self._ready + sum(int(count) for left_s, count in self._coming if left_s <= time_s + _ROUNDING_S)

    def times_left_s(self) -> list[float]:
        """Seconds until each group of starting servers is ready."""
        return [left_s for left_s, _ in self._coming]

    def order(self, servers: int, start_s: float) -> None:
        """So many from now on, ready and starting together."""
        more = servers - self.servers
        if more > 0:
            if start_s > 0:
                self._coming.append([start_s, more])
                self._coming.sort()
            else:
                self._ready += more
        while more < 0 and self._coming:
            taken = min(-more, int(self._coming[-1][1]))
            self._coming[-1][1] -= taken
            more += taken
            if not self._coming[-1][1]:
                self._coming.pop()
        self._ready += min(0, more)

    def pass_time(self, for_s: float) -> None:
        """So much time has passed."""
        for each in self._coming:
            each[0] -= for_s
        while self._coming and self._coming[0][0] <= _ROUNDING_S:
            self._ready += int(self._coming.pop(0)[1])

    def set_to(self, ready: int, starting: int, start_s: float) -> None:
        """What is really there, where it is not what was expected: servers die, and start sooner or later."""
        if ready == self._ready and starting == self.servers - self._ready:
            return
        self._ready = 0
        # The soonest of those that were starting are the ones that are ready now.
        while self._coming and sum(int(count) for _, count in self._coming) > starting:
            self._coming[0][1] -= 1
            if not self._coming[0][1]:
                self._coming.pop(0)
        missing = starting - sum(int(count) for _, count in self._coming)
        if missing > 0:
            self._coming.append([max(start_s, _ROUNDING_S * 2), missing])
            self._coming.sort()
        self._ready = ready

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"ready": self._ready, "coming": [list(each) for each in self._coming]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        coming = saved.table(state, "coming", 2)
        self._ready = saved.whole(state, "ready", 0, SERVERS_MAX)
        self._coming = coming
