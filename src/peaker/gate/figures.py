"""What finished requests tell, taken in every few milliseconds in one go instead of once per request."""

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

FOLD_AT = 512
"""Finished requests that are kept before they are taken in; the next beat is sooner in all but the busiest workers."""

CPU_WINDOW_S = 1.0

SERVICE_FLOOR_S = 0.002
"""Shorter times count as this much when the limit is found: their ratios are noise of the loop."""

_ON = {Ran.SERVER: "on_server", Ran.SIBLING: "on_sibling", Ran.FUNCTION: "on_function", Ran.REFUSED: "refused"}


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
    start = exchange.start
    if start is None:
        return End.IGNORED
    status = start["status"]
    if status < 500:
        return End.SUCCEEDED if exchange.is_complete and exchange.holds_slot and not exchange.crashed else End.IGNORED
    return End.DROPPED if status == 503 else End.IGNORED


class Figures:
    """Usage counters, what the routes have shown and take, and the window of the limit, from finished exchanges."""

    def __init__(
        self, settings: Settings, usage: UsageRow, access_log: AccessLog | None, cpu_s: Callable[[], float] | None
    ) -> None:
        self.finished: list[Exchange] = []
        self.all_times = Times()
        """Of all routes together: how long a slot is held."""
        self.cpu_costs_s: dict[str, float] = {}
        """CPU seconds a request, by key of route; stays empty where nobody asks for it."""
        self._usage = usage
        self._access_log = access_log
        self._timeout_s = settings.functions.timeout_s
        self._slowness_sum = 0.0
        self._succeeded = 0
        self._dropped = 0
        self._cpu_s = cpu_s
        self._cpu_counts: dict[str, int] = {}
        self._cpu_before_s = cpu_s() if cpu_s else 0.0
        self._cpu_due_s = 0.0

    def fold(self, now_s: float, *, lagging: bool) -> None:
        """Take in what has finished; an answer given while the loop lagged shows nothing about its route."""
        finished, self.finished = self.finished, []
        if finished:
            self._count(finished)
            self._learn([exchange for exchange in finished if exchange.ran is Ran.SERVER], now_s, lagging=lagging)
            if self._access_log is not None:
                for exchange in finished:
                    self._access_log.add(exchange, now_s)
        if self._access_log is not None:
            self._access_log.flush()
        if self._cpu_s is not None and now_s >= self._cpu_due_s:
            self._fold_cpu(self._cpu_s(), now_s)

    def take_window(self, in_flight_max: int) -> Window:
        """What the limit is found from; begins a new one."""
        slowness = self._slowness_sum / self._succeeded if self._succeeded else 1.0
        window = Window(
            succeeded=self._succeeded, dropped=self._dropped, slowness=slowness, in_flight_max=in_flight_max
        )
        self._slowness_sum, self._succeeded, self._dropped = 0.0, 0, 0
        return window

    @property
    def window_count(self) -> int:
        """Requests in the window so far."""
        return self._succeeded + self._dropped

    def _count(self, finished: list[Exchange]) -> None:
        """Where they ran, and how long they took."""
        usage = self._usage
        counted = [exchange for exchange in finished if not exchange.is_guest]
        usage.add(_REQUESTS, len(counted))
        for ran, counter in _RAN.items():
            of_ran = [exchange for exchange in counted if exchange.ran is ran]
            if not of_ran:
                continue
            usage.add(counter, len(of_ran))
            if ran is not Ran.REFUSED:
                usage.latencies(
                    ran,
                    [
                        exchange.last_body_s - exchange.origin_s - exchange.blocked_s
                        for exchange in of_ran
                        if exchange.is_complete
                    ],
                )

    def _learn(self, on_server: list[Exchange], now_s: float, *, lagging: bool) -> None:
        """What each answer of this worker's app shows about its route, and what it took."""
        touched: list[Route] = []
        succeeded, slowness_sum = 0, 0.0
        for exchange in on_server:
            route = exchange.route
            if route.learns and not lagging and exchange.is_complete and not route.shown.stays_because:
                route.shown = with_answer(route.shown, _answered(exchange), self._timeout_s)
            end = end_of(exchange)
            if end is not End.SUCCEEDED:
                self._dropped += end is End.DROPPED
                continue
            service_s = exchange.last_body_s - exchange.began_s - exchange.blocked_s
            if not route.batch_count:
                touched.append(route)
            route.batch_count += 1
            route.batch_sum_s += service_s
            route.batch_square += service_s * service_s
            succeeded += 1
            # The first answers of a route are their own baseline: there is no other yet.
            slowness_sum += service_s / route.ordinary_s if route.ordinary_s < math.inf else 1.0
        self._succeeded += succeeded
        self._slowness_sum += slowness_sum
        if touched:
            self._fold_routes(touched, now_s)

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


def _answered(exchange: Exchange) -> Answered:
    return Answered(
        status=exchange.status,
        service_s=exchange.service_s,
        streamed_s=exchange.streamed_s,
        after_s=max(0.0, exchange.returned_s - exchange.last_body_s),
        bytes_sent=exchange.bytes_sent,
    )


_RAN = {ran: COUNTER_INDEX[name] for ran, name in _ON.items()}
_REQUESTS = COUNTER_INDEX["requests"]
