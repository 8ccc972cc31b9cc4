"""The pool on a virtual clock, with simulated instances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from peaker.app import FunctionSpec
from peaker.errors import AppStartError, Throttled, Unavailable
from peaker.functions.launcher import InstanceDied
from peaker.functions.lease import Lease
from peaker.functions.pool import Pool
from peaker.functions.starting import StartModel
from peaker.functions.starts import Starts
from peaker.testing.simulated_instances import Exits, SimulatedLauncher
from peaker.testing.virtual_loop import NothingLeft, VirtualLoop, run_virtual


async def takes(event: Any, _: str) -> Any:
    """The handler of these tests: the event says how long it takes and how it ends."""
    await asyncio.sleep(event.get("s", 0.0))
    if "exits" in event:
        raise Exits(event["exits"])
    if "raises" in event:
        raise ValueError(event["raises"])
    return event


def spec(**own: Any) -> FunctionSpec:
    values: dict[str, Any] = {
        "name": "f", "target": "m:f", "web": False, "memory_mb": 512, "timeout_s": 3.0,
        "concurrency_max": 100, "keep_alive_s": 600.0, "buffer": 0,
    }  # fmt: skip
    return FunctionSpec(**{**values, **own})


class Bench:
    """One pool with what it stands on."""

    def __init__(
        self,
        *,
        starts_in_flight_max: int = 4,
        instances_max: int | None = None,
        start_s: Callable[[int], float] = lambda _: 0.010,
        end_s: float = 0.0,
        model: StartModel | None = None,
        touch: bytes = b"",
        **own: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.clock = loop
        self.starts = Starts(in_flight_max=starts_in_flight_max, instances_max=instances_max)
        self.launcher = SimulatedLauncher(takes, clock=loop, start_s=start_s, end_s=end_s)
        self.pool = Pool(spec(**own), self.launcher, starts=self.starts, clock=loop, model=model, touch=touch)

    async def invoke(self, payload: bytes = b"{}", wait_s: float = 60.0) -> tuple[Lease, Any]:
        lease = await self.pool.acquire(wait_s)
        return lease, await lease.run(payload, request_id="r")


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test on a virtual loop."""

    def run() -> None:
        run_virtual(test)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@virtual
async def test_the_first_request_waits_for_a_start_and_the_second_finds_it_warm() -> None:
    bench = Bench()
    first, outcome = await bench.invoke()
    assert (first.cold, outcome.cold, bench.clock.now_s()) == (True, True, pytest.approx(0.010))
    second, _ = await bench.invoke()
    assert not second.cold
    assert second.instance is first.instance
    assert (bench.pool.totals.cold_starts, bench.pool.totals.invocations) == (1, 2)


@virtual
async def test_the_instance_used_last_is_used_next() -> None:
    bench = Bench()
    leases = [await bench.pool.acquire(1) for _ in range(3)]
    for lease in leases:
        await lease.run(b"{}", request_id="r")
    for _ in range(5):
        again, _ = await bench.invoke()
        assert again.instance is leases[-1].instance


@virtual
async def test_a_waiting_request_takes_a_returning_instance_when_that_comes_first() -> None:
    bench = Bench(start_s=lambda number: 0.010 if number == 0 else 1.0)
    long = asyncio.ensure_future(bench.invoke(b'{"s": 0.2}'))
    await asyncio.sleep(0.05)
    waited, _ = await bench.invoke()
    assert bench.clock.now_s() == pytest.approx(0.210)
    assert waited.instance is (await long)[0].instance
    assert not waited.cold
    await asyncio.sleep(2)
    assert bench.pool.counts.idle == 2  # The start that was under way became a spare.


@virtual
async def test_a_start_not_begun_when_its_request_was_served_is_never_made() -> None:
    bench = Bench(starts_in_flight_max=1, start_s=lambda number: 0.010 if number == 0 else 1.0)
    first = asyncio.ensure_future(bench.invoke(b'{"s": 0.1}'))
    await asyncio.sleep(0.02)
    others = [asyncio.ensure_future(bench.invoke()) for _ in range(5)]
    await asyncio.gather(first, *others)
    await asyncio.sleep(10)
    assert len(bench.launcher.instances) == 2


