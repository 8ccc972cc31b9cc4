"""The room in one worker: its slots, how many there should be, who waits for one, and whether its loop keeps up."""

from __future__ import annotations

import math

from peaker.asgi import Send
from peaker.clock import Clock
from peaker.gate.attempt import Attempt
from peaker.gate.exchange import STREAM_S, Exchange
from peaker.gate.figures import Figures
from peaker.gate.routes import Routes
from peaker.gate.waiting_line import WaitingLine
from peaker.policy.limit import SLOTS_AT_START, next_limit
from peaker.settings import ServersSection
from peaker.shared_table import SharedTable

BEAT_S = 0.01
"""How often the worker calls `Gate.beat`; what a beat is late by is the loop's lag."""

LAG_WEIGHT = 0.5
LAG_FADES = 0.9
"""What is left of the peak of the lag after each beat: `lag_lately_s` speaks of the last half second."""

WINDOW_S_MIN = 0.1
WINDOW_S_MAX = 1.0
WINDOW_COUNT_MIN = 10
"""A window of the limit lasts for this many requests and twice the time that one takes, within these bounds."""


class Room:
    """Slots, line and loop lag of this worker.

    The request path reads `running`, `newcomers_max`, `calm_until_s` and `is_tight`; everything else happens at beats
    or where a request did not find room. The slot table shows `in_flight` as of the last beat, and at once when the
    worker becomes full.
    """

    def __init__(self, servers: ServersSection, *, row: int, slots: SharedTable, clock: Clock) -> None:
        fixed = min(SLOTS_AT_START, servers.in_flight_outer_max)
        if servers.in_flight_max != "auto":
            fixed = servers.in_flight_max
        # What the request path reads comes first: it lies together in memory.
        self.newcomers_max = fixed
        """Below so many running, a newcomer may begin: 0 while somebody waits, who comes first."""
        self.calm_until_s = math.inf
        """When the loop begins to lag unless it beats before; -inf while it lags."""
        self.due_s = math.inf
        """When the next beat is due."""
        self.late_s = 0.0
        """What the last beat was late by."""
        self.is_tight = False
        """Somebody was turned away from the short way lately: each slot that becomes free is looked at."""
        self.running: dict[Exchange | Send, float] = {}
        """Requests whose app runs here in a slot, and since when; one that is not watched by what it sends with."""
        self.beat_due_s = -math.inf
        """When the last beat was due."""
        self.limit = fixed
        self._exact_limit = float(fixed)
        self._finds_limit = servers.in_flight_max == "auto"
        self._outer_max = servers.in_flight_outer_max
        self.streams: set[Exchange | Send] = set()
        """Those that gave their slot back and go on for as long as they like."""
        self._granted = 0
        """Slots given to requests that waited and have not yet begun."""
        self.line = WaitingLine(self._change)
        self.lag_s = 0.0
        self.lag_lately_s = 0.0
        self._lag_max_s = servers.lag_ms_max / 1000
        self._in_flight_max = 0
        self._window_began_s = 0.0
        self._now_s = clock.now_s
        self._cells = slots.cells
        self._in_flight_cell = row * slots.width + slots.columns["in_flight"]

    @property
    def in_flight(self) -> int:
        """Slots that are held."""
        return len(self.running) + self._granted

    @property
    def is_full(self) -> bool:
        """No slot is free, or somebody waits for one."""
        return self.in_flight >= self.limit or not self.line.is_empty

    def publish(self) -> None:
        """Show in the slot table how many slots are held."""
        self._cells[self._in_flight_cell] = self.in_flight

    def grant(self) -> None:
        """Give a free slot to the first in line; it gives the next one on when it begins (`Gate._stay`).

        One by one, because each may keep the loop busy so long that the next had better not begin here.
        """
        if not self.line.is_empty and self.in_flight < self.limit and self.is_calm(self._now_s()):
            self._granted += 1
            self.line.grant_first()
            self.publish()  # Else siblings would find a free slot here that is none, and try it in vain.

    def take_grant(self) -> None:
        """A slot that was granted is used now, or is not wanted any more."""
        self._granted -= 1
        self._change()

    def give_up(self, attempt: Attempt) -> None:
        """The loop began to lag before this one could begin: it is first in line again, its slot is nobody's."""
        self._granted -= 1
        attempt.join_again()

    def is_calm(self, now_s: float) -> bool:
        """Whether the loop keeps up, as far as can be known before the next beat."""
        return now_s < self.calm_until_s

    def measure_lag(self, now_s: float) -> None:
        """At each beat: how late it is, smoothed over a few."""
        self.late_s = max(0.0, now_s - self.due_s)
        self.lag_s += LAG_WEIGHT * (self.late_s - self.lag_s)
        self.lag_lately_s = max(self.late_s, LAG_FADES * self.lag_lately_s)
        self.beat_due_s, self.due_s = now_s - self.late_s, now_s + BEAT_S
        self.calm_until_s = self.due_s + self._lag_max_s if self.lag_s <= self._lag_max_s else -math.inf
        self._in_flight_max = max(self._in_flight_max, self.in_flight)

    def look_at_running(self, routes: Routes, now_s: float) -> None:
        """How many of each route run and since when; those that have become streams give their slot back."""
        for route in routes.all():
            route.running, route.began_sum_s = 0, 0.0
        for running, began_s in tuple(self.running.items()):
            if now_s - began_s > STREAM_S and _has_begun(running):
                self._begin_stream(running)
            elif isinstance(running, Exchange):
                route = routes.of(running.scope["method"], running.scope["path"])
                route.running += 1
                route.began_sum_s += began_s

    def _begin_stream(self, running: Exchange | Send) -> None:
        if isinstance(running, Exchange):
            running.mark_unusual().is_stream = True
        del self.running[running]
        self.streams.add(running)
        self.is_tight = True  # Until it has ended, so that its end is seen.

    def find_limit(self, figures: Figures, now_s: float) -> None:
        """At the end of a window: the limit for the next one."""
        if not self._finds_limit or not figures.window_count:
            return
        lasted_s = now_s - self._window_began_s
        long_enough_s = min(WINDOW_S_MAX, max(WINDOW_S_MIN, 2 * figures.all_times.recent_s))
        if lasted_s < long_enough_s or (figures.window_count < WINDOW_COUNT_MIN and lasted_s < WINDOW_S_MAX):
            return
        self._exact_limit = next_limit(self._exact_limit, figures.take_window(self._in_flight_max), self._outer_max)
        self.limit = int(self._exact_limit)
        self._window_began_s, self._in_flight_max = now_s, self.in_flight
        self._change()

    def _change(self) -> None:
        self.newcomers_max = self.limit - self._granted if self.line.is_empty else 0


def _has_begun(running: Exchange | Send) -> bool:
    """Whether a part of the response was sent. Of an unwatched one uvicorn knows, whose cycle `send` is bound to."""
    if isinstance(running, Exchange):
        return running.status != 0
    return bool(getattr(getattr(running, "__self__", None), "response_started", False))
