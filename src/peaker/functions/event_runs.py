"""Runs for events, known for a while after they have ended, so that an answer that was lost need not be run for again.

The events process may die while a function runs for it, and then nobody hears what came of it. Its heir asks again,
under the same event's id and the same number of failures heard of, and says that it is asking again: it is given the
run that is under way, or the answer of the one that has ended. Whatever is asked for the first time is run.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from peaker.clock import Clock
from peaker.functions.invocations import Ran, SetOnGone
from peaker.functions.prepared import Prepared
from peaker.units import MIB

KEPT_S_MAX = 120.0
"""Longer than a lease may be and an events process takes to be started again."""

KEPT_MAX = 2_000
KEPT_BYTES_MAX = 32 * MIB

Run = Callable[[Prepared, SetOnGone], Awaitable[Ran]]


@dataclass(slots=True, eq=False)
class _Known:
    key: tuple[str, str]
    task: asyncio.Task[Ran] | None = None
    ended_s: float = 0.0
    answer_bytes: int = 0


class EventRuns:
    """Those of one host; `run` runs one, and raises InvokeApiError where it was not started."""

    def __init__(self, run: Run, clock: Clock) -> None:
        self._run = run
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._kept_bytes = 0

    async def run(self, prepared: Prepared, number: str, *, is_again: bool, set_on_gone: SetOnGone) -> Ran:
        """Run it, or answer from the run of this event and number that is known; errors as `Run`."""
        key = prepared.request_id, number
        known = self._known.get(key)
        if known is None or known.task is None or not is_again:
            if known is not None:
                self._forget(known)
            known = self._known[key] = _Known(key)
            known.task = asyncio.get_running_loop().create_task(self._first(known, prepared, set_on_gone))
            known.task.add_done_callback(_heard)
        # A caller that leaves takes its own waiting with it, not the run.
        return await asyncio.shield(known.task)

    async def _first(self, known: _Known, prepared: Prepared, set_on_gone: SetOnGone) -> Ran:
        try:
            ran = await self._run(prepared, set_on_gone)
        except BaseException:
            # Not started, or its caller left while it waited for an instance: there is nothing to be known.
            self._forget(known)
            raise
        if self._known.get(known.key) is known:
            known.ended_s, known.answer_bytes = self._clock.now_s(), len(ran.payload)
            self._kept_bytes += known.answer_bytes
            self._known.move_to_end(known.key)
            self._trim()
        return ran

    def _trim(self) -> None:
        """Forget those that ended first, until the rest is within its bounds."""
        now_s = self._clock.now_s()
        while (oldest := next((known for known in self._known.values() if known.ended_s), None)) is not None:
            is_old = now_s - oldest.ended_s > KEPT_S_MAX
            if not (is_old or len(self._known) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX):
                return
            self._forget(oldest)

    def _forget(self, known: _Known) -> None:
        if self._known.get(known.key) is known:
            del self._known[known.key]
            self._kept_bytes -= known.answer_bytes


def _heard(task: asyncio.Task[Ran]) -> None:
    """Whoever waits has the error; where nobody does any more, it is nobody's."""
    if not task.cancelled():
        task.exception()
