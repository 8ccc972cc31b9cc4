"""Whatever is asked of two pools on one machine, in whatever order: the limits hold and every request ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from peaker.app import FunctionSpec
from peaker.errors import AppStartError, PeakerError, Throttled
from peaker.functions.pool import Pool
from peaker.functions.starts import Starts
from peaker.testing.simulated_instances import Exits, SimulatedLauncher
from peaker.testing.virtual_loop import VirtualLoop

WAIT_S = 20.0
TIMEOUT_S = 5.0
INSTANCES_MAX = 6
IN_FLIGHT_MAX = 2
LONGEST_END_S = 1.0

durations_s = st.sampled_from([0.0, 0.001, 0.05, 0.05, 1.0, 4.9, 5.1, 100.0])
endings = st.sampled_from(["returns", "returns", "returns", "raises", "exits"])
start_times_s = st.sampled_from([0.0, 0.005, 0.005, 0.1, 3.0])


async def handler(event: Any, _: str) -> Any:
    await asyncio.sleep(event["s"])
    if event["ends"] == "exits":
        raise Exits
    if event["ends"] == "raises":
        raise ValueError("no")
    return event


class TwoPools(RuleBasedStateMachine):
    """The simulated instances themselves assert that none is used twice at once, after its end or while frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.start_s = 0.005
        self.starts_fail = False
        self.invocations: list[tuple[float, asyncio.Task[None]]] = []
        self.loop.run_until_complete(self.make())

    async def make(self) -> None:
        self.starts = Starts(in_flight_max=IN_FLIGHT_MAX, instances_max=INSTANCES_MAX)
        self.launchers = [
            SimulatedLauncher(handler, clock=self.loop, start_s=self.start, end_s=LONGEST_END_S) for _ in range(2)
        ]
        specs = [
            FunctionSpec(
                name=f"f{index}", target="m:f", web=False, memory_mb=512, timeout_s=TIMEOUT_S,
                concurrency_max=4, keep_alive_s=2.0, buffer=index,
            )
            for index in range(2)
        ]  # fmt: skip
        self.pools = [
            Pool(spec, launcher, starts=self.starts, clock=self.loop)
            for spec, launcher in zip(specs, self.launchers, strict=True)
        ]

    def start(self, _: int) -> float:
        if self.starts_fail:
            raise AppStartError("no.")
        return self.start_s

    async def invoke(self, pool: Pool, event: dict[str, Any]) -> None:
        lease = await pool.acquire(WAIT_S)
        outcome = await lease.run(b'{"s": %f, "ends": "%s"}' % (event["s"], event["ends"].encode()), request_id="r")
        assert bool(outcome.function_error) is (event["ends"] == "raises")

    def step(self) -> None:
        self.loop.run_for(0)

    @rule(which=st.integers(0, 1), count=st.integers(1, 5), s=durations_s, ends=endings)
    def requests_come(self, which: int, count: int, s: float, ends: str) -> None:
        for _ in range(count):
            task = self.loop.create_task(self.invoke(self.pools[which], {"s": s, "ends": ends}))
            self.invocations.append((self.loop.time(), task))
        self.step()

    @rule(number=st.integers(0, 50))
    def a_caller_goes_away(self, number: int) -> None:
        if self.invocations:
            self.invocations[number % len(self.invocations)][1].cancel()
            self.step()

    @rule(s=st.sampled_from([0.001, 0.006, 0.2, 2.5, 30.0]))
    def time_passes(self, s: float) -> None:
        self.loop.run_for(s)

    @rule(which=st.integers(0, 1), number=st.integers(0, 10))
    def an_instance_is_killed_from_outside(self, which: int, number: int) -> None:
        async def kill() -> None:
            alive = self.launchers[which].alive
            if alive:
                alive[number % len(alive)].kill()

        self.loop.run_until_complete(kill())
        self.step()

    @rule(which=st.integers(0, 1))
    def a_zygote_dies(self, which: int) -> None:
        self.launchers[which].has_zygote = False
        self.pools[which].suspend()

    @rule(which=st.integers(0, 1))
    def a_zygote_is_back(self, which: int) -> None:
        async def resume() -> None:
            self.launchers[which].has_zygote = True
            self.pools[which].resume()

        self.loop.run_until_complete(resume())

    @rule(start_s=start_times_s, starts_fail=st.sampled_from([False, False, True]))
    def starts_change(self, start_s: float, starts_fail: bool) -> None:  # noqa: FBT001
        self.start_s, self.starts_fail = start_s, starts_fail

    @invariant()
    def limits_hold(self) -> None:
        for pool, launcher in zip(self.pools, self.launchers, strict=True):
            counts = pool.counts
            assert 0 <= counts.live <= pool.spec.concurrency_max
            assert counts.busy + counts.waiting <= pool.spec.concurrency_max
            assert len(launcher.alive) <= counts.live + counts.ending
            assert min(counts.waiting, counts.starting, counts.busy, counts.idle, counts.ending) >= 0
        assert 0 <= self.starts.in_flight <= IN_FLIGHT_MAX
        assert 0 <= self.starts.processes <= INSTANCES_MAX

    @invariant()
    def every_request_ends(self) -> None:
        longest_s = WAIT_S + TIMEOUT_S + 0.001
        still = []
        for begun_s, task in self.invocations:
            if not task.done():
                assert self.loop.time() - begun_s <= longest_s, "a request neither ran nor ended"
                still.append((begun_s, task))
                continue
            with contextlib.suppress(asyncio.CancelledError, PeakerError):
                task.result()
        self.invocations = still

    def teardown(self) -> None:
        self.loop.run_for(WAIT_S + TIMEOUT_S + 1)
        self.every_request_ends()
        assert self.invocations == []
        self.limits_hold()

        async def close() -> None:
            for pool in self.pools:
                pool.close()

        self.loop.run_until_complete(close())
        self.loop.run_for(LONGEST_END_S + 200)
        assert [launcher.alive for launcher in self.launchers] == [[], []]
        assert (self.starts.in_flight, self.starts.processes) == (0, 0)
        self.loop.close()


TestTwoPools = TwoPools.TestCase
TestTwoPools.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_throttled_says_that_nothing_was_started() -> None:
    assert Throttled().started is False
