"""Schedules on a virtual clock: each moment once over restarts, kills and reloads; missed runs; clocks that jump."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from peaker.clock import VirtualClock
from peaker.errors import QueueFull
from peaker.events.memory_queue import MemoryQueue
from peaker.events.schedule import LOOK_S_MAX, Schedules, scheduled_in
from peaker.events.schedule_memory import ScheduleMemory
from peaker.events.sqlite_queue import SqliteQueue
from peaker.messages import Event
from peaker.settings import FunctionSection, Settings
from peaker.triggers import TriggerSection

MIDNIGHT_S = datetime(2030, 5, 1, tzinfo=UTC).timestamp()
HOUR_S = 3600.0


class Killed(BaseException):
    """This process ends here."""


class Machine:
    """One machine with a queue and a state directory, in which the events process is begun again and again."""

    def __init__(self, tmp_path: Path, *triggers: TriggerSection, at_s: float = MIDNIGHT_S) -> None:
        self.settings = Settings(function=(FunctionSection(name="report", handler="a:b", on=triggers),))
        self.clock = VirtualClock(epoch_s=at_s)
        self.queue = MemoryQueue(clock=self.clock)
        self.path = tmp_path / "schedules.json"
        self.kept: list[Event] = []

    async def put(self, event: Event) -> None:
        put = await self.queue.put([event])
        if put.accepted:
            self.kept.append(event)
            leases = await self.queue.lease(event.function, at_most=1, lease_s=60)
            await self.queue.finish(leases)

    def begin(self, put: Callable[[Event], Awaitable[object]] | None = None) -> Schedules:
        """The process begins (anew)."""
        return Schedules(
            scheduled_in(self.settings),
            put or self.put,
            memory=ScheduleMemory(self.path),
            clock=self.clock,
            region="eu-central-1",
        )

    async def run(self, schedules: Schedules, seconds: float) -> None:
        """The process lives for so long, looking as often as it says."""
        end_s = self.clock.now_s() + seconds
        while True:
            wait_s = await schedules.step()
            if self.clock.now_s() + wait_s > end_s:
                break
            self.clock.advance(wait_s)
        self.clock.advance(end_s - self.clock.now_s())

    @property
    def times(self) -> list[str]:
        return [json.loads(event.payload)["time"] for event in self.kept]


def test_each_moment_puts_one_event_of_eventbridges_shape(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 * * * ? *)"))

    asyncio.run(machine.run(machine.begin(), 2.5 * HOUR_S))

    assert machine.times == ["2030-05-01T00:00:00Z", "2030-05-01T01:00:00Z", "2030-05-01T02:00:00Z"]
    event = machine.kept[1]
    document = json.loads(event.payload)
    assert (event.function, event.source) == ("report", "schedule/cron(0 * * * ? *)")
    assert document | {"id": "", "resources": []} == {
        "version": "0",
        "id": "",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2030-05-01T01:00:00Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": {},
    }
    assert document["id"] == event.id
    assert document["resources"][0].startswith("arn:aws:events:eu-central-1:000000000000:rule/report-")


def test_an_input_is_the_event(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="rate(1 day)", input='{"report": "daily"}'))

    asyncio.run(machine.run(machine.begin(), 60))

    assert [event.payload for event in machine.kept] == [b'{"report": "daily"}']


def test_a_rate_begins_at_once_and_keeps_its_beat_over_restarts(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="rate(10 minutes)"), at_s=MIDNIGHT_S + 7.25)

    for seconds in (700, 1, 1000, 599, 30):
        asyncio.run(machine.run(machine.begin(), seconds))

    assert machine.times == [f"2030-05-01T00:{minute}:07Z" for minute in ("00", "10", "20", "30")]


def test_a_cron_schedule_makes_up_nothing_from_before_it_was_first_seen(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 0 * * ? *)"), at_s=MIDNIGHT_S + 1)

    asyncio.run(machine.run(machine.begin(), HOUR_S))

    assert machine.times == []


def test_the_last_of_several_missed_moments_is_made_up_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 * * * ? *)"))
    asyncio.run(machine.run(machine.begin(), 60))
    machine.clock.advance(5.5 * HOUR_S)

    with caplog.at_level(logging.WARNING):
        asyncio.run(machine.run(machine.begin(), 60))

    assert machine.times == ["2030-05-01T00:00:00Z", "2030-05-01T05:00:00Z"]
    assert "5 moments passed while nothing ran; the last is made up for" in caplog.text


def test_a_missed_moment_that_is_too_old_is_told_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 0 * * ? *)", missed_s_max=HOUR_S))
    asyncio.run(machine.run(machine.begin(), 60))
    machine.clock.advance(27 * HOUR_S)

    with caplog.at_level(logging.WARNING):
        asyncio.run(machine.run(machine.begin(), 60))
        asyncio.run(machine.run(machine.begin(), 60))

    assert machine.times == ["2030-05-01T00:00:00Z"]
    assert caplog.text.count("missed since 2030-05-02T00:00:00+00:00 and not made up for") == 1


def test_what_is_taken_out_and_put_back_makes_up_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 0 * * ? *)"), TriggerSection(schedule="rate(1 hour)"))
    with_both = machine.settings
    asyncio.run(machine.run(machine.begin(), 60))
    machine.settings = Settings(
        function=(FunctionSection(name="report", handler="a:b", on=with_both.function[0].on[1:]),)
    )
    asyncio.run(machine.run(machine.begin(), 26 * HOUR_S))
    before = len(machine.kept)
    machine.settings = with_both

    asyncio.run(machine.run(machine.begin(), 10))

    assert len(machine.kept) == before


def test_a_full_queue_delays_a_run_and_loses_none(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 0 * * ? *)"))
    refusals = iter([True] * 5)

    async def put(event: Event) -> None:
        if next(refusals, False):
            raise QueueFull("there is no room")
        await machine.put(event)

    asyncio.run(machine.run(machine.begin(put), 10))

    assert machine.times == ["2030-05-01T00:00:00Z"]


def test_a_queue_that_stays_full_is_asked_once_a_second(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 0 * * ? *)"))
    asked: list[float] = []

    async def put(_: Event) -> None:
        asked.append(machine.clock.epoch_s())
        raise QueueFull("there is no room")

    asyncio.run(machine.run(machine.begin(put), 10))

    assert [round(at_s - MIDNIGHT_S) for at_s in asked] == list(range(11))


def test_a_damaged_memory_is_said_and_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 * * * ? *)"))
    asyncio.run(machine.run(machine.begin(), 60))
    for text in ("{", '{"version": 9}', '{"version": 1, "schedules": {"a": {"anchor_s": "x", "done_s": 1}}}', "[]"):
        machine.path.write_text(text)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            asyncio.run(machine.run(machine.begin(), 1))
        assert "cannot be read, schedules begin anew" in caplog.text

    assert machine.times == ["2030-05-01T00:00:00Z"]


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_any_step_neither_double_nor_lose_a_moment(tmp_path: Path, seed: int) -> None:
    """Three days of three schedules; the process is killed before the queue has an event, after it, or between steps.

    It is away for up to half an hour each time; moments of the quarter-hourly schedule that passed meanwhile may be
    left out but for the last, all others must come, once.
    """
    chance = random.Random(seed)
    machine = Machine(
        tmp_path,
        TriggerSection(schedule="cron(0/15 * * * ? *)", input='"quarters"'),
        TriggerSection(schedule="cron(0 3 * * ? *)"),
        TriggerSection(schedule="rate(6 hours)"),
    )
    kills = 0

    async def put(event: Event) -> None:
        if chance.random() < 0.08:
            raise Killed
        await machine.put(event)
        if chance.random() < 0.08:
            raise Killed

    end_s = machine.clock.now_s() + 3 * 86_400
    while machine.clock.now_s() < end_s:
        try:
            asyncio.run(machine.run(machine.begin(put), chance.uniform(60, 12 * HOUR_S)))
        except Killed:
            kills += 1
        machine.clock.advance(chance.uniform(0, 1800))

    asyncio.run(machine.run(machine.begin(), 60))
    ids = [event.id for event in machine.kept]
    whole = [json.loads(event.payload) for event in machine.kept]
    daily = [each["time"] for each in whole if each != "quarters" and each["time"].endswith("T03:00:00Z")]
    six_hourly = [each["time"] for each in whole if each != "quarters" and not each["time"].endswith("T03:00:00Z")]
    assert kills > 8
    assert len(set(ids)) == len(ids)
    assert len(daily) == len(set(daily)) >= 3
    days = {f"2030-05-{day:02d}" for day in range(1, 4)}
    assert {each[:10] for each in daily} >= days
    assert {f"{day}T{hour:02d}:00:00Z" for day in days for hour in (0, 6, 12, 18)} <= set(six_hourly)
    assert len(six_hourly) == len(set(six_hourly))


def test_a_clock_set_back_runs_nothing_twice_and_one_set_forward_misses_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 * * * ? *)"))
    asyncio.run(machine.run(machine.begin(), 2.5 * HOUR_S))

    machine.clock = VirtualClock(epoch_s=MIDNIGHT_S + HOUR_S)
    asyncio.run(machine.run(machine.begin(), 2.5 * HOUR_S))
    machine.clock = VirtualClock(epoch_s=MIDNIGHT_S + 9.5 * HOUR_S)
    asyncio.run(machine.run(machine.begin(), HOUR_S))

    assert [time[11:13] for time in machine.times] == ["00", "01", "02", "03", "09", "10"]


def test_the_clock_is_looked_at_though_nothing_is_due(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 12 * * ? *)"))

    assert asyncio.run(machine.begin().step()) == LOOK_S_MAX


def test_the_durable_queue_knows_a_moment_after_the_memory_is_lost(tmp_path: Path) -> None:
    """The process is killed after the event was kept and before that was remembered, and the file is gone too."""
    machine = Machine(tmp_path, TriggerSection(schedule="cron(0 0 * * ? *)"))

    async def twice() -> list[int]:
        accepted = []
        for _ in range(2):
            queue = SqliteQueue(tmp_path / "events.sqlite", clock=machine.clock)

            async def put(event: Event, queue: SqliteQueue = queue) -> None:
                accepted.append(len((await queue.put([event])).accepted))

            await machine.begin(put).step()
            machine.path.unlink()
            await queue.close()
        return accepted

    assert asyncio.run(twice()) == [1, 0]


def test_a_schedule_with_no_moment_left_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(tmp_path, TriggerSection(schedule="at(2030-05-01T00:10:00)"))

    with caplog.at_level(logging.WARNING):
        asyncio.run(machine.run(machine.begin(), HOUR_S))

    assert machine.times == ["2030-05-01T00:10:00Z"]
    assert caplog.text.count("has no moment left") == 1