@virtual
async def test_over_concurrency_max_a_request_is_throttled_at_once() -> None:
    bench = Bench(concurrency_max=2)
    running = [asyncio.ensure_future(bench.invoke(b'{"s": 1}')) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(Throttled, match="2 invocations are running or waiting"):
        await bench.pool.acquire(10)
    assert bench.clock.now_s() == pytest.approx(0.05)
    await asyncio.gather(*running)
    assert not (await bench.invoke())[0].cold
    assert bench.pool.totals.throttled == 1


@virtual
async def test_a_wait_is_bounded() -> None:
    bench = Bench(start_s=lambda _: 5.0)
    with pytest.raises(Throttled, match=r"no instance became free within 0\.5 s"):
        await bench.pool.acquire(0.5)
    assert bench.clock.now_s() == pytest.approx(0.5)
    assert bench.pool.counts.waiting == 0


@virtual
async def test_starts_in_flight_are_limited_over_all_pools_and_pools_take_turns() -> None:
    clock = asyncio.get_running_loop()
    assert isinstance(clock, VirtualLoop)
    starts = Starts(in_flight_max=2)
    order: list[str] = []

    def launcher(name: str) -> SimulatedLauncher:
        def start_s(_: int) -> float:
            order.append(name)
            assert starts.in_flight <= 2
            return 0.01

        return SimulatedLauncher(takes, clock=clock, start_s=start_s)

    pools = [Pool(spec(name=name), launcher(name), starts=starts, clock=clock) for name in ("a", "b")]
    await asyncio.gather(*(pool.acquire(10) for pool in pools for _ in range(4)))
    assert order == ["a", "a", "a", "b", "a", "b", "b", "b"]  # The first two before b had asked, then in turn.
    assert clock.now_s() == pytest.approx(0.04)


@virtual
async def test_spares_are_kept_topped_up_and_are_not_cold() -> None:
    bench = Bench(buffer=3)
    await asyncio.sleep(0.1)
    assert bench.pool.counts.spares == 3
    leases = await asyncio.gather(*(bench.pool.acquire(1) for _ in range(3)))
    assert not any(lease.cold for lease in leases)
    assert bench.clock.now_s() == pytest.approx(0.1)
    await asyncio.sleep(0.1)
    assert bench.pool.counts.spares == 3
    assert bench.pool.counts.live == 6


@virtual
async def test_the_next_spare_does_not_start_beside_the_request_that_took_the_last() -> None:
    bench = Bench(buffer=1)
    await asyncio.sleep(0.1)
    await bench.invoke(b'{"s": 0.015}')
    assert bench.pool.counts.starting == 0
    await asyncio.sleep(0.1)
    assert bench.pool.counts.spares == 1


@virtual
async def test_requests_get_starts_before_spares() -> None:
    bench = Bench(buffer=50, starts_in_flight_max=1, concurrency_max=60)
    begun_s = bench.clock.now_s()
    await asyncio.gather(*(bench.pool.acquire(10) for _ in range(3)))
    assert bench.clock.now_s() - begun_s == pytest.approx(0.030)


@virtual
async def test_spares_and_requests_together_stay_within_concurrency_max() -> None:
    bench = Bench(buffer=5, concurrency_max=4)
    await asyncio.sleep(1)
    assert bench.pool.counts.live == 4
    leases = [await bench.pool.acquire(1) for _ in range(4)]
    await asyncio.sleep(1)
    assert bench.pool.counts.live == 4
    for lease in leases:
        lease.release()


@virtual
async def test_idle_instances_end_after_keep_alive_and_the_pool_goes_to_zero() -> None:
    bench = Bench(keep_alive_s=10.0)
    leases = [await bench.pool.acquire(1) for _ in range(3)]
    for lease in leases:
        await lease.run(b"{}", request_id="r")
    await asyncio.sleep(6)
    await bench.invoke()  # Keeps the one used last young.
    await asyncio.sleep(5)
    assert bench.pool.counts.live == 1
    await asyncio.sleep(6)
    assert bench.pool.counts.live == 0
    assert bench.launcher.alive == []
    assert bench.starts.processes == 0


@virtual
async def test_spares_outlive_keep_alive_but_not_above_the_buffer() -> None:
    bench = Bench(keep_alive_s=10.0, buffer=2, start_s=lambda number: 0.01 if number < 2 else 0.5)
    await asyncio.sleep(0.1)
    leases = [await bench.pool.acquire(1) for _ in range(2)]
    await asyncio.sleep(0.1)  # Two more spares are being started in their place,
    for lease in leases:
        lease.release()  # and these two come back unused.
    await asyncio.sleep(1)
    assert bench.pool.counts.spares == 4
    await asyncio.sleep(100)
    assert bench.pool.counts.spares == 2


@virtual
async def test_a_run_over_its_time_limit_is_killed_and_its_instance_not_used_again() -> None:
    bench = Bench(timeout_s=3.0)
    with pytest.raises(InstanceDied, match=r"Task timed out after 3\.00 seconds") as caught:
        await bench.invoke(b'{"s": 100}')
    assert caught.value.timed_out
    assert bench.clock.now_s() == pytest.approx(3.010)
    lease, _ = await bench.invoke()
    assert lease.cold
    assert bench.pool.totals.timed_out == 1


@virtual
async def test_a_run_whose_instance_dies_is_told_so_and_the_others_are_not_touched() -> None:
    bench = Bench()
    other = asyncio.ensure_future(bench.invoke(b'{"s": 1}'))
    with pytest.raises(InstanceDied, match="exit status 3"):
        await bench.invoke(b'{"exits": "exit status 3"}')
    assert (await other)[1].payload == b'{"s": 1}'
    assert (bench.pool.totals.crashed, bench.pool.counts.live) == (1, 1)


@virtual
async def test_an_exception_of_the_handler_keeps_the_instance() -> None:
    bench = Bench()
    lease, outcome = await bench.invoke(b'{"raises": "no"}')
    assert outcome.function_error == "Unhandled"
    assert (await bench.invoke())[0].instance is lease.instance


@virtual
async def test_an_idle_instance_that_dies_is_forgotten_and_a_spare_replaced() -> None:
    bench = Bench(buffer=1)
    await bench.invoke()
    await asyncio.sleep(1)
    for instance in bench.launcher.alive:
        instance.kill()
    await asyncio.sleep(1)
    assert bench.pool.counts.idle == bench.pool.counts.spares == 1
    await bench.invoke()


@virtual
async def test_a_request_is_not_given_an_instance_whose_end_is_not_known_yet() -> None:
    bench = Bench()
    await bench.invoke()
    bench.launcher.instances[0].kill()  # Its exit is told in the loop's next turn.
    lease, _ = await bench.invoke()
    assert lease.instance is bench.launcher.instances[1]


@virtual
async def test_the_place_of_a_run_that_ended_with_its_process_is_free_at_once() -> None:
    bench = Bench(concurrency_max=1, timeout_s=1.0)
    with pytest.raises(InstanceDied):
        await bench.invoke(b'{"s": 5}')
    assert bench.pool.counts.busy == 0
    await bench.invoke()


@virtual
async def test_a_start_that_fails_fails_the_longest_waiting_request_with_its_error() -> None:
    def start_s(number: int) -> float:
        if number == 0:
            raise AppStartError("lifespan failed.")
        return 0.01

    bench = Bench(start_s=start_s, starts_in_flight_max=1)
    first, second = (asyncio.ensure_future(bench.pool.acquire(10)) for _ in range(2))
    with pytest.raises(AppStartError, match="lifespan failed"):
        await first
    assert (await second).cold


@virtual
async def test_spares_that_do_not_start_are_tried_ever_more_rarely() -> None:
    tries_s: list[float] = []
    loop = asyncio.get_running_loop()

    def start_s(_: int) -> float:
        tries_s.append(loop.time())
        raise AppStartError("no room.")

    bench = Bench(buffer=1, start_s=start_s)
    await asyncio.sleep(300)
    assert tries_s[:6] == [pytest.approx(at_s) for at_s in (0, 1, 3, 7, 15, 31)]
    assert len(tries_s) == 10  # 1, 2, 4, 8, 16, 32, then one a minute
    bench.pool.close()


@virtual
async def test_without_a_zygote_requests_wait_and_are_served_when_it_is_back() -> None:
    bench = Bench()
    bench.launcher.has_zygote = False
    waiting = asyncio.ensure_future(bench.invoke())
    await asyncio.sleep(5)
    assert not waiting.done()
    bench.launcher.has_zygote = True
    bench.pool.resume()
    assert (await waiting)[0].cold


@virtual
async def test_a_cancelled_wait_leaves_the_queue_and_its_instance_serves_another() -> None:
    bench = Bench(concurrency_max=1)
    waiting = asyncio.ensure_future(bench.pool.acquire(10))
    await asyncio.sleep(0.005)
    waiting.cancel()
    await asyncio.sleep(0)
    assert (await bench.invoke())[0].cold  # It waited for that same start.
    assert len(bench.launcher.instances) == 1


@virtual
async def test_a_wait_cancelled_in_the_moment_its_turn_comes_loses_no_instance() -> None:
    bench = Bench(concurrency_max=2, start_s=lambda number: 0.01 if number == 0 else 100.0)
    held = await bench.pool.acquire(1)
    waiting = asyncio.ensure_future(bench.pool.acquire(10))
    await asyncio.sleep(0.1)
    held.release()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await bench.pool.acquire(1)).instance is held.instance


