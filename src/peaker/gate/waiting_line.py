"""Requests that wait for a slot, first come first served."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum


class Turn(Enum):
    """How a wait ended."""

    GRANTED = "a slot is held for it"
    OVER = "its time was over"
    GONE = "its client has gone"


class Place:
    """One request's place in the line. It keeps it while it is decided anew, until it leaves or is granted a slot."""

    __slots__ = ("_gone", "_waker", "ahead_at_first", "departed_at_first", "holds_slot")

    def __init__(self, ahead: int, departed: int) -> None:
        self.ahead_at_first = ahead
        self.departed_at_first = departed
        self.holds_slot = False
        self._gone = False
        self._waker: asyncio.Future[None] | None = None

    async def wait(self, wait_s: float) -> Turn:
        """Until a slot is granted, the client has gone, or `wait_s` is over."""
        loop = asyncio.get_running_loop()
        self._waker = loop.create_future()
        timer = loop.call_later(wait_s, self._wake)
        if self.holds_slot or self._gone:
            self._wake()
        try:
            await self._waker
        finally:
            timer.cancel()
            self._waker = None
        if self._gone:
            return Turn.GONE
        return Turn.GRANTED if self.holds_slot else Turn.OVER

    def grant(self) -> None:
        """A slot is held for this request from now on."""
        self.holds_slot = True
        self._wake()

    def tell_gone(self) -> None:
        """The client has gone."""
        self._gone = True
        self._wake()

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)


class WaitingLine:
    """All places, in order. Its length is bounded by who lets requests join; it tells them of each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._places: OrderedDict[Place, None] = OrderedDict()
        self._departed = 0
        self._changed = changed

    @property
    def is_empty(self) -> bool:
        """Nobody waits."""
        return not self._places

    def __len__(self) -> int:
        return len(self._places)

    def join(self) -> Place:
        """A place at the end."""
        place = Place(len(self._places), self._departed)
        self._places[place] = None
        self._changed()
        return place

    def join_first(self, place: Place) -> None:
        """Back to the front, for a request that left to try something that did not come to pass."""
        place.holds_slot = False
        self._places[place] = None
        self._places.move_to_end(place, last=False)
        self._changed()

    def leave(self, place: Place) -> None:
        """This request waits no longer; it may have been granted a slot already."""
        if place in self._places:
            del self._places[place]
            self._departed += 1
            self._changed()

    def ahead_of(self, place: Place | None) -> int:
        """How many are before this one (or before a newcomer); at most that many, since who left is not sought."""
        if place is None or place not in self._places:
            return len(self._places)
        return max(0, place.ahead_at_first - (self._departed - place.departed_at_first))

    def grant_first(self) -> None:
        """Give a slot to the one that has waited longest."""
        place, _ = self._places.popitem(last=False)
        self._departed += 1
        place.grant()
        self._changed()
