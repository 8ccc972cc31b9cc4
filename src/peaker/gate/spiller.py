"""A gate's dealings with functions: whether a request may be spilled now, what that would take, and doing it."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from peaker.app import WEB_FUNCTION
from peaker.asgi import Scope
from peaker.clock import Clock
from peaker.errors import (
    FunctionCrashed,
    InvocationRefused,
    InvokeError,
    MalformedEvent,
    PayloadTooLarge,
    PeakerError,
    Throttled,
    Unavailable,
)
from peaker.gate.access_log import request_id_of
from peaker.gate.attempt import Attempt
from peaker.gate.exchange import NOT_YET_S
from peaker.gate.figures import Figures
from peaker.gate.routes import Route
from peaker.gate.spend import Spend
from peaker.gate.streamed_reply import FunctionResponse, read_head
from peaker.interfaces import Functions, StreamedReply, StreamingFunctions
from peaker.messages import Invocation, Response, RunNotes
from peaker.meter.usage import COUNTER_INDEX, UsageRow
from peaker.policy import admission, estimate, slow_store
from peaker.policy.resources import spills_max
from peaker.policy.slow_store import Cause, InFlight
from peaker.policy.stream_start import begins_in_time
from peaker.settings import Settings
from peaker.shared_table import SharedTable
from peaker.wire.http_api import losses, request_to_event, result_to_response, scope_to_request
from peaker.wire.invoke_api import BILLED_HEADER

ANSWER_MARGIN_S = 5.0
"""A gate waits this much longer than a function may run: for its start, and for the host to report the time-out."""

AWAY_S_MIN = 0.1
AWAY_S_MAX = 2.0
"""How long functions are left alone after they could not be reached, doubling from the one to the other."""

THROTTLED_S = (0.05, 0.15)
"""After "no room", by chance within this, so that the workers do not come back together."""

REFUSED_S = 1.0


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request may not be spilled now; `counter` is the usage counter that tells of it, None without one."""

    reason: str
    counter: int | None = None


@dataclass(slots=True)
class _Run:
    """One run from before it is sent to when it is paid for; `billed_s` is None while nobody has said."""

    route: Route
    began_s: float
    was_growing: bool
    is_probe: bool
    reserved_microusd: float
    billed_s: float | None = None