@virtual
async def test_a_cancelled_run_kills_its_instance() -> None:
    bench = Bench()
    running = asyncio.ensure_future(bench.invoke(b'{"s": 1}'))
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0.1)
    assert bench.launcher.alive == []
    assert bench.pool.counts.live == 0


@virtual
async def test_a_shared_limit_counts_processes_until_they_are_gone() -> None:
    bench = Bench(instances_max=2, keep_alive_s=1.0, end_s=2.0)
    leases = [await bench.pool.acquire(1) for _ in range(2)]
    for lease in leases:
        lease.release()
    await asyncio.sleep(1.5)
    assert bench.pool.counts.ending == 2
    begun_s = bench.clock.now_s()
    await bench.invoke()
    assert bench.clock.now_s() - begun_s == pytest.approx(1.5, abs=0.1)  # As long as those took to end.
    assert bench.starts.processes == 1


@virtual
async def test_a_closed_pool_refuses_what_waits_and_ends_all_instances() -> None:
    bench = Bench(buffer=1, concurrency_max=3)
    await asyncio.sleep(0.1)
    running = asyncio.ensure_future(bench.invoke(b'{"s": 1}'))
    await asyncio.sleep(0)
    waiting = [asyncio.ensure_future(bench.pool.acquire(10)) for _ in range(2)]
    await asyncio.sleep(0.001)
    bench.pool.close()
    for each in waiting:
        with pytest.raises(Unavailable):
            await each
    with pytest.raises(Unavailable):
        await bench.pool.acquire(1)
    await running  # What runs may end.
    await asyncio.sleep(1)
    assert bench.launcher.alive == []
    assert bench.starts.processes == 0


