"""What finished requests tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

from peaker.gate.access_log import AccessLog
from peaker.gate.exchange import NOT_YET_S, STREAM_S, Exchange
from peaker.gate.routes import Route, Routes
from peaker.meter.route_usage import RouteRow
from peaker.meter.usage import COUNTER_INDEX, Ran, UsageRow
from peaker.policy.estimate import HOLD_WEIGHT, Times, attribute_cpu, with_samples
from peaker.policy.limit import Window
from peaker.policy.placement import Answered, with_answer
from peaker.policy.slow_store import InFlight, look_at_server
from peaker.settings import Settings

FOLD_S = 0.05
"""How often a route's estimates are made anew: at every beat, twenty routes would cost 0.3 us a request."""

BUSY_PER_BEAT = 32
SAMPLED_BEATS = 10
SAMPLE_MAX = 64
"""So many latencies stand for those that were not watched."""

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
    stand for, a response cut short is shorter, and a stream lasts as long as it likes: none of them is a latency. Of a
    route that is declared to stream, how soon it begins is one.
    """
    if exchange.status >= 500:
        return End.DROPPED if exchange.status == 503 else End.IGNORED
    return End.SUCCEEDED if exchange.has_service_time else End.IGNORED


class Figures:
    """What finished requests tell: usage counters, what routes have shown and take, the window of the limit.

    The request path appends to `kept`; `fold`, at every beat, takes that in. A worker with more than `BUSY_PER_BEAT`
    answers in a beat watches those of every `SAMPLED_BEATS`th beat only, by when they began, so that long ones are not
    missed; the others are counted, and go into the histogram in the proportions of the last ones that were watched.
    Measured at 30,000 a second: to watch each costs 3 us a request, most of it memory and code gone cold between two;
    to watch some in every beat costs 2, because the app's calls of `send` then meet two kinds of it in turn.
    """

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        usage: UsageRow,
        access_log: AccessLog | None,
        cpu_s: Callable[[], float] | None,
        *,
        route_usage: RouteRow | None = None,
        learns_cpu: bool = True,
    ) -> None:
        self.kept: list[Exchange] = []
        self._sample: list[tuple[float, str]] = []
        """Latencies and declared routes of the last that were watched."""
        self.all_times = Times()
        """Of all routes together: how long a slot is held."""
        self.cpu_costs_s: dict[str, float] = {}
        """CPU seconds a request, by key of route; stays empty where nobody asks for it."""
        self._routes = routes
        self._usage = usage
        self._route_usage = route_usage
        self._learns_cpu = learns_cpu
        self._access_log = access_log
        self._timeout_s = settings.functions.timeout_s
        self._counts = [0] * len(Ran)
        self._touched: list[Route] = []
        self._fold_due_s = -math.inf
        self._streamed_s = 0.0
        """How long slots were held after the first byte of declared streams."""
        self._slowness_sum = 0.0
        self._succeeded = 0
        self._dropped = 0
        self._cpu_s = cpu_s
        self._cpu_counts: dict[str, int] = {}
        self._cpu_unwatched = 0
        self._cpu_before_s = cpu_s() if cpu_s else 0.0
        self._cpu_due_s = -math.inf

    def fold(self, now_s: float, *, unwatched: int = 0, at_once: bool = False) -> None:
        """At every beat: publish the counts; every FOLD_S, or `at_once`, make estimates of what was kept.

        `unwatched` is how many more requests have run on this worker since the last beat.
        """
        if self.kept or unwatched:
            self._fold_finished(unwatched)
        if self._touched and (at_once or now_s >= self._fold_due_s):
            self._fold_due_s = now_s + FOLD_S
            touched, self._touched = self._touched, []
            self._fold_routes(touched, now_s)
        if self._access_log is not None:
            self._access_log.flush()
        if self._cpu_s is not None and now_s >= self._cpu_due_s:
            self._cpu_due_s = now_s + CPU_WINDOW_S
            self._fold_cpu(self._cpu_s())

    def _fold_finished(self, unwatched: int) -> None:
        kept = self.kept.copy()
        self.kept.clear()  # Emptied, not replaced: the gate holds on to it.
        if self._routes.some_stream:
            self._mark_streams(kept)
        on_server = [exchange for exchange in kept if self._count(exchange)]
        self._learn(on_server)
        if on_server:
            watched = [exchange for exchange in on_server[:SAMPLE_MAX] if exchange.is_complete]
            self._sample = [(one.latency_s, self._declared(one)) for one in watched] or self._sample
        if unwatched:
            self._count_unwatched(unwatched)
        for ran, count in enumerate(self._counts):
            if count:
                self._usage.add(_RAN[ran], count)
                self._usage.add(_REQUESTS, count)
                self._counts[ran] = 0

    def _mark_streams(self, exchanges: list[Exchange]) -> None:
        """Those in several parts and of routes that are declared to stream: how long they go on is their route's."""
        for exchange in exchanges:
            unusual = exchange.unusual
            if unusual is None or unusual.first_body_s == NOT_YET_S:
                continue
            route = self._routes.of(exchange.method, exchange.path)
            unusual.streams = route.rule.streams
            if unusual.streams and exchange.is_complete:
                lasted_s = exchange.last_body_s - unusual.first_body_s
                route.learn_stream(lasted_s)
                if exchange.ran is Ran.SERVER:
                    self._streamed_s += min(STREAM_S, lasted_s)  # Then it gave its slot back.

    def _count(self, exchange: Exchange) -> bool:
        """Count one that was kept; True if it ran on this worker, so that it tells about its route and the load."""
        unusual, ran = exchange.unusual, exchange.ran
        if unusual is None or not unusual.is_guest:
            if ran is None:
                self._usage.add(_REQUESTS)
            else:
                self._counts[ran] += 1
                if exchange.is_complete and ran is not Ran.REFUSED:
                    self._usage.latency(ran, exchange.latency_s)
                    if self._route_usage is not None:
                        self._route_usage.latency(self._declared(exchange), ran, exchange.latency_s)
            if self._access_log is not None:
                self._access_log.add(exchange)
        return ran is Ran.SERVER

    def _count_unwatched(self, count: int) -> None:
        """As if each had taken as long as one of those that were watched, in turn."""
        self._cpu_unwatched += count
        self._counts[Ran.SERVER] += count
        if self._sample:
            times, rest = divmod(count, len(self._sample))
            if times:
                self._count_sample(self._sample, times)
            self._count_sample(self._sample[:rest], 1)

    def _count_sample(self, sample: list[tuple[float, str]], times: int) -> None:
        self._usage.latencies(Ran.SERVER, (latency_s for latency_s, _ in sample), times)
        if self._route_usage is not None:
            for latency_s, path in sample:
                self._route_usage.latency(path, Ran.SERVER, latency_s, times)

    def _declared(self, exchange: Exchange) -> str:
        """The declared route of a request, "" for none; nobody asks where none is declared."""
        if self._route_usage is None:
            return ""
        rule = self._routes.of(exchange.method, exchange.path).rule
        return rule.path + "*" * rule.is_prefix if rule.is_declared else ""

    def _learn(self, exchanges: list[Exchange]) -> None:
        """What each answer of this worker's app shows about its route."""
        known, find = self._routes.known, self._routes.find
        for exchange in exchanges:
            route = known.get((exchange.method, exchange.path)) or find(exchange.method, exchange.path)
            if route.learns:
                self._learn_placement(route, exchange)
            end = end_of(exchange)
            if end is not End.SUCCEEDED:
                self._dropped += end is End.DROPPED
                continue
            service_s = exchange.service_s
            if not route.batch_count:
                self._touched.append(route)
            route.batch_count += 1
            route.batch_sum_s += service_s
            route.batch_square += service_s * service_s
            self._succeeded += 1
            self._slowness_sum += service_s / route.ordinary_s

    def _learn_placement(self, route: Route, exchange: Exchange) -> None:
        shown = route.shown
        if shown.stays_because or not exchange.is_complete:
            return
        answered = Answered(
            status=exchange.status,
            service_s=exchange.service_s,
            streamed_s=exchange.streamed_s,
            # By when beats were due, which in a loop that lags are few: what kept the app may have been another.
            after_s=max(0.0, exchange.returned_after_s - exchange.last_body_s),
            bytes_sent=exchange.bytes_sent,
        )
        route.shown = with_answer(shown, answered, self._timeout_s)

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
            if self._learns_cpu:
                self._cpu_counts[route.key] = self._cpu_counts.get(route.key, 0) + route.batch_count
            route.batch_count, route.batch_sum_s, route.batch_square = 0, 0.0, 0.0
        sum_s, self._streamed_s = sum_s + self._streamed_s, 0.0
        self.all_times = with_samples(self.all_times, count, sum_s, square, now_s, weight_of_one=HOLD_WEIGHT)

    def _fold_cpu(self, used_s: float) -> None:
        self._usage.add(_CPU_US, int(used_s * 1e6) - int(self._cpu_before_s * 1e6))
        if not self._learns_cpu:
            self._cpu_before_s = used_s
            return
        # What was not watched is taken to be of the same mix.
        watched = sum(self._cpu_counts.values())
        weight = 1 + self._cpu_unwatched / watched if watched else 1.0
        counts = {key: count * weight for key, count in self._cpu_counts.items()}
        self.cpu_costs_s |= attribute_cpu(self.cpu_costs_s, counts, used_s - self._cpu_before_s)
        self._cpu_before_s, self._cpu_unwatched = used_s, 0
        self._cpu_counts = {}


_RAN = [COUNTER_INDEX["refused" if ran is Ran.REFUSED else f"on_{ran.name.lower()}"] for ran in Ran]
_REQUESTS = COUNTER_INDEX["requests"]
_CPU_US = COUNTER_INDEX["cpu_us"]