class Spiller:
    """Functions as one gate sees them."""

    def __init__(
        self,
        settings: Settings,
        functions: Functions | None,
        streaming: StreamingFunctions | None,
        *,
        row: int,
        slots: SharedTable,
        usage: UsageRow,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._settings = settings
        self._functions = functions
        self._streaming = streaming
        self._slots = slots
        self._spilling_cell = row * slots.width + slots.columns["spilling"]
        self._usage = usage
        self._clock = clock
        self._chance = chance
        self._spend = Spend(settings, row=row, slots=slots, usage=usage)
        self._function_name = settings.functions.arn or f"{settings.app.name}-{WEB_FUNCTION}"
        like = "lambda" if settings.functions.arn else settings.functions.like
        self.has_cpu_quota = like == "lambda"
        self._stretch = estimate.cpu_stretch(settings.functions.memory_mb) if self.has_cpu_quota else 1.0
        self._overhead_s = estimate.OVERHEAD_GUESS_S[like]
        self._cold_starts = estimate.ColdStarts(extra_s=estimate.COLD_GUESS_S[like])
        self._closed_until_s = 0.0
        self._closed_because = ""
        self._away_s = AWAY_S_MIN
        self._others_until_s = 0.0
        self._answers_at_rise: dict[str, int] = {}
        self._probing = 0
        self.spilling = 0
        """Runs in flight."""
        self._start_began_s = -math.inf
        """When the last run began that probably had to start an instance."""
        self._missed_s = 0.0
        self._looked_s = 0.0

    def why_never(self, scope: Scope, route: Route) -> str:
        """Why this request may not leave the servers at all, "" if it may."""
        if self._functions is None:
            return "there are no functions"
        reason = route.why_not_spill(self._settings.functions.spill_after_seen) or losses(scope)
        if not reason and _asks_for_event_stream(scope):
            return "text/event-stream connections stay open"
        return reason

    def why_not_now(self, route: Route, figures: Figures, lag_s: float) -> Denial | None:
        """Why functions cannot take a request of this route at this moment, None if they can."""
        now_s = self._clock.now_s()
        if now_s < self._closed_until_s:
            return Denial(self._closed_because)
        if self._spilling_of_all() >= spills_max(self._settings, self._workers()):
            return Denial("functions and what stands behind them have no room", _THROTTLED)
        if not self._is_probe_allowed(route, figures, lag_s, now_s):
            return Denial("what stands behind the app may be slow", _DENIED_SLOW_STORE)
        warm_s = self.expected_warm_s(route, figures)
        if route.rule.streams and not begins_in_time(
            warm_s,
            route.rule.objective_s,
            runs_seen=route.function_times.samples,
            since_last_s=now_s - route.stream_seen_s,
        ):
            return Denial("a function would not begin the stream within the objective")
        if not self._spend.allows(warm_s + route.stream_s):
            return Denial("the spend limit is reached", _DENIED_SPEND)
        return None

    def expected_warm_s(self, route: Route, figures: Figures) -> float:
        """What the next run of this route will take on an instance that is there."""
        if route.function_times.samples:
            return route.function_times.recent_s
        return self._guess_s(route, route.times.baseline_s, figures)

    @property
    def cold_start_s(self) -> float:
        """What starting an instance will add to the next run: the chance that it has to, times what that takes."""
        return self._cold_starts.expected_extra_s(self.spilling)

    def may_start(self, now_s: float, *, misses: bool) -> bool:
        """Whether a request may be spilled to have an instance started for others; `misses`: it will be late here."""
        cold_s = self._cold_starts.extra_s
        self._missed_s = admission.time_missed(self._missed_s, now_s - self._looked_s, misses, cold_s)
        self._looked_s = now_s
        return admission.may_start_for_others(
            misses, self._missed_s, cold_s, self.spilling, now_s - self._start_began_s
        )

    async def spill(self, attempt: Attempt, figures: Figures, lag_s: float) -> Response:
        """Run one request on a function and return its whole response.

        Raises:
            InvokeError: `started` tells whether it may be decided anew (False), or nobody knows its effect (None).
        """
        invocation = self._invocation(attempt)
        run = self._begin(attempt.route, figures, lag_s)
        try:
            response, notes, billed_s = await self._invoke(invocation)
            run.billed_s = billed_s or self._clock.now_s() - run.began_s
        except InvokeError as error:
            self._failed(run, error)
            raise
        finally:
            self._end(run)
        self._learn(run, figures, notes, self._clock.now_s() - run.began_s)
        attempt.unusual.cold = notes.cold
        return response

    @property
    def can_stream(self) -> bool:
        """There is somewhere to stream from."""
        return self._streaming is not None

    @asynccontextmanager
    async def stream(self, attempt: Attempt, figures: Figures, lag_s: float) -> AsyncIterator[FunctionResponse]:
        """Run one request on a function; its response is there from its head on, to be read inside the `with` block.

        A client that leaves ends the reading, and the function is told.

        Raises:
            InvokeError: before there is a head; as `spill`.
        """
        assert self._streaming is not None
        invocation = self._invocation(attempt)
        run = self._begin(attempt.route, figures, lag_s)
        reply: StreamedReply | None = None
        try:
            reply = await self._streaming.invoke_streaming(invocation)
            self._away_s = AWAY_S_MIN
            attempt.held.when_gone(reply.close)
            if attempt.held.client_gone:
                reply.close()
            response = await read_head(reply.read)
            attempt.unusual.cold = response.notes.cold
            yield response
            if not attempt.held.client_gone:
                first_body_s = attempt.unusual.first_body_s
                begun_s = self._clock.now_s() if first_body_s == NOT_YET_S else first_body_s
                self._learn(run, figures, response.notes, begun_s - run.began_s)
        except PeakerError as error:
            if not attempt.held.client_gone:
                self._failed(run, error)
            raise
        finally:
            attempt.held.when_gone(None)
            if reply is not None:
                run.billed_s = reply.billed_ms / 1000 or run.billed_s
                reply.close()
            self._end(run)

    def _begin(self, route: Route, figures: Figures, lag_s: float) -> _Run:
        began_s = self._clock.now_s()
        run = _Run(
            route=route,
            began_s=began_s,
            was_growing=self._cold_starts.is_growing(self.spilling),
            is_probe=self._cause(route, figures, lag_s, began_s) in {Cause.UNKNOWN, Cause.STORE},
            reserved_microusd=self._spend.reserve(
                self.expected_warm_s(route, figures) + self.cold_start_s + route.stream_s
            ),
        )
        route.stream_seen_s = began_s
        if run.was_growing:
            self._start_began_s = began_s
        self._count(route, 1, is_probe=run.is_probe)
        self._cold_starts = estimate.with_run_begun(self._cold_starts, self.spilling, began_s)
        return run

    def _failed(self, run: _Run, error: PeakerError) -> None:
        if isinstance(error, InvokeError) and error.started is False:
            run.billed_s = 0.0
            self._not_started(error)
        else:
            self._usage.add(_FUNCTION_ERRORS)

    def _end(self, run: _Run) -> None:
        self._count(run.route, -1, is_probe=run.is_probe)
        billed_s = self._clock.now_s() - run.began_s if run.billed_s is None else run.billed_s
        self._spend.settle(run.reserved_microusd, billed_s)

    def _invocation(self, attempt: Attempt) -> Invocation:
        scope = attempt.scope
        request_id = attempt.unusual.request_id = attempt.unusual.request_id or request_id_of(scope, self._chance)
        try:
            payload = request_to_event(
                scope_to_request(scope, attempt.held.body),
                request_id=request_id,
                epoch_s=self._clock.epoch_s(),
            )
        except PayloadTooLarge as error:
            raise InvocationRefused(str(error)) from error
        return Invocation(
            function=self._function_name,
            payload=payload,
            request_id=request_id,
            timeout_s=self._settings.functions.timeout_s + ANSWER_MARGIN_S,
            headers=tuple(pair for pair in scope["headers"] if pair[0] == b"traceparent"),
        )

    async def _invoke(self, invocation: Invocation) -> tuple[Response, RunNotes, float]:
        """The response, what is known of the run, and the seconds it is billed for, 0 where nothing tells."""
        assert self._functions is not None
        reply = await self._functions.invoke(invocation)
        self._away_s = AWAY_S_MIN
        if reply.function_error:
            raise FunctionCrashed(reply.payload[:300].decode("utf-8", "replace"))
        try:
            response, notes = result_to_response(reply.payload)
        except MalformedEvent as error:
            raise FunctionCrashed(f"its result is not a response: {error}") from error
        # The host's own figure where there is one: it is what the day's spend is counted from.
        billed_ms = float(reply.headers.get(BILLED_HEADER, 0))
        return response, notes, (billed_ms or notes.duration_ms + (notes.init_ms if notes.cold else 0)) / 1000

    def _not_started(self, error: InvokeError) -> None:
        """Leave functions alone for a while, as long as fits the reason."""
        if isinstance(error, Unavailable):
            closed_s, self._away_s = self._away_s, min(AWAY_S_MAX, 2 * self._away_s)
            self._closed_because = "functions cannot be reached"
        elif isinstance(error, Throttled):
            self._usage.add(_THROTTLED)
            closed_s = self._chance.uniform(*THROTTLED_S)
            self._closed_because = "functions have no room"
        elif isinstance(error.__cause__, PayloadTooLarge):
            return  # That is this request's own matter.
        else:
            closed_s = REFUSED_S
            self._closed_because = "functions refuse the invocation"
        self._closed_until_s = self._clock.now_s() + closed_s

    def _learn(self, run: _Run, figures: Figures, notes: RunNotes, elapsed_s: float) -> None:
        """`elapsed_s` until it was answered, or a stream had begun."""
        route, began_s = run.route, run.began_s
        now_s = began_s + elapsed_s
        self._usage.add(_COLD_STARTS, int(notes.cold))
        extra_s: float | None = None
        baseline_s = self._function_baseline_s(route, figures)
        if notes.cold:
            extra_s = max(notes.init_ms / 1000, elapsed_s - self.expected_warm_s(route, figures))
        if not notes.cold or elapsed_s <= slow_store.RISEN * baseline_s:
            # A cold run that is quick all the same tells as much as a warm one; one that is slow tells nothing.
            route.suspicion = slow_store.look_at_function(route.suspicion, elapsed_s, began_s, baseline_s)
        if not notes.cold:
            route.function_times = estimate.with_warm_run(
                route.function_times, elapsed_s, now_s, learn_baseline=not route.suspicion.is_risen
            )
        self._cold_starts = estimate.with_run_ended(self._cold_starts, extra_s, was_growing=run.was_growing)

    def _is_probe_allowed(self, route: Route, figures: Figures, lag_s: float, now_s: float) -> bool:
        at_most = slow_store.SPILLS_MAX[self._cause(route, figures, lag_s, now_s)]
        return at_most is None or (route.spilling < at_most and self._probing < slow_store.PROBES_MAX)

    def _cause(self, route: Route, figures: Figures, lag_s: float, now_s: float) -> Cause:
        in_flight = InFlight(running=route.running, mean_age_s=route.mean_age_s(now_s))
        suspicion = slow_store.look_at_server(route.suspicion, route.times, in_flight, now_s)
        is_heard = now_s < self._others_until_s
        at_rise = self._answers_at_rise.setdefault(route.key, route.times.samples) if is_heard else None
        route.suspicion = slow_store.hear_of_others(suspicion, route.times, in_flight, now_s, answers_at_rise=at_rise)
        found = slow_store.cause(route.suspicion, route.times, self._function_baseline_s(route, figures), lag_s)
        if found in {Cause.UNKNOWN, Cause.STORE} and route.suspicion.heard_at is None:
            if not is_heard:
                self._answers_at_rise.clear()
                figures.fold(now_s, at_once=True)  # What was answered before the rise is no answer since then.
            self._others_until_s = now_s + slow_store.HEARD_S
        return found

    def _function_baseline_s(self, route: Route, figures: Figures) -> float:
        return route.function_times.baseline_s or self._guess_s(route, route.times.baseline_s, figures)

    def _guess_s(self, route: Route, service_s: float, figures: Figures) -> float:
        cpu_s = figures.cpu_costs_s.get(route.key, 0.0)
        return estimate.guess_function_s(service_s, cpu_s, stretch=self._stretch, overhead_s=self._overhead_s)

    def _count(self, route: Route, by: int, *, is_probe: bool) -> None:
        self.spilling += by
        route.spilling += by
        self._probing += by if is_probe else 0
        self._slots.cells[self._spilling_cell] = self.spilling

    def _spilling_of_all(self) -> int:
        return sum(self._slots.cells[self._slots.columns["spilling"] :: self._slots.width].tolist())

    def _workers(self) -> int:
        statuses = self._slots.cells[self._slots.columns["status"] :: self._slots.width].tolist()
        return sum(status != 0 for status in statuses)


def _asks_for_event_stream(scope: Scope) -> bool:
    return any(name == b"accept" and b"text/event-stream" in value for name, value in scope["headers"])


_COLD_STARTS = COUNTER_INDEX["cold_starts"]
_FUNCTION_ERRORS = COUNTER_INDEX["function_errors"]
_THROTTLED = COUNTER_INDEX["throttled"]
_DENIED_SLOW_STORE = COUNTER_INDEX["spill_denied_slow_store"]
_DENIED_SPEND = COUNTER_INDEX["spill_denied_spend"]
