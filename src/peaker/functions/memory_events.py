"""Events of asynchronous invocations, kept in memory: run in order of arrival, tried again as Lambda does.

An event lives as one task: it waits for its turn (a function has `concurrency_max` of them), runs, and where that
fails waits and tries again (policy/retry.py). It is acknowledged once it is kept here, and here means this process:
what a stopping host has not run by its end is told in the log, event by event, and what a killed host held is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from peaker.clock import Clock
from peaker.functions.invocations import InvocationLog, Ran
from peaker.functions.prepared import Prepared
from peaker.policy.retry import EVENT_AGE_S_MAX, Ending, GiveUp, History, Reason, next_step
from peaker.units import MIB
from peaker.wire.lambda_errors import EVENT_RATE, InvokeApiError, too_many_requests

EVENTS_MAX = 10_000
BYTES_MAX = 256 * MIB
"""Payloads kept, of all functions together."""

_ERROR_TOLD_BYTES = 300

LOST_TOLD_MAX = 20
"""Lost events named one by one to whoever stops the host; the function log names all."""

_logger = logging.getLogger("peaker.functions.events")

Run = Callable[[Prepared], Awaitable[Ran]]


class Stage(Enum):
    """Where an event is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"


@dataclass(slots=True, eq=False)
class _Kept:
    event: Prepared
    since_s: float
    stage: Stage = Stage.WAITING
    attempts: int = 0
    failures: int = 0
    not_started: int = 0
    last_error: str = ""


class MemoryEvents:
    """An `EventIntake`.

    Args:
        run: runs an event once; raises InvokeApiError where it was not started.
        log: where the fate of each event is written.
        clock: of the event loop.
        events_max: kept at once, waiting, running and to be tried again; further ones are refused with 429.
        bytes_max: payloads of those.
        age_s_max: older events are given up.
    """

    def __init__(
        self,
        run: Run,
        *,
        log: InvocationLog,
        clock: Clock,
        events_max: int = EVENTS_MAX,
        bytes_max: int = BYTES_MAX,
        age_s_max: float = EVENT_AGE_S_MAX,
    ) -> None:
        self._run = run
        self._log = log
        self._clock = clock
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._age_s_max = age_s_max
        self._kept: dict[_Kept, asyncio.Task[None]] = {}
        self._bytes = 0
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._draining = False
        self.succeeded = 0
        self.given_up = 0
        self.lost = 0

    @property
    def counts(self) -> dict[str, int]:
        """For people: events in each stage now, and how many ended how since the host started."""
        stages = Counter(kept.stage for kept in self._kept)
        return {
            **{stage.value: stages[stage] for stage in Stage},
            "succeeded": self.succeeded,
            "given_up": self.given_up,
            "lost": self.lost,
        }

    async def take(self, event: Prepared) -> None:
        """Keep it and run it in its turn.

        Raises:
            InvokeApiError: 429, as many events or bytes are kept as may be.
        """
        if len(self._kept) >= self._events_max or self._bytes + len(event.payload) > self._bytes_max:
            why = f"{len(self._kept)} events with {self._bytes} bytes are kept already."
            raise too_many_requests(EVENT_RATE, why, retry_after_s=5.0)
        if self._draining:
            raise too_many_requests(EVENT_RATE, "the function host is stopping.")
        kept = _Kept(event, self._clock.now_s())
        self._bytes += len(event.payload)
        self._kept[kept] = asyncio.get_running_loop().create_task(self._live(kept))

    async def drain(self, timeout_s: float) -> int:
        """Run what waits for its turn, for at most this long; returns how many events are lost in all.

        An event that waits to be tried again would be tried after the end, so it is lost at once; so is one that
        fails from now on.
        """
        self._draining = True
        self._lose(kept for kept in self._kept if kept.stage is Stage.RETRYING)
        if self._kept:
            await asyncio.wait(self._kept.values(), timeout=timeout_s)
        self._lose(self._kept)
        if self.lost > LOST_TOLD_MAX:
            _logger.warning("events lost with this host: %d in all", self.lost, extra={"action": "event"})
        return self.lost

    async def _live(self, kept: _Kept) -> None:
        """The life of one event."""
        turns = self._turns.setdefault(kept.event.function, asyncio.Semaphore(kept.event.pool.spec.concurrency_max))
        try:
            while True:
                async with turns:
                    if self._age_s(kept) > self._age_s_max:
                        self._give_up(kept, Reason.EVENT_AGE_EXCEEDED)
                        return
                    kept.stage = Stage.RUNNING
                    ending = await self._attempt(kept)
                if ending is Ending.SUCCEEDED:
                    self.succeeded += 1
                    return
                step = next_step(self._history(kept), age_s_max=self._age_s_max)
                if isinstance(step, GiveUp):
                    self._give_up(kept, step.reason)
                    return
                if self._draining:
                    self._lose([kept])
                    return
                kept.stage = Stage.RETRYING
                await asyncio.sleep(step.after_s)
                kept.stage = Stage.WAITING
        finally:
            self._bytes -= len(kept.event.payload)
            self._kept.pop(kept, None)

    async def _attempt(self, kept: _Kept) -> Ending:
        kept.attempts += 1
        try:
            ran = await self._run(kept.event)
        except InvokeApiError as error:
            kept.not_started += 1
            kept.last_error = f"{error.kind}: {error}"
            return Ending.NOT_STARTED
        except Exception as error:
            # A mistake of the host's own: what Lambda calls a system error, after which an event is tried again.
            _logger.exception("an event of %s could not be run", kept.event.function, extra={"action": "event"})
            kept.not_started += 1
            kept.last_error = type(error).__name__
            return Ending.NOT_STARTED
        kept.not_started = 0
        if not ran.function_error:
            return Ending.SUCCEEDED
        kept.failures += 1
        kept.last_error = ran.payload[:_ERROR_TOLD_BYTES].decode("utf-8", "replace")
        return Ending.FAILED

    def _age_s(self, kept: _Kept) -> float:
        return self._clock.now_s() - kept.since_s

    def _history(self, kept: _Kept) -> History:
        return History(failures=kept.failures, not_started=kept.not_started, age_s=self._age_s(kept))

    def _give_up(self, kept: _Kept, reason: Reason) -> None:
        self.given_up += 1
        text = f"event discarded: {reason.value} after {_times(kept)}; {kept.last_error or 'it never ran'}"
        self._log.write(kept.event.function, kept.event.request_id, text)
        _logger.warning("%s %s: %s", kept.event.function, kept.event.request_id, text, extra={"action": "event"})

    def _lose(self, lost: Iterable[_Kept]) -> None:
        """The host ends before these have been run; say so of each."""
        for kept in list(lost):
            self.lost += 1
            task = self._kept.pop(kept, None)
            text = f"event lost: the function host stopped while it was {kept.stage.value}, after {_times(kept)}"
            self._log.write(kept.event.function, kept.event.request_id, text)
            if self.lost <= LOST_TOLD_MAX:
                _logger.warning(
                    "%s %s: %s", kept.event.function, kept.event.request_id, text, extra={"action": "event"}
                )
            if task is not None and task is not asyncio.current_task():
                task.cancel()


def _times(kept: _Kept) -> str:
    return f"{kept.attempts} attempt{'' if kept.attempts == 1 else 's'}"
