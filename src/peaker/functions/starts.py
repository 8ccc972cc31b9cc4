"""What all pools of one host share: how many instances start at once, and how many there may be in all."""

from __future__ import annotations

from typing import Protocol

from peaker.policy.starts import Need


class Startable(Protocol):
    """What `Starts` needs of a pool."""

    def start_need(self) -> Need:
        """Why it wants one more instance now."""
        ...

    def start_one(self) -> None:
        """Begin one start; it ends with `Starts.start_ended`, and its process with `Starts.process_ended`."""
        ...


class Starts:
    """Grants starts to pools: requests before spares, pools in turn.

    Unlimited starts make every one of them slow (prototype: p95 of seconds at the edge of the machine). Need is asked
    for at the moment a start can be granted, so a request that was served meanwhile, or gave up, costs no start.
    """

    def __init__(self, *, in_flight_max: int, instances_max: int | None = None) -> None:
        self.in_flight_max = in_flight_max
        self.instances_max = instances_max
        self.in_flight = 0
        self.processes = 0
        self._asking: dict[Startable, None] = {}

    @property
    def is_full(self) -> bool:
        """There may be no more instances in all."""
        return self.instances_max is not None and self.processes >= self.instances_max

    def ask(self, pool: Startable) -> None:
        """`pool` may need a start."""
        self._asking.setdefault(pool)
        self._grant()

    def start_ended(self) -> None:
        """A start is no longer in flight, however it ended."""
        self.in_flight -= 1
        self._grant()

    def process_ended(self) -> None:
        """An instance's process is gone, or never came to be."""
        self.processes -= 1
        self._grant()

    def forget(self, pool: Startable) -> None:
        """`pool` wants nothing more."""
        self._asking.pop(pool, None)

    def _grant(self) -> None:
        while self._asking and self.in_flight < self.in_flight_max:
            if self.is_full:
                return
            needs = {pool: pool.start_need() for pool in self._asking}
            self._asking = {pool: None for pool in self._asking if needs[pool] is not Need.NONE}
            if not self._asking:
                return
            chosen = max(self._asking, key=needs.__getitem__)  # The first of the most needy.
            del self._asking[chosen]
            self._asking[chosen] = None
            self.in_flight += 1
            self.processes += 1
            chosen.start_one()
