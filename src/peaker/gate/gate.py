"""The gate: a request stays on this worker, goes to a sibling, waits, is spilled to a function, or is refused.

Almost every request finds a worker at rest and takes the short way: `Gate.__call__` -> `_answer` -> `_run_here` -> the
app, of which a busy worker leaves out the middle for all but a sample. Any other is decided in `Gate._decide`, step by
step, by `policy.admission.admit`. What finished requests tell is taken in by `beat`, every 10 ms, off the short way.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from peaker.asgi import ASGIApp, Message, Receive, Scope, Send
from peaker.clock import Clock
from peaker.gate.access_log import AccessLog
from peaker.gate.answers import RAN_HEADER, refusal, send_response
from peaker.gate.attempt import Attempt
from peaker.gate.exchange import Exchange
from peaker.gate.figures import BUSY_PER_BEAT, SAMPLED_BEATS, Figures
from peaker.gate.function_answer import FunctionAnswers
from peaker.gate.held import Held, HeldBytes
from peaker.gate.room import Room
from peaker.gate.routes import Route, Routes
from peaker.gate.siblings import Siblings
from peaker.gate.spiller import Spiller
from peaker.gate.waiting_line import Turn, WaitingLine
from peaker.interfaces import Functions, StreamingFunctions
from peaker.meter.route_usage import RouteRow
from peaker.meter.usage import COUNTER_INDEX, Ran, UsageRow
from peaker.policy.admission import Decision, Situation, Step, admit, misses_objective
from peaker.policy.estimate import expected_wait_s
from peaker.policy.placement import Placement
from peaker.settings import Settings
from peaker.shared_table import SharedTable

SIBLINGS_TRIED_MAX = 2

BEATS_PER_LOOK = 10
"""How often streams are looked for, where nothing else asks who runs."""


class Gate:
    """An ASGI application around the user's.

    The worker calls `started()` after the lifespan's start-up, `beat()` every 10 ms, and `drain()` when it is to stop.
    Of its row of the slot table the gate writes in_flight, slots, lag_us, heartbeat_ms, websockets, waiting, spilling
    and spent_microusd; pid, status, generation and connections are the worker's, lease_microusd is control's.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        row: int,
        slots: SharedTable,
        usage: UsageRow,
        functions: Functions | None,
        streaming: StreamingFunctions | None = None,
        siblings: Siblings | None,
        clock: Clock,
        chance: random.Random,
        cpu_s: Callable[[], float] = time.process_time,
        route_usage: RouteRow | None = None,
    ) -> None:
        # What the request path reads comes first: it lies together in memory.
        self._app = app
        self.now_s = clock.now_s
        self._room = Room(settings.servers, row=row, slots=slots, clock=clock)
        self._running = self._room.running
        self._routes = Routes(settings)
        self._logs = bool(settings.app.access_log)
        has_function_routes = any(rule.placement is Placement.FUNCTIONS for rule in self._routes.rules)
        self._is_plain = not (self._logs or has_function_routes)
        """No request needs more than a look at the room."""
        self.rewrites_start = settings.app.placement_header
        self.notes_more = self._logs
        self._unwatched = 0
        self._watches = True
        """Answers are looked at: always but in a busy worker (`Figures`)."""
        self._spiller = Spiller(
            settings, functions, streaming, row=row, slots=slots, usage=usage, clock=clock, chance=chance
        )
        log = settings.app.access_log
        access_log = AccessLog(log, settings.directory, clock, chance) if log else None
        quota = self._spiller.has_cpu_quota
        self._figures = Figures(
            settings, self._routes, usage, access_log, cpu_s, route_usage=route_usage, learns_cpu=quota
        )
        self._kept = self._figures.kept
        self._function_answers = FunctionAnswers(self._spiller, self._figures, usage)
        self._queue_max, self._wait_s_max = settings.servers.queue_max, settings.servers.queue_wait_s_max
        self._spill_body_bytes_max = settings.functions.spill_body_bytes_max
        self._says_where_it_ran = settings.app.placement_header
        self._siblings, self._usage = siblings, usage
        self._slots, self._row = slots, row
        self._functions_line = WaitingLine(lambda: None)
        self._held_bytes = HeldBytes()
        self._apart = 0
        """Requests being decided, waiting or on their way elsewhere."""
        self._websockets = self._beats = 0
        self._is_draining = False
        self._at_rest = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises what the app raises."""
        if scope["type"] != "http":
            return await self._pass_through(scope, receive, send)
        room, running, now_s = self._room, self._running, self.now_s()
        has_room = len(running) < room.newcomers_max and now_s < room.calm_until_s
        if self._watches or not has_room:
            return await self._answer(scope, receive, send, now_s, has_room=has_room)
        # A busy worker at rest: others speak for this request, so that it is only counted.
        running[send] = now_s
        try:
            await self._app(scope, receive, send)
        except BaseException:
            self._usage.add(_FAILED)
            raise
        finally:
            running.pop(send, None)
            self._unwatched += 1
            if room.is_tight:
                self._slot_freed(send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, now_s: float, *, has_room: bool) -> None:
        """Answer one request and watch how."""
        room = self._room
        late_s = room.late_s if now_s < room.due_s else max(room.late_s, now_s - room.due_s)
        exchange = Exchange(self, scope, send, now_s)
        if has_room and (self._is_plain or self._stays(exchange)):
            self._running[exchange] = now_s
            await self._run_here(exchange, receive, late_s)
        else:
            await self._decide(exchange, receive, late_s)

    async def _run_here(self, exchange: Exchange, receive: Receive, late_s: float) -> None:
        """Call the app in this worker; the exchange is among the running."""
        try:
            await self._app(exchange.scope, exchange.timed(receive), exchange.send)
        except BaseException:
            exchange.mark_unusual().crashed = True
            self._usage.add(_FAILED)
            raise
        finally:
            self._running.pop(exchange, None)
            exchange.forget_request(late_s, self._room.beat_due_s)
            self._kept.append(exchange)
            if self._room.is_tight:
                self._slot_freed(exchange)

    async def _decide(self, exchange: Exchange, receive: Receive, late_s: float) -> None:
        """Bring to its end one request that did not find this worker at rest."""
        self._apart += 1
        self._tighten()
        scope, route = exchange.scope, self._route_of(exchange)
        held = Held(scope, receive, self._held_bytes, self._spill_body_bytes_max)
        attempt = Attempt(exchange, route, held, self._spiller.why_never(scope, route), late_s)
        try:
            is_done = False
            while not is_done:
                decision = self._look(attempt)
                if held.client_gone:
                    is_done = self._note_gone()  # Nobody waits for an answer, so nothing is done.
                elif decision.step is Step.STAY:
                    is_done = await self._stay(attempt)
                elif decision.step is Step.SIBLING:
                    is_done = await self._hand_over(attempt)
                elif decision.step is Step.REFUSE:
                    is_done = await self._refuse(attempt, decision.reason)
                elif not held.is_read:
                    await self._read(attempt)  # Waiting and spilling need the body; while it comes, much may change.
                elif decision.step is Step.SPILL:
                    is_done = await self._spill(attempt)
                else:
                    is_done = await self._wait(attempt, decision.wait_s)
        finally:
            self._apart -= 1
            self._leave_line(attempt)
            held.close()
            if attempt.unusual.waited_s:
                self._usage.add(_WAITED)
            if not attempt.stayed:
                exchange.forget_request(late_s, self._room.beat_due_s)
                self._kept.append(exchange)
            self._note_rest()

    def _look(self, attempt: Attempt) -> Decision:
        """Gather what is known at this moment and decide."""
        room, now_s = self._room, self.now_s()
        route, times = attempt.route, attempt.route.times
        attempt.note_wait(now_s)
        ahead = room.line.ahead_of(attempt.place)
        is_calm = room.is_calm(now_s)
        slot_free = is_calm and room.in_flight < room.limit and not ahead
        wait_s = expected_wait_s(ahead, self._figures.all_times.recent_s, room.in_flight)
        if not is_calm:
            wait_s = max(wait_s, room.lag_s, now_s - room.due_s)
        attempt.sibling = None if slot_free else self._find_sibling(attempt)
        waited_s, objective_s, wait_s_max = attempt.unusual.waited_s, route.rule.objective_s, self._wait_s_max
        misses = misses_objective(waited_s, wait_s, times.tail_s, times.baseline_s, objective_s, wait_s_max)
        has_place = slot_free or attempt.sibling is not None
        warm_s = self._spiller.expected_warm_s(route, self._figures)
        return admit(
            Situation(
                placement=attempt.placement,
                slot_free=slot_free,
                sibling_free=attempt.sibling is not None,
                waited_s=waited_s,
                wait_s=wait_s,
                service_s=times.recent_s,
                tail_s=times.tail_s,
                baseline_s=times.baseline_s,
                function_s=warm_s + self._spiller.cold_start_s,
                objective_s=objective_s,
                no_spill="" if slot_free and route.stays else self._why_no_spill(attempt),
                joinable=attempt.place is not None or self._waiting < self._queue_max,
                wait_s_max=wait_s_max,
                warm_s=warm_s,
                may_start=self._spiller.may_start(now_s, misses=misses and not has_place),
            )
        )

    def _find_sibling(self, attempt: Attempt) -> int | None:
        if self._siblings is None or attempt.siblings_tried >= SIBLINGS_TRIED_MAX:
            return None
        return self._siblings.find_free()

    def _why_no_spill(self, attempt: Attempt) -> str:
        reason = attempt.why_never or attempt.held.why_not_whole
        if reason:
            return reason
        denial = self._spiller.why_not_now(attempt.route, self._figures, self._room.lag_lately_s)
        if denial is None:
            return ""
        if denial.counter is not None and denial.counter not in attempt.denied:
            attempt.denied.add(denial.counter)
            self._usage.add(denial.counter)
        return denial.reason

    async def _stay(self, attempt: Attempt) -> bool:
        """Run it here after all, in a free slot or the one it has been granted."""
        exchange, unusual = attempt.exchange, attempt.unusual
        attempt.stayed = True
        self._leave_line(attempt)
        unusual.ran, unusual.service_began_s, unusual.blocked_before_s = Ran.SERVER, self.now_s(), unusual.blocked_s
        self._running[exchange] = unusual.service_began_s
        self._room.grant()
        await self._run_here(exchange, attempt.held.receive, attempt.late_s)
        return True

    async def _hand_over(self, attempt: Attempt) -> bool:
        """Try the sibling that was found; False when it had no room and the request is to be decided anew."""
        assert self._siblings is not None
        assert attempt.sibling is not None
        attempt.siblings_tried += 1
        self._leave_line(attempt)
        attempt.unusual.ran = Ran.SIBLING
        send = attempt.exchange.send
        try:
            if await self._siblings.hand_over(attempt.sibling, attempt.scope, attempt.held.receive, send):
                return True
        except BaseException:
            self._usage.add(_FAILED)
            raise
        attempt.unusual.ran = None
        attempt.join_again()
        return False

    async def _read(self, attempt: Attempt) -> None:
        """Take in the body; the time this takes is the client's."""
        before_s = self.now_s()
        await attempt.held.read()
        attempt.unusual.blocked_s += self.now_s() - before_s

    async def _spill(self, attempt: Attempt) -> bool:
        """Run it on a function; False when no function was started and the request is to be decided anew."""
        self._leave_line(attempt)
        try:
            is_done = await self._function_answers.give(attempt, self._room.lag_lately_s)
        except BaseException:
            self._usage.add(_FAILED)
            raise
        if is_done and attempt.held.client_gone:
            self._note_gone()
        return is_done

    async def _wait(self, attempt: Attempt, wait_s: float) -> bool:
        """Wait in line for a slot; who may not run here waits beside the line until functions have room."""
        line = self._functions_line if attempt.placement is Placement.FUNCTIONS else self._room.line
        turn = await attempt.join(line, self.now_s()).wait(wait_s)
        attempt.note_wait(self.now_s())
        if turn is not Turn.GRANTED:
            return False
        if self._room.is_calm(self.now_s()):
            return await self._stay(attempt)
        self._room.give_up(attempt)
        return False

    async def _refuse(self, attempt: Attempt, reason: str) -> bool:
        """Answer 503, and say why and when to come back."""
        attempt.unusual.ran, attempt.unusual.refused_because = Ran.REFUSED, reason
        room = self._room
        retry_after_s = expected_wait_s(len(room.line), self._figures.all_times.recent_s, room.in_flight)
        await send_response(attempt.exchange, refusal(reason, retry_after_s))
        return True

    def _note_gone(self) -> bool:
        self._usage.add(_CLIENT_GONE)
        return True

    def _leave_line(self, attempt: Attempt) -> None:
        """Its place is free; the slot that it may have been granted is given on, unless it is used right now."""
        if attempt.leave_line():
            self._room.take_grant()
            if not attempt.stayed:
                self._room.grant()

    def _stays(self, exchange: Exchange) -> bool:
        """Whether it may run here at all; the access log wants to know more about it."""
        if self._logs:
            exchange.mark_unusual().scope = exchange.scope
        return self._route_of(exchange).stays

    def _route_of(self, exchange: Exchange) -> Route:
        return self._routes.of(exchange.scope["method"], exchange.scope["path"])

    def _tighten(self) -> None:
        """The first request after a rest that does not find room: from now on each slot that becomes free counts."""
        if not self._room.is_tight:
            self._room.is_tight = True
            self._room.publish()
            self._room.look_at_running(self._routes, self.now_s())

    def _slot_freed(self, ended: Exchange | Send) -> None:
        self._room.streams.discard(ended)
        self._room.publish()
        self._room.grant()
        self._note_rest()

    async def _pass_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lifespan as it is; WebSockets stay here and are counted, without a slot: they last, and mostly do nothing."""
        if scope["type"] != "websocket":
            return await self._app(scope, receive, send)
        self._websockets += 1
        self._usage.add(_WEBSOCKETS)
        try:
            await self._app(scope, receive, send)
        finally:
            self._websockets -= 1

    def admit_handed_over(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None] | None:
        """Take a request from a sibling: what to await, or None when this worker has no room.

        A slot is held from this call on, so what it returns must be awaited. The sibling's gate counts the request.
        """
        if self.is_full or self._is_draining:
            return None
        now_s = self.now_s()
        exchange = Exchange(self, scope, send, now_s)
        exchange.mark_unusual().is_guest = True
        self._running[exchange] = now_s
        return self._run_here(exchange, receive, 0.0)

    def rewrite(self, start: Message, exchange: Exchange) -> Message:
        """The head of a response as the client gets it; that of a sibling's request is rewritten by the sibling."""
        if exchange.unusual is not None and exchange.unusual.is_guest:
            return start
        headers = list(start.get("headers", ()))
        if self._says_where_it_ran and exchange.ran is not None:
            headers.append((RAN_HEADER, exchange.ran.name.lower().encode()))
        if self._is_draining:
            headers.append((b"connection", b"close"))
        return {**start, "headers": headers}

    def started(self) -> None:
        """The app is ready: begin to measure lag, and publish this worker's slots."""
        self.beat()

    def beat(self) -> None:
        """Every 10 ms: measure the loop's lag, take in what has finished, let waiting requests in, publish the row."""
        room, now_s = self._room, self.now_s()
        room.measure_lag(now_s)
        self._beats += 1
        is_busy = len(self._kept) + self._unwatched > BUSY_PER_BEAT
        must_watch = self.rewrites_start or not self._is_plain
        self._watches = must_watch or not is_busy or self._beats % SAMPLED_BEATS == 0
        if room.is_tight or self._beats % BEATS_PER_LOOK == 0:
            room.look_at_running(self._routes, now_s)
        self._fold(now_s)
        self.notes_more = self._logs or self._routes.is_learning
        room.find_limit(self._figures, now_s)
        room.grant()
        room.is_tight = room.is_full or self._is_draining or bool(room.streams)
        table, row = self._slots, self._row
        table.set(row, "in_flight", room.in_flight)
        table.set(row, "slots", room.limit)
        table.set(row, "lag_us", int(room.lag_s * 1e6))
        table.set(row, "heartbeat_ms", int(now_s * 1000))
        table.set(row, "websockets", self._websockets)
        table.set(row, "waiting", self._waiting)

    async def drain(self) -> None:
        """Say `connection: close` in every response from now on, and return when no request is left."""
        self._is_draining = self.rewrites_start = self._room.is_tight = self._watches = True
        self._note_rest()
        await self._at_rest.wait()
        self._fold(self.now_s())

    def _fold(self, now_s: float) -> None:
        unwatched, self._unwatched = self._unwatched, 0
        self._figures.fold(now_s, unwatched=unwatched, at_once=self._room.is_tight)

    def _note_rest(self) -> None:
        if self._is_draining and not (self._room.in_flight or self._apart or self._room.streams):
            self._at_rest.set()
        else:
            self._at_rest.clear()

    @property
    def _waiting(self) -> int:
        return len(self._room.line) + len(self._functions_line)

    @property
    def in_flight(self) -> int:
        """Requests that hold a slot."""
        return self._room.in_flight

    @property
    def slots_limit(self) -> int:
        """Slots there are now."""
        return self._room.limit

    @property
    def is_full(self) -> bool:
        """No slot is free, requests wait, or the loop lags: better not to accept a connection."""
        return self._room.is_full or not self._room.is_calm(self.now_s())

    @property
    def routes(self) -> list[Route]:
        """The routes seen so far, with what has been learned about them."""
        return self._routes.all()


_WEBSOCKETS = COUNTER_INDEX["websockets"]
_WAITED = COUNTER_INDEX["waited"]
_CLIENT_GONE = COUNTER_INDEX["client_gone"]
_FAILED = COUNTER_INDEX["failed"]
