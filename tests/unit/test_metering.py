"""The meter's ticks over real tables and files, on a clock that is moved by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from peaker.clock import VirtualClock
from peaker.control.metering import Metering, servers_there
from peaker.engines.local.cost import cost_summary, read_book, read_meter, usage_report
from peaker.engines.local.state_dir import ProcessRecord, RunRecord, started_ticks
from peaker.errors import StateError
from peaker.gate.slots import WorkerStatus, create_slot_table
from peaker.meter.function_usage import Caller, FunctionMeter, create_function_table
from peaker.meter.usage import COUNTER_INDEX, Ran, UsageRow, create_usage_table
from peaker.meter.work import create_work_table
from peaker.settings import AppSection, FunctionsSection, Settings
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory

SETTINGS = Settings(app=AppSection(name="shop"), functions=FunctionsSection(memory_mb=512))


@dataclass
class Plant:
    """The tables of one app with a worker that this test plays."""

    state: StateDirectory
    clock: VirtualClock
    slots: SharedTable
    usage: SharedTable
    functions: SharedTable
    work: SharedTable

    def control(self) -> Metering:
        return Metering(
            self.state,
            slots=self.slots,
            usage=self.usage,
            functions=self.functions,
            work=self.work,
            settings=SETTINGS,
            clock=self.clock,
        )

    def run(self, servers: int = 1, *workers: int) -> None:
        """Write run.json: a worker of each of these servers, all of them this process."""
        me = {"pid": os.getpid(), "started_ticks": started_ticks(os.getpid()) or 0}
        record = RunRecord(
            app="shop",
            generation=1,
            supervisor_pid=os.getpid(),
            supervisor_ticks=me["started_ticks"],
            servers=servers,
            directory=".",
            processes=tuple(
                ProcessRecord(
                    name=f"worker-{row}",
                    kind="worker",
                    server=server,
                    row=row,
                    started_epoch_s=self.clock.epoch_s(),
                    **me,
                )
                for row, server in enumerate(workers)
            ),
        )
        self.state.run.write_text(json.dumps(asdict(record)))

    def serve(self, count: int, latency_s: float, ran: Ran = Ran.SERVER, *, spilled: bool = False) -> None:
        row = UsageRow(self.usage, 0)
        row.add(COUNTER_INDEX["requests"], count)
        row.add(COUNTER_INDEX[f"on_{ran.name.lower()}"], count)
        row.add(COUNTER_INDEX["spilled"], count * spilled)
        row.latencies(ran, [latency_s], count)

    def pass_time(self, metering: Metering, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1.0)
            metering.tick()


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    state = StateDirectory(tmp_path)
    made = Plant(
        state,
        VirtualClock(),
        create_slot_table(state.slots, 4),
        create_usage_table(state.usage, 4),
        create_function_table(state.function_usage),
        create_work_table(state.work),
    )
    for row in range(4):
        made.slots.set(row, "status", WorkerStatus.READY)
    yield made
    for table in (made.slots, made.usage, made.functions, made.work):
        table.close()


def test_a_flash_crowd_becomes_a_peak_and_a_number_of_servers(plant: Plant) -> None:
    """1. Ten quiet seconds. 2. In ten, 200 of 50 ms are served and 300 spilled. 3. 2.5 at once, 1.0 held: three."""
    plant.run(1, 1)
    metering = plant.control()
    plant.serve(20, 0.05)
    plant.pass_time(metering, 10)
    plant.serve(200, 0.05)
    plant.serve(300, 0.09, Ran.FUNCTION, spilled=True)
    plant.pass_time(metering, 10)
    metered = read_meter(plant.state, SETTINGS, plant.clock, is_running=True)
    peaks = metered.work.peaks()
    assert peaks.offered == pytest.approx(2.5, rel=0.03)
    assert peaks.held_per_server == pytest.approx(1.0, rel=0.03)
    assert cost_summary(metered)["servers_only"]["servers"] == 3
    assert metered.rates_now is not None
    assert metered.rates_now.on_function == pytest.approx(30, rel=0.11)


def test_a_control_process_that_was_killed_is_followed_by_one_that_loses_nothing(plant: Plant) -> None:
    plant.run(1, 1)
    first = plant.control()
    plant.serve(100, 0.01)
    plant.pass_time(first, 5)
    # Killed here: no last tick. Work goes on without a meter.
    plant.serve(50, 0.01)
    plant.clock.advance(30)
    second = plant.control()
    second.tick()
    second.close()
    book = read_book(plant.state, plant.usage.made_ns)
    assert sum(day["requests"] for day in book.days.values()) == 150
    assert book.servers.launches == 1
    assert book.servers.seconds(plant.clock.epoch_s()) == pytest.approx(35)


def test_servers_are_paid_for_as_they_come_and_go(plant: Plant) -> None:
    plant.run(1, 1)
    metering = plant.control()
    plant.pass_time(metering, 100)
    plant.run(2, 1, 2)
    plant.pass_time(metering, 50)
    plant.run(1, 1)
    plant.pass_time(metering, 100)
    servers = read_book(plant.state, plant.usage.made_ns).servers
    assert servers.launches == 2
    now_s = plant.clock.epoch_s()
    assert servers.seconds(now_s) == pytest.approx(250 + 50, abs=3)
    assert servers.billed_s(now_s) == pytest.approx(250 + 60, abs=3), "a minute at least for the second"


def test_a_server_whose_only_worker_is_started_again_stays_the_same_launch(plant: Plant) -> None:
    plant.run(1, 1)
    metering = plant.control()
    plant.pass_time(metering, 10)
    plant.run(1)
    plant.pass_time(metering, 10)
    plant.run(1, 1)
    plant.pass_time(metering, 10)
    assert read_book(plant.state, plant.usage.made_ns).servers.launches == 1


def test_at_the_end_of_all_what_has_no_process_left_is_not_paid_for(plant: Plant) -> None:
    plant.run(1, 1)
    metering = plant.control()
    plant.pass_time(metering, 70)
    plant.run(1)
    metering.close()
    plant.clock.advance(5000)
    book = read_book(plant.state, plant.usage.made_ns)
    assert book.servers.launched_epoch_s == {}
    assert book.servers.billed_s(plant.clock.epoch_s()) == pytest.approx(70, abs=1)


def test_of_an_app_that_is_gone_the_figures_stand_where_control_left_them(plant: Plant) -> None:
    plant.run(1, 1)
    metering = plant.control()
    plant.pass_time(metering, 20)
    plant.clock.advance(1000)
    metered = read_meter(plant.state, SETTINGS, plant.clock, is_running=False)
    assert metered.until_epoch_s == pytest.approx(plant.clock.epoch_s() - 1000)
    assert metered.rates_now is None
    assert cost_summary(metered)["usd_per_month"] is None


def test_usage_tells_every_function_its_dollars_and_the_day_its_sums(plant: Plant) -> None:
    """1,000 runs billed 100 ms at 512 MB: 50 GB-s x $0.0000133334 + 1,000 x $0.0000002 = $0.00086667."""
    plant.run(1, 1)
    metering = plant.control()
    meter = FunctionMeter(plant.state.function_usage, "arm64")
    for _ in range(1000):
        meter.ended("thumbnail", Caller.DIRECT, memory_mb=512, billed_ms=100, duration_ms=99.0)
    plant.pass_time(metering, 2)
    found = usage_report(read_meter(plant.state, SETTINGS, plant.clock, is_running=True))
    (function,) = found["functions"]
    assert (function["name"], function["caller"], function["gb_seconds"]) == ("thumbnail", "direct", 50.0)
    assert function["usd"] == pytest.approx(0.00086667)
    (day,) = found["days"].values()
    assert day["functions_usd"] == pytest.approx(0.00086667)
    assert found["cost"]["usd"] == pytest.approx(0.0725 / 60 + 0.00086667), "and a server for its minute"
    json.dumps(found)


def test_a_book_that_cannot_be_read_is_not_taken_for_an_empty_one(plant: Plant) -> None:
    plant.state.meter.write_text('{"run": 1}')
    with pytest.raises(StateError, match="Remove the file to begin the days at 0"):
        plant.control()


def test_nothing_is_lost_while_the_disk_takes_nothing(plant: Plant) -> None:
    plant.run(1, 1)
    metering = plant.control()
    plant.state.meter.mkdir()
    plant.serve(10, 0.01)
    with pytest.raises(OSError, match="meter"):
        metering.tick()
    plant.state.meter.rmdir()
    plant.clock.advance(60)
    metering.tick()
    book = read_book(plant.state, plant.usage.made_ns)
    assert sum(day["requests"] for day in book.days.values()) == 10
    assert book.servers.launches == 1


def test_a_server_that_is_wanted_and_has_no_process_yet_is_there() -> None:
    record = RunRecord(app="a", generation=1, supervisor_pid=1, supervisor_ticks=1, servers=2, directory=".")
    assert servers_there(record, is_ending=False) == {1: float("inf"), 2: float("inf")}
    assert servers_there(record, is_ending=True) == {}
