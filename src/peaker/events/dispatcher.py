"""From the queue to the functions: leases what is due, as much as may run at once, and sees each run to its end.

One loop leases and starts; each run is a task of its own, so that a slow one holds up nobody. A heartbeat extends the
leases of what runs, so that `lease_s` need not be as long as a function may run: it is how much later an event is run
again whose dispatcher was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from peaker.clock import Clock
from peaker.errors import QueueBroken, QueueUnavailable
from peaker.events.invoking import ANSWER_MARGIN_S, INSTANCE_WAIT_S_MAX, Invoke, Ran
from peaker.events.lanes import FunctionLanes
from peaker.events.queue import Lease, Line, Outcome, Queue
from peaker.events.runs import Run, Runs
from peaker.policy.dispatch import (
    BATCH_BYTES_MAX,
    Lane,
    batch_moment_s,
    brake_after_run,
    brake_after_throttle,
    room,
)
from peaker.policy.retry import Ending, Reason

LEASED_AT_ONCE_MAX = 256
LOOK_AGAIN_S = 0.05
"""While one line is worked off, all others are looked at this often."""

LOST_LOOK_S = 0.5

HOST_PAUSE_S = 0.02
HOST_PAUSE_S_MAX = 0.5
DISK_PAUSE_S = 0.5
EXTENDED_AT_ONCE_MAX = 500

_logger = logging.getLogger("peaker.events")


class Dispatcher:
    """Runs until `drain`. `lanes` are those of all functions; an event of any other is a dead letter.

    `on_ended` hears of each run when what came of it is on disk.
    """

    def __init__(
        self,
        queue: Queue,
        runs: Runs,
        invoke: Invoke,
        *,
        lanes: Mapping[str, FunctionLanes],
        lease_s: float,
        clock: Clock,
        on_ended: Callable[[Run], None] | None = None,
    ) -> None:
        self._on_ended = on_ended
        self._queue = queue
        self._runs = runs
        self._invoke = invoke
        self._lanes = lanes
        self._lease_s = lease_s
        self._clock = clock
        self._by_id: dict[str, Run] = {}
        self._in_lane: Counter[Lane] = Counter()
        self._in_function: Counter[str] = Counter()
        self._brakes: dict[Lane, int] = {}
        self._tasks: dict[asyncio.Task[None], Run] = {}
        self._backlog: dict[tuple[str, str], Lane] = {}
        self._leased: Counter[tuple[str, str]] = Counter()
        self._lost_looked_s: dict[tuple[str, str], float] = {}
        self._looked_s = float("-inf")
        self._host_is_away = False
        self._loops: list[asyncio.Task[None]] = []

    @property
    def running(self) -> int:
        """Runs that are under way."""
        return sum(self._in_function.values())

    def start(self) -> asyncio.Future[None]:
        """Begin. What is returned fails where the dispatcher does, through a mistake of its own."""
        loop = asyncio.get_running_loop()
        self._loops = [loop.create_task(self._lease_for_ever()), loop.create_task(self._beat())]
        return asyncio.ensure_future(_first_failure(self._loops))

    async def drain(self, timeout_s: float) -> bool:
        """Start nothing more, let what runs end; False where `timeout_s` was too short for some.

        What is cut off runs on in the function host, and nobody hears its answer: its lease is made to last until the
        function's time is over, so that the event does not run twice at once.
        """
        lease, beat = self._loops
        lease.cancel()
        await asyncio.wait([lease])  # What it was about to start is started, or is leased for nobody and runs again.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        beat.cancel()
        cut_off = [task for task in self._tasks if not task.done()]
        for task in cut_off:
            run = self._tasks[task]
            task.cancel()
            left_s = max(self._lease_s, run.until_s - self._clock.now_s())
            with contextlib.suppress(QueueUnavailable):  # Then the lease ends sooner, and the event may run twice.
                await self._queue.extend(run.leases, left_s)
        await asyncio.wait([*self._loops, *cut_off])
        return not cut_off

    # Leasing.

    async def _lease_for_ever(self) -> None:
        while True:
            try:
                await self._look()
            except QueueBroken:
                raise  # this process has to begin anew
            except QueueUnavailable as error:
                _logger.error("the queue cannot be read, trying again: %s", error, extra={"action": "event"})  # noqa: TRY400
                await asyncio.sleep(DISK_PAUSE_S)

    async def _look(self) -> None:
        """Start what may be started now, and wait until that may be more."""
        woken = self._queue.woken
        woken.clear()
        if self._host_is_away:
            await self._wait_for_host()
        if not self._backlog or self._clock.now_s() - self._looked_s >= LOOK_AGAIN_S:
            next_s = await self._look_at_all()
        else:
            next_s = self._clock.epoch_s() + LOOK_AGAIN_S
        for key, lane in tuple(self._backlog.items()):
            await self._fill(*key, lane)
        if woken.is_set() or self._host_is_away or any(map(self._room, self._backlog.values())):
            return
        timeout_s = None if next_s is None else max(0.0, next_s - self._clock.epoch_s())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await woken.wait()

    async def _look_at_all(self) -> float | None:
        """Put every line of which something may run now into the backlog; the moment at which to look again."""
        self._looked_s = self._clock.now_s()
        self._backlog.clear()
        moments = []
        now_s = self._clock.epoch_s()
        due_max = max((lane.batch_size for of in self._lanes.values() for lane in of.by_source.values()), default=1)
        for line in await self._queue.lines(due_max=max(1, due_max)):
            lanes = self._lanes.get(line.function)
            if lanes is None:
                await self._bury_unknown(line)
                moments.append(now_s + LOST_LOOK_S)
                continue
            lane = lanes.of(line.source)
            moment_s = self._moment_s(lane, line)
            # A killed dispatcher's leases are given back by leasing when they have run out; until then they run.
            if line.running > self._leased[line.function, line.source]:
                lost_s = self._lost_moment_s(line, now_s)
                moment_s = lost_s if moment_s is None else min(moment_s, lost_s)
                moments.append(now_s + LOST_LOOK_S)
            if moment_s is not None and moment_s <= now_s:
                self._backlog[line.function, line.source] = lane
            elif moment_s is not None:
                moments.append(moment_s)
        return min(moments, default=None)

    def _lost_moment_s(self, line: Line, now_s: float) -> float:
        """When to lease from a line of which others hold something: now and then, for that may run out any time."""
        key = line.function, line.source
        moment_s = self._lost_looked_s.get(key, float("-inf")) + LOST_LOOK_S
        if moment_s <= now_s:
            self._lost_looked_s[key] = now_s
        return moment_s

    @staticmethod
    def _moment_s(lane: Lane, line: Line) -> float | None:
        if line.first_due_s is None:
            return None
        if not lane.batch_size:
            return line.first_due_s
        return batch_moment_s(lane, due=line.due, first_due_s=line.first_due_s)

    async def _fill(self, function: str, source: str, lane: Lane) -> None:
        """Lease and start as much of one line as there is room for."""
        begun = 0
        while not self._host_is_away and (left := self._room(lane)) > 0:
            at_most = lane.batch_size or min(left, LEASED_AT_ONCE_MAX)
            leases = await self._queue.lease(
                function,
                at_most=at_most,
                lease_s=self._lease_s,
                source=source,
                bytes_max=BATCH_BYTES_MAX if lane.batch_size else None,
            )
            fresh = [lease for lease in leases if not self._is_held(lease)]
            groups = [fresh] if lane.batch_size else [[lease] for lease in fresh]
            for group in groups:
                if group:
                    self._begin(Run(lane, group, self._over_s(lane), (function, source)))
            begun += len(leases)
            if lane.batch_size or len(leases) < at_most:
                # What is left (another batch, a retry that comes later) is seen when all lines are looked at.
                del self._backlog[function, source]
                if leases:
                    self._looked_s = float("-inf")
                    self._queue.woken.set()
                return
            if begun >= LEASED_AT_ONCE_MAX:
                return  # Others have their turn.

    def _is_held(self, lease: Lease) -> bool:
        """It is running here: its lease ran out while this process (or the whole machine) stood still.

        The run that is under way goes on under the new lease, so that the event does not run twice at once.
        """
        run = self._by_id.get(lease.event.id)
        if run is None:
            return False
        run.leases[:] = [lease if held.event.id == lease.event.id else held for held in run.leases]
        return True

    def _over_s(self, lane: Lane) -> float:
        return self._clock.now_s() + INSTANCE_WAIT_S_MAX + lane.timeout_s + ANSWER_MARGIN_S

    def _room(self, lane: Lane) -> int:
        return room(
            lane,
            in_lane=self._in_lane[lane],
            in_function=self._in_function[lane.function],
            function_max=self._lanes[lane.function].function_max,
            brake=self._brakes.get(lane),
        )

    async def _bury_unknown(self, line: Line) -> None:
        """Its function is gone from the settings, perhaps for a while: kept for a person, who can send it again."""
        leases = await self._queue.lease(
            line.function, at_most=LEASED_AT_ONCE_MAX, lease_s=self._lease_s, source=line.source
        )
        if leases:
            error = f"there is no function {line.function!r} in the settings."
            late = await self._queue.bury(leases, reason=Reason.REFUSED.value, outcome=Outcome.NOT_STARTED, error=error)
            self._runs.tally.dead += len(leases) - len(late)
            _logger.warning("%d events are dead letters: %s", len(leases), error, extra={"action": "event"})
            self._queue.woken.set()

    # Runs.

    def _begin(self, run: Run) -> None:
        self._in_lane[run.lane] += 1
        self._in_function[run.lane.function] += 1
        self._by_id.update(dict.fromkeys(run.ids, run))
        self._leased[run.line] += len(run.ids)
        task = asyncio.get_running_loop().create_task(self._run(run))
        self._tasks[task] = run
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        run = self._tasks.pop(task)
        self._leased[run.line] -= len(run.ids)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The event's lease runs out, and it is run again: a mistake of this process loses none.
            _logger.error("a run for %s went wrong here", run.lane.function, exc_info=error, extra={"action": "event"})

    async def _run(self, run: Run) -> None:
        try:
            if not await self._runs.prepare(run):
                return
            await self._runs.invoke(run)
        finally:
            # The instance is free from here on; writing down how it went is no reason for another to wait.
            self._in_lane[run.lane] -= 1
            self._in_function[run.lane.function] -= 1
            for known in run.ids:
                self._by_id.pop(known, None)
            self._queue.woken.set()
        assert run.ran is not None
        self._learn(run.lane, run.ran)
        await self._runs.end(run)
        if self._on_ended is not None:
            self._on_ended(run)

    def _learn(self, lane: Lane, ran: Ran) -> None:
        if ran.host_is_away:
            self._host_is_away = True
        elif ran.was_throttled:
            self._brakes[lane] = brake_after_throttle(self._in_lane[lane] + 1)
        elif ran.ending is not Ending.NOT_STARTED and (brake := self._brakes.get(lane)) is not None:
            wider = brake_after_run(brake, lane.at_once_max)
            if wider is None:
                del self._brakes[lane]
            else:
                self._brakes[lane] = wider

    async def _wait_for_host(self) -> None:
        """There is nobody who could run anything: lease nothing until there is."""
        pause_s = HOST_PAUSE_S
        while not self._invoke.is_there():
            await asyncio.sleep(pause_s)
            pause_s = min(HOST_PAUSE_S_MAX, pause_s * 2)
        self._host_is_away = False

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            leases = [lease for run in self._tasks.values() for lease in run.leases]
            for start in range(0, len(leases), EXTENDED_AT_ONCE_MAX):
                try:
                    await self._queue.extend(leases[start : start + EXTENDED_AT_ONCE_MAX], self._lease_s)
                except QueueUnavailable as error:
                    _logger.warning("leases could not be extended: %s", error, extra={"action": "event"})


async def _first_failure(loops: list[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
