"""The instances of one function: who gets which, when another is started, when one ends.

A request takes, whichever comes first, an idle instance (the one used last, so that the rest can end), one that
returns, or a new one. The simulator runs this same code on a virtual clock, so time comes from the event loop and the
clock that is passed in, and instances from whatever forks them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from peaker.app import FunctionSpec
from peaker.clock import Clock
from peaker.errors import AppStartError, PeakerError, Throttled, Unavailable
from peaker.functions.launcher import InstanceDied
from peaker.functions.lease import HeldInstance, InstanceState, Lease
from peaker.functions.starting import AsFastAsCanBe, RunningInstance, Starter, StartModel
from peaker.functions.starts import Starts
from peaker.policy.keep_alive import instances_to_end, next_end_s
from peaker.policy.learned_keep_alive import LearnedKeepAlive
from peaker.policy.starts import Need, PoolCounts, admits, spare_retry_s, start_need
from peaker.policy.stream_pace import StreamPace

_logger = logging.getLogger("peaker.functions.pool")


@dataclass(slots=True)
class PoolTotals:
    """Since the host started."""

    invocations: int = 0
    cold_starts: int = 0
    started: int = 0
    start_failures: int = 0
    throttled: int = 0
    crashed: int = 0
    timed_out: int = 0
    instances_peak: int = 0


TOUCH_REQUEST_ID = "spare-warm-up"

SPARE_PAUSE_S = 0.02
"""After a spare was taken, the next one is started this much later."""

_Turn = asyncio.Future[tuple[HeldInstance, bool]]


class Pool:
    """See the module. Every `acquire` ends: with a lease, an error, or its caller's cancellation.

    `touch` is an event that each spare runs before it is offered, b"" for none. A forked instance shares its pages with
    the zygote until it writes to them, and the first run writes to hundreds (a page fault each, 2 ms for a FastAPI
    app): a spare has the time to do that ahead. With `learned`, that decides what is kept
    idle instead of `keep_alive_s`.
    """

    def __init__(
        self,
        spec: FunctionSpec,
        starter: Starter,
        *,
        starts: Starts,
        clock: Clock,
        model: StartModel | None = None,
        touch: bytes = b"",
        learned: LearnedKeepAlive | None = None,
    ) -> None:
        self.spec = spec
        self._learned = learned
        self._ahead = 0
        self._touch = touch
        self.totals = PoolTotals()
        self._starter = starter
        self._starts = starts
        self._clock = clock
        self._model = model or AsFastAsCanBe()
        self._loop = asyncio.get_running_loop()
        self._used: list[HeldInstance] = []
        self._spares: list[HeldInstance] = []
        self._turns: deque[_Turn] = deque()
        self._starting = self._busy = self._ending = 0
        self._failures_in_a_row = 0
        self._spares_after_s = 0.0
        self._suspended = self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.TimerHandle | None = None
        self._reap_s = 0.0
        self._starts.ask(self)

    @property
    def counts(self) -> PoolCounts:
        """What there is now."""
        return PoolCounts(
            waiting=len(self._turns),
            starting=self._starting,
            busy=self._busy,
            idle=len(self._used) + len(self._spares),
            spares=len(self._spares),
            ending=self._ending,
        )

    @property
    def must_wait_for_another(self) -> bool:
        """No instance is idle, and none can be started before another of this host ends."""
        return not (self._used or self._spares) and self._starts.is_full

    def acquire_idle(self) -> Lease | None:
        """An instance that is there and idle, else None: then `acquire` says why, or waits for one."""
        held = None if self._closed else self._take_idle()
        return Lease(self, held, cold=False) if held is not None else None

    async def acquire(self, wait_s: float) -> Lease:
        """Get an instance for one invocation, within `wait_s`.

        Raises:
            Throttled: `concurrency_max` are running or waiting, or no instance became free in time; not started.
            AppStartError: the instance that was started for it did not get ready.
            Unavailable: the pool is closed.
        """
        if self._closed:
            raise Unavailable("the function host is stopping.")
        held = self._take_idle()
        if held is not None:
            self._note_demand()
            return Lease(self, held, cold=False)
        if not admits(self.counts, self.spec.concurrency_max):
            self.totals.throttled += 1
            raise Throttled(f"{self.spec.name}: {self.spec.concurrency_max} invocations are running or waiting.")
        if not self._model.may_start(self._clock.now_s()):
            self.totals.throttled += 1
            raise Throttled(f"{self.spec.name}: instances are being started as fast as the platform starts them.")
        held, cold = await self._wait_for_turn(wait_s)
        return Lease(self, held, cold=cold)

    def suspend(self) -> None:
        """There is no zygote: start nothing until `resume`. Instances there are go on, requests wait."""
        self._suspended = True

    def resume(self) -> None:
        """The zygote is back."""
        self._suspended = False
        self._starts.ask(self)

    def close(self) -> None:
        """End what is idle, refuse what waits; instances that run end when they return."""
        self._closed = True
        self._starts.forget(self)
        while self._turns:
            self._fail(self._turns.popleft(), Unavailable("the function host is stopping."))
        for held in [*self._used, *self._spares]:
            self._end(held)
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None

    @property
    def stream_pace(self) -> StreamPace:
        """How fast a streamed response leaves."""
        return self._model.stream_pace

    def overhead_s(self) -> float:
        """What the next invocation takes beside its run."""
        return self._model.overhead_s()

    def deadline_s(self) -> float:
        """When an invocation that begins now is killed."""
        return self._clock.now_s() + self.spec.timeout_s

    # Starts calls these two.

    def start_need(self) -> Need:
        """Why one more instance is wanted now; the timers of a closed pool ask in vain."""
        if self._suspended or self._closed:
            return Need.NONE
        return start_need(
            self.counts,
            concurrency_max=self.spec.concurrency_max,
            buffer=max(self.spec.buffer, self._ahead),
            spares_allowed=self._clock.now_s() >= self._spares_after_s,
        )

    def start_one(self) -> None:
        """Begin one start."""
        self._starting += 1
        self.totals.instances_peak = max(self.totals.instances_peak, self.counts.live)
        task = self._loop.create_task(self._start())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        asked_s = self._clock.now_s()
        instance, error = await self._fork()
        # Not in a `finally`: cancelled means that the loop is being torn down, and nothing may be started then.
        self._starts.start_ended()
        if instance is None:
            self._starting -= 1
            self._start_failed(error or AppStartError())
            self._starts.process_ended()
            return
        held = HeldInstance(instance, InstanceState.STARTING, self._clock.now_s())
        instance.on_exit = lambda _: self._exited(held)
        took_s = self._clock.now_s() - asked_s
        start_s = self._model.start_s(took_s)
        if start_s > took_s:
            instance.init_ms = start_s * 1000
            await asyncio.sleep(start_s - took_s)
        if self._touch and not self._turns:
            error = await self._run_touch(instance)
        self._starting -= 1
        self._started(held, error)

    async def _fork(self) -> tuple[RunningInstance | None, PeakerError | None]:
        try:
            return await self._starter.fork(), None
        except PeakerError as error:
            return None, error
        except Exception as error:
            _logger.exception("an instance of %s could not be started", self.spec.name, extra={"action": "start"})
            return None, AppStartError(f"{type(error).__name__}: {error}")

    async def _run_touch(self, instance: RunningInstance) -> PeakerError | None:
        try:
            await instance.run(self._touch, request_id=TOUCH_REQUEST_ID, deadline_s=self.deadline_s())
        except InstanceDied as death:
            return AppStartError(f"it ended while it answered its warm-up: {death}")
        return None

    def _started(self, held: HeldInstance, error: PeakerError | None) -> None:
        if error is not None or not held.instance.alive:
            self._start_failed(error or AppStartError("it ended as soon as it had started."))
            if held.state is InstanceState.STARTING:
                held.state = InstanceState.ENDING
                self._ending += 1
                held.instance.kill()
            return
        self._failures_in_a_row = 0
        self.totals.started += 1
        self._busy += 1
        held.state = InstanceState.BUSY
        self._offer(held, cold=True)

    def _start_failed(self, error: PeakerError) -> None:
        self.totals.start_failures += 1
        if isinstance(error, Unavailable):
            self._suspended = True
        elif self._turns:
            self._fail(self._turns.popleft(), error)
            self._note_demand()
        else:
            self._failures_in_a_row += 1
            retry_s = spare_retry_s(self._failures_in_a_row)
            self._spares_after_s = self._clock.now_s() + retry_s
            _logger.warning("a spare of %s did not start: %s", self.spec.name, error, extra={"action": "start"})
            self._loop.call_later(retry_s, self._starts.ask, self)
        self._starts.ask(self)

    async def _wait_for_turn(self, wait_s: float) -> tuple[HeldInstance, bool]:
        turn: _Turn = self._loop.create_future()
        self._turns.append(turn)
        self._note_demand()
        timer = self._loop.call_later(wait_s, self._give_up, turn, wait_s)
        self._starts.ask(self)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(turn.result()[0])  # Its turn had come in the very moment.
            else:
                self._forget(turn)
            raise
        finally:
            timer.cancel()

    def _give_up(self, turn: _Turn, wait_s: float) -> None:
        self._forget(turn)
        self.totals.throttled += 1
        self._fail(turn, Throttled(f"{self.spec.name}: no instance became free within {wait_s:g} s."))

    def _forget(self, turn: _Turn) -> None:
        if turn in self._turns:
            self._turns.remove(turn)
            self._note_demand()

    @staticmethod
    def _fail(turn: _Turn, error: PeakerError) -> None:
        if not turn.done():
            turn.set_exception(error)

    def _take_idle(self) -> HeldInstance | None:
        """The one used last; spares only after those, and then another is started in its place."""
        while stack := self._used or self._spares:
            held = stack.pop()
            self._busy += 1
            held.state = InstanceState.BUSY
            if not held.instance.alive:
                self._leave(held)  # It died this very moment; a request must not be lost to it.
                continue
            if self._model.freezes:
                held.instance.thaw()
            if stack is self._spares and self.spec.buffer:
                # Not now: making the next spare would take the CPU from the request that has just got this one.
                self._loop.call_later(SPARE_PAUSE_S, self._starts.ask, self)
            return held
        return None

    def _offer(self, held: HeldInstance, *, cold: bool) -> None:
        """`held` is BUSY with nobody; give it to the longest waiting, else let it idle."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result((held, cold))
                self._note_demand()
                return
        self._busy -= 1
        held.state = InstanceState.IDLE
        held.idle_since_s = self._clock.now_s()
        (self._used if held.used else self._spares).append(held)
        if self._closed:
            self._end(held)
            return
        if self._model.freezes:
            held.instance.freeze()
        if self._learned is None:
            self._arm_reaper()
        else:
            self._note_demand()

    def give_back(self, held: HeldInstance) -> None:
        """A lease has ended."""
        if held.state is not InstanceState.BUSY:
            return
        if held.instance.alive:
            self._offer(held, cold=False)
        else:
            self._leave(held)

    def _leave(self, held: HeldInstance) -> None:
        """It is BUSY and will not be used again; `on_exit` follows."""
        if held.state is InstanceState.BUSY:
            held.state = InstanceState.ENDING
            self._busy -= 1
            self._ending += 1
            self._note_demand()
            self._starts.ask(self)

    def note_death(self, held: HeldInstance, error: InstanceDied) -> None:
        """A run ended with its process; its place is free at once, though the process may take a while to end."""
        self._leave(held)
        if error.timed_out:
            self.totals.timed_out += 1
        else:
            self.totals.crashed += 1

    def _end(self, held: HeldInstance) -> None:
        (self._used if held.used else self._spares).remove(held)
        held.state = InstanceState.ENDING
        self._ending += 1
        if self._model.freezes:
            held.instance.thaw()  # A frozen process could not end itself.
        held.instance.close()

    def _exited(self, held: HeldInstance) -> None:
        was, held.state = held.state, InstanceState.GONE
        if was is InstanceState.GONE:
            return
        if was is InstanceState.BUSY:
            self._busy -= 1
            self._note_demand()
        elif was is InstanceState.ENDING:
            self._ending -= 1
        elif was is InstanceState.IDLE:
            (self._used if held.used else self._spares).remove(held)
        self._starts.process_ended()
        if not self._closed:
            self._starts.ask(self)

    def _arm_reaper(self) -> None:
        if self._reaper is not None:
            return
        keep_alive_s = self.spec.keep_alive_s
        ends = [
            next_end_s([held.idle_since_s for held in self._used], keep_alive_s=keep_alive_s),
            next_end_s([h.idle_since_s for h in self._spares], keep_alive_s=keep_alive_s, keep=self.spec.buffer),
        ]
        known = [end_s for end_s in ends if end_s is not None]
        if known:
            self._reaper = self._loop.call_later(max(0.0, min(known) - self._clock.now_s()), self._reap)

    def _note_demand(self) -> None:
        if self._learned is None or self._closed:
            return
        ask_s = self._learned.demand(self._busy + len(self._turns), self._clock.now_s())
        if self._ahead:
            self._count_ahead()
        if ask_s is not None:
            self._reap_learned_at(ask_s)

    def _reap_learned_at(self, when_s: float) -> None:
        if self._reaper is not None:
            if self._reap_s <= when_s:
                return
            self._reaper.cancel()
        self._reap_s = when_s
        self._reaper = self._loop.call_later(max(0.0, when_s - self._clock.now_s()), self._reap_learned)

    def _count_ahead(self) -> int:
        """How many idle instances are to be kept; sets how many of them are to be started as spares."""
        assert self._learned is not None
        kept = self._learned.kept(self._clock.now_s())
        self._ahead = max(0, kept.instances - len(self._used)) if kept.ahead else 0
        return kept.instances

    def _reap_learned(self) -> None:
        """End what no level's window holds, and start what one that opens wants. `buffer` comes on top."""
        assert self._learned is not None
        self._reaper = None
        keep = self._count_ahead()
        for held in self._used[: max(0, len(self._used) - keep)]:
            self._end(held)
        spares = max(self.spec.buffer, keep - len(self._used))
        for held in self._spares[: max(0, len(self._spares) - spares)]:
            self._end(held)
        if self._ahead:
            self._starts.ask(self)
        next_s = self._learned.next_change_s(self._clock.now_s())
        if next_s is not None:
            self._reap_learned_at(next_s)

    def _reap(self) -> None:
        self._reaper = None
        now_s, keep_alive_s = self._clock.now_s(), self.spec.keep_alive_s
        for stack, keep in ((self._used, 0), (self._spares, self.spec.buffer)):
            idle_since_s = [held.idle_since_s for held in stack]
            count = instances_to_end(idle_since_s, now_s=now_s, keep_alive_s=keep_alive_s, keep=keep)
            for held in stack[:count]:
                self._end(held)
        self._arm_reaper()
