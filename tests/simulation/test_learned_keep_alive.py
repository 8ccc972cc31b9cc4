"""A pool that learns how long its instances are idle, on a virtual clock."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from pathlib import Path

import pytest

from peaker.app import FunctionSpec
from peaker.functions.idle_times_file import IdleTimesFile
from peaker.functions.pool import Pool
from peaker.functions.starts import Starts
from peaker.policy.learned_keep_alive import LearnedKeepAlive, Levels
from peaker.testing.simulated_instances import SimulatedLauncher
from peaker.testing.virtual_loop import VirtualLoop, run_virtual

START_S = 0.01


async def _takes(event: dict[str, float], _: str) -> None:
    await asyncio.sleep(event["s"])


class Bench:
    def __init__(self, learned: LearnedKeepAlive, buffer: int = 0) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.launcher = SimulatedLauncher(_takes, clock=loop, start_s=lambda _: START_S, end_s=0.0)
        spec = FunctionSpec(
            name="f", target="m:f", web=False, memory_mb=512, timeout_s=900.0, concurrency_max=100,
            keep_alive_s=600.0, buffer=buffer, is_keep_alive_learned=True,
        )  # fmt: skip
        self.pool = Pool(spec, self.launcher, starts=Starts(in_flight_max=100), clock=loop, learned=learned)

    async def invoke(self, run_s: float) -> bool:
        lease = await self.pool.acquire(60.0)
        await lease.run(json.dumps({"s": run_s}).encode(), request_id="r")
        return lease.cold


def _cold_by_levels(requests: list[tuple[float, float]]) -> int:
    """What the sums of benchmarks/keep_alive reckon: each idle time of each level by itself."""
    events = sorted([(at, 1) for at, _ in requests] + [(at + run_s, -1) for at, run_s in requests])
    levels, since_s, busy, cold = Levels(), list[float](), 0, 0
    for now_s, step in events:
        if step < 0:
            busy -= 1
            since_s[busy] = now_s
            continue
        if busy == len(since_s):
            since_s.append(now_s)
            cold += 1
        else:
            idle_s = now_s - since_s[busy]
            cold += not any(from_s <= idle_s < to_s for from_s, to_s in levels.windows(busy + 1))
            levels.add(busy + 1, idle_s)
        busy += 1
    return cold


def _traffic(seed: int) -> list[tuple[float, float]]:
    """A timer of an hour, and pairs of calls at random."""
    chance = random.Random(seed)
    timer = [(3600.0 * n + chance.random(), 5.0) for n in range(1, 60)]
    calls = [(chance.uniform(0, 216_000), chance.uniform(1.0, 30.0)) for _ in range(60)]
    return sorted(timer + calls + [(at + 0.5, run_s) for at, run_s in calls])


@pytest.mark.parametrize("seed", [1, 2])
def test_the_pool_starts_cold_as_often_as_the_sums_say(seed: int) -> None:
    requests = _traffic(seed)

    async def main() -> int:
        bench, loop = Bench(LearnedKeepAlive()), asyncio.get_running_loop()

        async def at(when_s: float, run_s: float) -> bool:
            await asyncio.sleep(when_s - loop.time())
            return await bench.invoke(run_s)

        return sum(await asyncio.gather(*(at(*request) for request in requests)))

    expected = _cold_by_levels(requests)
    assert abs(run_virtual(main) - expected) <= 0.05 * expected


def test_an_instance_is_there_when_an_hourly_timer_fires_and_not_all_the_hour() -> None:
    async def main() -> tuple[list[bool], int, int]:
        bench = Bench(LearnedKeepAlive())
        cold = []
        for _ in range(20):
            cold.append(await bench.invoke(1.0))
            await asyncio.sleep(1800)
            half_way = bench.pool.counts.live
            await asyncio.sleep(1799)
        await asyncio.sleep(100_000)
        return cold, half_way, bench.pool.counts.live

    cold, half_way, at_the_end = run_virtual(main)
    assert all(cold[:9])
    assert not any(cold[9:])
    assert (half_way, at_the_end) == (0, 0)


def test_a_function_never_seen_is_kept_ten_minutes_and_spares_come_on_top() -> None:
    async def main() -> list[int]:
        bench = Bench(LearnedKeepAlive(), buffer=2)
        await asyncio.sleep(1)
        await bench.invoke(1.0)
        await asyncio.sleep(598)
        before = bench.pool.counts.live
        await asyncio.sleep(10)
        return [before, bench.pool.counts.live, bench.pool.counts.spares]

    assert run_virtual(main) == [3, 2, 2]


def test_what_was_learned_survives_a_restart_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "idle-times.json"
    first = IdleTimesFile(path)
    learned = first.of("f")
    for _ in range(20):
        learned.levels.add(1, 3600.0)
    first.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert IdleTimesFile(path).of("f").levels.windows(1) == learned.levels.windows(1) != Levels().windows(1)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 99, "functions": {}}', '{"version": 1, "functions": {"f": 3}}']
)
def test_a_file_of_another_form_is_said_and_learned_anew(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "idle-times.json"
    path.write_text(text)
    with caplog.at_level(logging.WARNING, logger="peaker"):
        learned = IdleTimesFile(path).of("f")
    assert learned.levels.to_json() == {}
    assert "learned anew" in caplog.text
