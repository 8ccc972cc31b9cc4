"""What finished requests tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

from peaker.gate.access_log import AccessLog
from peaker.gate.exchange import Exchange
from peaker.gate.routes import Route
from peaker.meter.usage import COUNTER_INDEX, Ran, UsageRow
from peaker.policy.estimate import Times, attribute_cpu, with_samples
from peaker.policy.limit import Window
from peaker.policy.placement import Answered, with_answer
from peaker.policy.slow_store import InFlight, look_at_server
from peaker.settings import Settings

FOLD_S = 0.05
"""How often a route's estimates are made anew: at every beat, twenty routes would cost 0.3 us a request."""

CPU_WINDOW_S = 1.0

SERVICE_FLOOR_S = 0.002
"""Shorter times count as this much when the limit is found: their ratios are noise of the loop."""


class End(Enum):
    """How the use of a slot ended."""

    SUCCEEDED = "its latency counts"
    IGNORED = "it tells nothing about load"
    DROPPED = "there was too much load"


def end_of(exchange: Exchange) -> End:
    """The end of a request that ran on this worker.

    An app that answers 503 says itself that it has too much to do. Errors may be quicker or slower than the work they
    stand for, a response cut short is shorter, and a stream lasts as long as it likes: none of them is a latency.
    """
    status = exchange.status
    if status < 500:
        return End.SUCCEEDED if exchange.is_complete and exchange.holds_slot and not exchange.crashed else End.IGNORED
    return End.DROPPED if status == 503 else End.IGNORED


class Figures:
    """What finished requests tell: usage counters, what routes have shown and take, the window of the limit.

    `take` is on the request path and only adds up; `fold`, off it, makes averages and estimates of that.
    """

    def __init__(
        self, settings: Settings, usage: UsageRow, access_log: AccessLog | None, cpu_s: Callable[[], float] | None
    ) -> None:
        self.all_times = Times()
        """Of all routes together: how long a slot is held."""
        self.cpu_costs_s: dict[str, float] = {}
        """CPU seconds a request, by key of route; stays empty where nobody asks for it."""
        self.calm_until_s = math.inf
        """As of the room; what returns later shows nothing about its route."""
        self._usage = usage
        self._access_log = access_log
        self._timeout_s = settings.functions.timeout_s
        self._counts = [0] * len(Ran)
        self._touched: list[Route] = []
        self._fold_due_s = 0.0
        self._slowness_sum = 0.0
        self._succeeded = 0
        self._dropped = 0
        self._cpu_s = cpu_s
        self._cpu_counts: dict[str, int] = {}
        self._cpu_before_s = cpu_s() if cpu_s else 0.0
        self._cpu_due_s = 0.0

    def take(self, exchange: Exchange) -> None:
        """Take in one finished exchange."""
        ran = exchange.ran
        if not exchange.is_guest:
            if ran is None:
                self._usage.add(_REQUESTS)
            else:
                self._counts[ran] += 1
                if exchange.is_complete and ran is not _REFUSED:
                    self._usage.latency(ran, exchange.last_body_s - exchange.origin_s - exchange.blocked_s)
            if self._access_log is not None:
                self._access_log.add(exchange)
        if ran is _SERVER:
            self._take_from_server(exchange)

    def _take_from_server(self, exchange: Exchange) -> None:
        """What this worker's app has shown."""
        route = exchange.route
        if route.learns:
            self._learn_placement(exchange)
        end = end_of(exchange)
        if end is not End.SUCCEEDED:
            self._dropped += end is End.DROPPED
            return
        service_s = exchange.last_body_s - exchange.began_s - exchange.blocked_s
        if not route.batch_count:
            self._touched.append(route)
        route.batch_count += 1
        route.batch_sum_s += service_s
        route.batch_square += service_s * service_s
        self._succeeded += 1
        self._slowness_sum += service_s / route.ordinary_s

    def _learn_placement(self, exchange: Exchange) -> None:
        route = exchange.route
        shown = route.shown
        if shown.stays_because or not exchange.is_complete or exchange.returned_s >= self.calm_until_s:
            return
        answered = Answered(
            status=exchange.status,
            service_s=exchange.service_s,
            streamed_s=exchange.streamed_s,
            after_s=exchange.returned_s - exchange.last_body_s,
            bytes_sent=exchange.bytes_sent,
        )
        route.shown = with_answer(shown, answered, self._timeout_s)

    def fold(self, now_s: float) -> None:
        """At every beat: publish the counts; every FOLD_S take what was added up into what is known."""
        for ran, count in enumerate(self._counts):
            if count:
                self._usage.add(_RAN[ran], count)
                self._usage.add(_REQUESTS, count)
                self._counts[ran] = 0
        if self._touched and now_s >= self._fold_due_s:
            self._fold_due_s = now_s + FOLD_S
            touched, self._touched = self._touched, []
            self._fold_routes(touched, now_s)
        if self._access_log is not None:
            self._access_log.flush()
        if self._cpu_s is not None and now_s >= self._cpu_due_s:
            self._fold_cpu(self._cpu_s(), now_s)

    def take_window(self, in_flight_max: int) -> Window:
        """What the limit is found from; begins a new one."""
        # Zero where no route has been seen before: nothing is slow yet.
        slowness = self._slowness_sum / max(1, self._succeeded) or 1.0
        window = Window(
            succeeded=self._succeeded, dropped=self._dropped, slowness=slowness, in_flight_max=in_flight_max
        )
        self._slowness_sum, self._succeeded, self._dropped = 0.0, 0, 0
        return window

    @property
    def window_count(self) -> int:
        """Requests in the window so far."""
        return self._succeeded + self._dropped

    def _fold_routes(self, touched: list[Route], now_s: float) -> None:
        count, sum_s, square = 0, 0.0, 0.0
        for route in touched:
            route.times = with_samples(route.times, route.batch_count, route.batch_sum_s, route.batch_square, now_s)
            route.ordinary_s = max(SERVICE_FLOOR_S, route.times.baseline_s)
            in_flight = InFlight(running=route.running, mean_age_s=route.mean_age_s(now_s))
            route.suspicion = look_at_server(route.suspicion, route.times, in_flight, now_s)
            count, sum_s, square = count + route.batch_count, sum_s + route.batch_sum_s, square + route.batch_square
            if self._cpu_s is not None:
                self._cpu_counts[route.key] = self._cpu_counts.get(route.key, 0) + route.batch_count
            route.batch_count, route.batch_sum_s, route.batch_square = 0, 0.0, 0.0
        self.all_times = with_samples(self.all_times, count, sum_s, square, now_s)

    def _fold_cpu(self, used_s: float, now_s: float) -> None:
        self._cpu_due_s = now_s + CPU_WINDOW_S
        self.cpu_costs_s |= attribute_cpu(self.cpu_costs_s, self._cpu_counts, used_s - self._cpu_before_s)
        self._cpu_before_s = used_s
        self._cpu_counts = {}


_RAN = [COUNTER_INDEX[f"on_{ran.name.lower()}" if ran is not Ran.REFUSED else "refused"] for ran in Ran]
_REQUESTS = COUNTER_INDEX["requests"]
# Looking up a member of an enum takes longer than comparing with it.
_SERVER = Ran.SERVER
_REFUSED = Ran.REFUSED
