"""What is remembered of one request between the steps of its decision."""

from __future__ import annotations

from peaker.gate.exchange import Exchange
from peaker.gate.held import Held
from peaker.gate.routes import Route
from peaker.gate.waiting_line import Place, WaitingLine
from peaker.policy.placement import Placement


class Attempt:
    """A request that did not find its worker at rest."""

    def __init__(self, exchange: Exchange, route: Route, held: Held, why_never: str, late_s: float) -> None:
        self.exchange = exchange
        self.unusual = exchange.mark_unusual()
        self.unusual.scope, self.unusual.ran = exchange.scope, None
        self.scope = exchange.scope
        self.late_s = late_s
        self.route = route
        self.held = held
        self.why_never = why_never
        """Why it may not be spilled, whatever the load; "" if it may."""
        self.stayed = False
        """The app was called here, which counts the request itself."""
        self.place: Place | None = None
        self._line: WaitingLine | None = None
        self._waiting_since_s: float | None = None
        self.sibling: int | None = None
        self.siblings_tried = 0
        self.denied: set[int] = set()
        """Usage counters of denied spills in which it has been counted."""

    @property
    def placement(self) -> Placement:
        """Where it may run: what cannot be told to a function runs on a server, wherever its route is placed."""
        return Placement.SERVERS if self.why_never or self.held.why_not_whole else self.route.rule.placement

    def join(self, line: WaitingLine, now_s: float) -> Place:
        """Its place in this line, at the end if it has none there yet."""
        if self.place is None or self._line is not line:
            self.leave_line()
            self._line, self.place = line, line.join()
            self.held.when_gone(self.place.tell_gone)
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        return self.place

    def note_wait(self, now_s: float) -> None:
        """How long it has waited by now, tries elsewhere included."""
        if self._waiting_since_s is not None:
            self.unusual.waited_s = now_s - self._waiting_since_s

    def leave_line(self) -> bool:
        """Free its place; True when it had been granted a slot, which is now the caller's to release."""
        place = self.place
        if place is None or self._line is None:
            return False
        self._line.leave(place)
        held_slot, place.holds_slot = place.holds_slot, False
        return held_slot

    def join_again(self) -> None:
        """A try elsewhere came to nothing: be first in line, where it had been in line before."""
        if self.place is not None and self._line is not None:
            self._line.join_first(self.place)
