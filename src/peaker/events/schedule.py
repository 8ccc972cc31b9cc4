"""Schedules: at each moment one asks for, an event is put into the queue.

A moment is run for once: its event's id and deduplication key are made from schedule and moment, and the queue holds
the key for longer than a moment can be made up for. So whenever this process is killed, what it did last is either in
the queue or done again by the next one. How far each schedule has come is remembered in `schedules.json`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peaker.clock import Clock
from peaker.errors import PeakerError
from peaker.events.schedule_memory import ScheduleMemory
from peaker.functions.context import ACCOUNT_ID
from peaker.local_time import zone_of
from peaker.messages import Event
from peaker.policy.schedule import Schedule, decide
from peaker.schedule_expression import parse_expression
from peaker.settings import Settings
from peaker.triggers import Kind, TriggerSection
from peaker.wire import eventbridge
from peaker.wire.aws_event import to_payload

LOOK_S_MAX = 15.0
"""The clock is looked at this often at the least: it may be set while nothing is due."""

_LOOK_S_MIN = 0.001

AGAIN_S = 1.0
"""After an event that could not be put."""

DEDUP_S_MIN = 2 * 86_400.0
"""How long a moment is known at the least; longer where moments may be made up for after a longer time."""

_NAMESPACE = uuid.UUID("5c0fb3c8-9b2e-4a0b-8d39-0a6c9d1c7f11")

_logger = logging.getLogger("peaker.events.schedule")


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One `[[function.on]] schedule` of an app. `key` is the same as long as what it asks for is."""

    function: str
    trigger: TriggerSection
    schedule: Schedule
    key: str

    @property
    def rule(self) -> str:
        """A name for it where EventBridge has a rule's."""
        return f"{self.function}-{uuid.uuid5(_NAMESPACE, self.key).hex[:8]}"

    def event_at(self, moment_s: float, region: str) -> Event:
        """The event of this moment, the same however often it is made."""
        name = f"{self.key}@{moment_s!r}"
        event_id = str(uuid.uuid5(_NAMESPACE, name))
        trigger = self.trigger
        payload = trigger.input.encode() or to_payload(
            eventbridge.scheduled(self.rule, event_id=event_id, epoch_s=moment_s, account=ACCOUNT_ID, region=region)
        )
        return Event(
            id=event_id,
            function=self.function,
            payload=payload,
            source=f"{Kind.SCHEDULE.value}/{trigger.schedule}",
            dedup_key=event_id,
            dedup_s=max(DEDUP_S_MIN, trigger.missed_s_max + DEDUP_S_MIN / 2),
        )


def scheduled_in(settings: Settings) -> list[Scheduled]:
    """All schedules of an app whose settings were checked."""
    found = []
    for function in settings.started:
        for trigger in function.on:
            if trigger.kind is Kind.SCHEDULE:
                zone = zone_of(trigger.timezone)
                assert zone is not None
                key = json.dumps([function.name, trigger.schedule, trigger.timezone, trigger.input])
                schedule = Schedule(parse_expression(trigger.schedule), zone)
                found.append(Scheduled(function.name, trigger, schedule, key))
    return found


class Schedules:
    """Puts the events of `scheduled` from `start` to `stop`.

    Args:
        scheduled: what is asked for.
        put: has an event kept; when it returns, it is on disk.
        memory: how far each has come.
        clock: its calendar says what is due.
        region: told in the events.
    """

    def __init__(
        self,
        scheduled: list[Scheduled],
        put: Callable[[Event], Awaitable[object]],
        *,
        memory: ScheduleMemory,
        clock: Clock,
        region: str,
    ) -> None:
        self._scheduled = scheduled
        self._put = put
        self._memory = memory
        self._clock = clock
        self._region = region
        self._ended: set[str] = set()
        self._next_s: dict[str, float] = {}
        self._looked_s = -math.inf
        self._task: asyncio.Task[None] | None = None
        memory.keep_only(each.key for each in scheduled)

    def start(self) -> asyncio.Task[None]:
        """Begin. What is returned fails where this does, through a mistake of its own."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self._task

    async def stop(self) -> None:
        """Put nothing more. Nothing is lost by that: what is due meanwhile is made up for."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def describe(self) -> list[dict[str, Any]]:
        """For people: each schedule and when it is due next, in epoch seconds."""
        return [
            {
                "function": each.function,
                "schedule": each.trigger.schedule,
                "next_s": next_s if next_s < math.inf else None,
            }
            for each in self._scheduled
            if (next_s := self._next_s.get(each.key, math.inf))
        ]

    async def _run(self) -> None:
        while True:
            wait_s = await self.step()
            await asyncio.sleep(wait_s)

    async def step(self) -> float:
        """Put what is due now; returns after how many seconds to look again."""
        now_s = self._clock.epoch_s()
        is_set_back, self._looked_s = now_s < self._looked_s, now_s
        for each in self._scheduled:
            self._memory.of(each.key, now_s)
        # Where a new schedule begins must be known for good before anything follows from it.
        await self._memory.write()
        for each in self._scheduled:
            if is_set_back or self._next_s.get(each.key, now_s) <= now_s:
                self._next_s[each.key] = await self._look(each)
        await self._memory.write()
        next_s = min(self._next_s.values(), default=math.inf) - self._clock.epoch_s()
        return max(_LOOK_S_MIN, min(LOOK_S_MAX, next_s))

    async def _look(self, each: Scheduled) -> float:
        """Put what is due of one schedule; returns when to look at it again, infinity for never."""
        progress = self._memory.of(each.key, self._looked_s)
        due = decide(
            each.schedule,
            anchor_s=progress.anchor_s,
            done_s=progress.done_s,
            now_s=self._looked_s,
            missed_s_max=each.trigger.missed_s_max,
        )
        if due.run_s is not None:
            try:
                await self._put(each.event_at(due.run_s, self._region))
            except PeakerError as error:  # It stays due: the moment is not settled.
                _logger.warning(
                    "%s of %s: %s", each.trigger.schedule, each.function, error, extra={"action": "schedule"}
                )
                return self._looked_s + AGAIN_S
        self._tell(each, due.missed, due.lapsed_s, due.next_s)
        self._memory.settle(each.key, due.done_s)
        return math.inf if due.next_s is None else due.next_s

    def _tell(self, each: Scheduled, missed: int, lapsed_s: float | None, next_s: float | None) -> None:
        name = f"{each.trigger.schedule} of {each.function}"
        if missed:
            _logger.warning(
                "%s: %d moments passed while nothing ran; the last is made up for", name, missed + 1,
                extra={"action": "schedule"},
            )  # fmt: skip
        if lapsed_s is not None:
            _logger.warning(
                "%s: missed since %s and not made up for, as missed_s_max = %g", name, _shown(lapsed_s),
                each.trigger.missed_s_max, extra={"action": "schedule"},
            )  # fmt: skip
        if next_s is None and each.key not in self._ended:
            self._ended.add(each.key)
            _logger.warning("%s has no moment left", name, extra={"action": "schedule"})


def _shown(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")
