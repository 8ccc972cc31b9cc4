"""The loop on a clock of its own, with a fleet that is away, files that are broken, and readings that come late."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from peaker.control.journal import Journal
from peaker.control.loop import Loop
from peaker.control.observe import Observer, StartTimes, Tables
from peaker.control.steered import loop_of, terms_of
from peaker.engines.local.hold import Hold, write_hold
from peaker.engines.local.journal_file import read_journal
from peaker.gate.slots import WorkerStatus, create_slot_table
from peaker.interfaces import Server, ServerStatus
from peaker.meter.function_usage import create_function_table
from peaker.meter.price import prices_of
from peaker.meter.usage import COUNTER_INDEX, Ran, UsageRow, create_usage_table
from peaker.policy.course import Course
from peaker.settings import AppSection, ServersSection, Settings
from peaker.state import StateDirectory
from peaker.testing.simulated_fleet import SimulatedFleet
from peaker.testing.virtual_loop import VirtualLoop, run_virtual

SETTINGS = Settings(
    app=AppSection(name="shop", web="web:app", spill=True), servers=ServersSection(count_max=4, workers=1)
)


@dataclass
class Scene:
    """Tables as workers would write them, a simulated fleet, and one loop over both."""

    state: StateDirectory
    fleet: SimulatedFleet
    loop: Loop
    row: UsageRow
    clock: VirtualLoop

    def work(self, *, served: int, spilled: int = 0) -> None:
        for counter, count in (("on_server", served), ("spilled", spilled), ("on_function", spilled)):
            self.row.add(COUNTER_INDEX[counter], count)
        self.row.latencies(Ran.SERVER, [0.04], served)
        self.row.add(COUNTER_INDEX["cpu_us"], served * 5000)

    async def steps(self, count: int, *, served: int, spilled: int = 0) -> list[int | None]:
        """The numbers that were asked for after each of so many steps of ten seconds."""
        asked = []
        for _ in range(count):
            await asyncio.sleep(10)
            self.work(served=served, spilled=spilled)
            step = await self.loop.step()
            asked.append(None if step.demand_servers is None else step.steered.servers)
        return asked

    @property
    def kinds(self) -> list[str]:
        return [entry["kind"] for entry in read_journal(self.state.decisions)]


class _Asked(Observer):
    """Takes what was asked for from the simulated fleet, where the supervisor would have written run.json."""

    fleet: SimulatedFleet

    def _asked(self) -> int:
        return self.fleet.asked[-1] if self.fleet.asked else 1


def scene(directory: Path, *, start_s: float = 20.0) -> Scene:
    clock = asyncio.get_running_loop()
    assert isinstance(clock, VirtualLoop)
    state = StateDirectory(directory)
    slots, usage = create_slot_table(state.slots, 2), create_usage_table(state.usage, 1)
    slots.set(0, "status", WorkerStatus.READY)
    slots.set(0, "slots", 4)
    prices = prices_of(SETTINGS)
    tables = Tables(slots=slots, usage=usage, functions=create_function_table(state.function_usage), prices=prices)
    fleet = SimulatedFleet(clock, count_max=4, start_s=start_s)
    observer = _Asked(state, SETTINGS, tables, fleet, clock)
    observer.fleet = fleet
    loop = Loop(
        state,
        observer=observer,
        course=Course(terms_of(SETTINGS, prices)),
        fleet=fleet,
        functions_may_run=lambda: True,
        clock=clock,
    )
    return Scene(state, fleet, loop, UsageRow(usage, 0), clock)


def test_a_fleet_that_is_away_is_asked_again_and_said_once(tmp_path: Path) -> None:
    async def main() -> None:
        at = scene(tmp_path)
        await at.steps(3, served=900)
        at.fleet.is_reachable = False
        await at.steps(12, served=1000, spilled=2000)
        assert at.fleet.asked == []
        assert at.kinds.count("kept") == 1
        at.fleet.is_reachable = True
        await at.steps(2, served=1000, spilled=2000)
        assert max(at.fleet.asked) >= 2
        assert at.kinds[-1] == "changed"
        observed = read_journal(at.state.observations)
        assert sum(bool(entry["fleet_error"]) for entry in observed) == 12

    run_virtual(main)


def test_late_readings_are_missing_and_the_next_ones_count_again(tmp_path: Path) -> None:
    async def main() -> None:
        at = scene(tmp_path)
        assert await at.steps(2, served=900) == [None, 1]
        await asyncio.sleep(600)
        assert await at.steps(2, served=900) == [None, 1]
        missing = [entry["missing"] for entry in read_journal(at.state.observations)]
        assert missing[0] == "nothing was read before"
        assert missing[2] == "the last look was 610.0 s ago instead of 10 s"
        assert [missing[1], missing[3]] == ["", ""]

    run_virtual(main)


def test_a_broken_hold_decides_nothing_and_costs_no_step_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        at = scene(tmp_path)
        at.state.hold.write_text("{", encoding="utf-8")
        ending = asyncio.Event()
        running = asyncio.create_task(at.loop.run(ending))
        await asyncio.sleep(25)
        assert read_journal(at.state.observations) == []
        write_hold(at.state, Hold(3, 0.0))
        await asyncio.sleep(20)
        assert [entry["held_by"] for entry in read_journal(at.state.observations)] == ["paused", "paused"]
        ending.set()
        await running

    run_virtual(main)


def test_what_was_learned_is_kept_and_a_damaged_file_is_said_and_learned_anew(tmp_path: Path) -> None:
    async def main() -> None:
        for damage, restored in ((None, False), (None, True), ("{", False), ('{"version": 9}', False)):
            if damage is not None:
                StateDirectory(tmp_path).baseline.write_text(damage, encoding="utf-8")
            at, ending = scene(tmp_path), asyncio.Event()
            running = asyncio.create_task(at.loop.run(ending))
            await asyncio.sleep(130)
            began = [entry for entry in read_journal(at.state.decisions) if entry["kind"] == "began"][-1]
            assert (began["restored"], bool(began["note"])) == (restored, damage is not None)
            ending.set()
            await running
            assert json.loads(at.state.baseline.read_text())["counts"]["steps"] >= 13

    run_virtual(main)


def test_a_full_disk_costs_lines_and_no_decision(tmp_path: Path) -> None:
    async def main() -> None:
        at = scene(tmp_path)
        at.state.logs.write_text("a file where the folder should be", encoding="utf-8")
        await at.steps(3, served=900)
        await at.steps(6, served=1000, spilled=3000)
        assert max(at.fleet.asked) >= 2
        at.state.logs.unlink()
        Journal(at.state).decided("released", 0.0, servers=1)
        assert at.kinds == ["released"]

    run_virtual(main)


def test_start_times_are_of_servers_that_were_asked_for_or_seen_to_start() -> None:
    starts = StartTimes()

    def server(name: str, status: ServerStatus, started_at_s: float = 1000.0) -> Server:
        return Server(name=name, status=status, started_at_s=started_at_s)

    first = server("server-1", ServerStatus.READY)
    assert starts.see([first], now_s=0.0, epoch_s=1000.0) == []
    starts.asked(10.0)
    assert starts.is_under_way
    assert starts.see([first, server("server-2", ServerStatus.STARTING)], now_s=11.0, epoch_s=1011.0) == []
    assert starts.see([first, server("server-2", ServerStatus.READY)], now_s=14.0, epoch_s=1e9) == [4.0]
    assert not starts.is_under_way
    # A server whose workers died and came back tells nothing.
    assert starts.see([server("server-1", ServerStatus.STARTING)], now_s=20.0, epoch_s=1020.0) == []
    assert starts.see([first], now_s=21.0, epoch_s=1021.0) == []
    # Set by hand: by its own start time, whatever the calendar says.
    third = server("server-3", ServerStatus.STARTING, started_at_s=2000.0)
    starts.see([first, third], now_s=30.0, epoch_s=1500.0)
    assert starts.see([first, server("server-3", ServerStatus.READY)], now_s=32.0, epoch_s=1.0) == [2.0]


@pytest.mark.parametrize(
    "servers",
    [
        ServersSection(count_max=1),
        ServersSection(count_max=4, policy="fixed"),
        ServersSection(count_min=3, count_max=3),
    ],
)
def test_where_there_is_nothing_to_decide_there_is_no_loop(tmp_path: Path, servers: ServersSection) -> None:
    settings = Settings(app=AppSection(web="web:app"), servers=servers)
    tables = Tables(
        slots=create_slot_table(tmp_path / "slots", 1),
        usage=create_usage_table(tmp_path / "usage", 1),
        functions=create_function_table(tmp_path / "functions"),
        prices=prices_of(settings),
    )

    async def main() -> None:
        clock = asyncio.get_running_loop()
        assert isinstance(clock, VirtualLoop)
        assert loop_of(StateDirectory(tmp_path), settings, tables, lambda: True, clock) is None

    run_virtual(main)