class Slow:
    """A platform that takes 0.3 s a start and 2 ms an invocation, freezes, and starts one a second."""

    freezes = True

    def __init__(self) -> None:
        self._last_s = -1.0

    def may_start(self, now_s: float) -> bool:
        allowed, self._last_s = now_s - self._last_s >= 1.0, now_s
        return allowed

    def start_s(self, took_s: float) -> float:
        return took_s + 0.3

    def overhead_s(self) -> float:
        return 0.002


@virtual
async def test_a_platforms_pace_is_kept_without_holding_up_the_starts_of_this_machine() -> None:
    bench = Bench(model=Slow(), starts_in_flight_max=1)
    lease, outcome = await bench.invoke()
    assert bench.clock.now_s() == pytest.approx(0.312)
    assert outcome.init_ms == pytest.approx(310)
    assert bench.launcher.instances[0].is_frozen
    assert (await bench.invoke())[0].instance is lease.instance  # Thawed for it, or it would have failed.
    held = await bench.pool.acquire(1)
    with pytest.raises(Throttled, match="as fast as the platform starts them"):
        await bench.pool.acquire(1)
    held.release()
    bench.pool.close()
    await asyncio.sleep(1)
    assert bench.launcher.alive == []


@virtual
async def test_a_spare_runs_its_warm_up_before_it_is_offered_and_a_request_does_not_wait_for_that() -> None:
    bench = Bench(touch=b'{"s": 0.5}', buffer=1)
    await asyncio.sleep(0.1)
    assert (bench.pool.counts.spares, bench.pool.counts.starting) == (0, 1)
    await asyncio.sleep(0.5)
    assert bench.pool.counts.spares == 1
    assert bench.launcher.instances[0].invocations == 1
    leases = [await bench.pool.acquire(1) for _ in range(2)]
    assert [lease.cold for lease in leases] == [False, True]
    assert bench.clock.now_s() < 0.7
    assert bench.pool.totals.invocations == 0


@virtual
async def test_a_spare_that_dies_of_its_warm_up_is_not_started_over_and_over() -> None:
    bench = Bench(touch=b'{"exits": "exit status 1"}', buffer=1)
    await asyncio.sleep(100)
    assert bench.pool.totals.start_failures == 7  # After 0, 1, 3, 7, 15, 31 and 63 seconds.
    assert bench.starts.processes == 0
    bench.pool.close()


def test_a_run_that_can_never_end_is_said_so_instead_of_hanging() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingLeft):
        run_virtual(main)
