"""The gate over minutes of traffic: a flash crowd, a slow store, a pool of threads, a busy core. Virtual time."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from peaker.settings import (
    AppSection,
    FunctionsSection,
    ObjectiveSection,
    RouteSection,
    ServersSection,
    Settings,
)
from peaker.testing.gate_world import FunctionsInMemory, Store, World, p95_s, the_loop
from peaker.testing.virtual_loop import run_virtual

OBJECTIVE_S = 0.3
SEED = 3


def settings(slots: int | str = 8, *, like: str = "local") -> Settings:
    return Settings(
        app=AppSection(spill=True, placement_header=True),
        objective=ObjectiveSection(latency_p95_ms=OBJECTIVE_S * 1000),
        servers=ServersSection(in_flight_max=slots),  # type: ignore[arg-type]
        functions=FunctionsSection(concurrency_max=200, like=like, memory_mb=1769),
        route=(RouteSection(path="/"),),
    )


def run(slots: int | str, work: Callable[[Store], Awaitable[None]], script: "Script", **options: object) -> None:
    async def main() -> None:
        store = Store(takes_s=0.05)
        functions = FunctionsInMemory(store.use, **options)  # type: ignore[arg-type]
        async with World(settings(slots), work=lambda: work(store), functions=functions).running() as world:
            await script(world, store, functions, random.Random(SEED))

    run_virtual(main)


Script = Callable[[World, Store, FunctionsInMemory, random.Random], Awaitable[None]]


def ran(world: World, from_s: float, to_s: float) -> Counter[str]:
    return Counter(client.ran for client in world.sent(from_s, to_s))


def test_a_flash_crowd_keeps_the_objective_from_its_first_second_and_ends_on_servers() -> None:
    async def script(world: World, _: Store, functions: FunctionsInMemory, chance: random.Random) -> None:
        await world.open_loop(75, 10, chance)
        assert not functions.invocations, "a baseline within the slots costs nothing"
        jump_s = the_loop().time()
        await world.open_loop(375, 10, chance)
        over_s = the_loop().time()
        await world.open_loop(75, 5, chance)
        await world.settle()
        assert p95_s(world.sent(jump_s, jump_s + 1)) < OBJECTIVE_S
        assert p95_s(world.sent(jump_s, over_s)) < OBJECTIVE_S
        assert {client.status for client in world.clients} == {200}
        spilled = ran(world, jump_s, over_s)["function"]
        # Eight slots of 50 ms carry 160 of the 375 a second; the rest, and little more, is paid for.
        assert 0.52 < spilled / len(world.sent(jump_s, over_s)) < 0.62
        assert ran(world, over_s + 1, over_s + 5).keys() == {"server"}
        assert world.usage()["spend_microusd"] > 0

    run(8, Store.use, script)


def test_found_slots_carry_a_crowd_of_waiting_requests_without_any_function() -> None:
    async def script(world: World, _: Store, functions: FunctionsInMemory, chance: random.Random) -> None:
        await world.open_loop(75, 10, chance)
        await world.open_loop(375, 10, chance)
        await world.settle()
        assert not functions.invocations
        assert p95_s(world.clients) < 0.06

    run("auto", Store.use, script)


def test_a_store_ten_times_slower_gets_no_more_load_from_functions_and_recovery_takes_seconds() -> None:
    async def script(world: World, store: Store, functions: FunctionsInMemory, chance: random.Random) -> None:
        await world.open_loop(100, 15, chance)
        slow_s = the_loop().time()
        ordinary = store.busy.most(0, slow_s)
        store.takes_s = 0.5
        await world.open_loop(100, 60, chance)
        well_s = the_loop().time()
        store.takes_s = 0.05
        await world.open_loop(100, 15, chance)
        await world.settle()
        assert functions.busy.most(slow_s + 0.2, well_s) <= 2
        assert store.busy.most(slow_s, well_s) <= max(ordinary, 8 + 2)
        assert world.usage()["spill_denied_slow_store"] > 0
        recovered = world.sent(well_s + 5, well_s + 15)
        assert p95_s(recovered) < OBJECTIVE_S
        assert {client.status for client in recovered} == {200}

    run(8, Store.use, script)


def test_a_crowd_into_a_slow_store_does_not_spill_either() -> None:
    async def script(world: World, store: Store, functions: FunctionsInMemory, chance: random.Random) -> None:
        await world.open_loop(100, 15, chance)
        slow_s = the_loop().time()
        store.takes_s = 0.5
        await world.open_loop(400, 20, chance)
        await world.settle()
        # Until the first service time has passed, nobody can know; what is spilled in it is all there is.
        assert functions.busy.most(slow_s, slow_s + 1) <= 400 * 0.1
        assert functions.busy.most(slow_s + 1.0) <= 2

    run(8, Store.use, script)


def test_a_pool_of_threads_that_is_full_spills_freely() -> None:
    def make_work() -> Callable[[Store], Awaitable[None]]:
        threads = asyncio.Semaphore(8)

        async def work(store: Store) -> None:
            async with threads:
                await store.use()

        return work

    async def script(world: World, _: Store, functions: FunctionsInMemory, chance: random.Random) -> None:
        await world.open_loop(75, 15, chance)
        jump_s = the_loop().time()
        await world.open_loop(375, 15, chance)
        await world.settle()
        crowd = world.sent(jump_s)
        assert {client.status for client in crowd} == {200}
        assert p95_s(crowd) < OBJECTIVE_S
        assert functions.busy.most(jump_s) > 10

    for slots in ("auto", 32):
        run(slots, make_work(), script)


def test_an_app_that_keeps_the_core_busy_spills_by_loop_lag() -> None:
    async def work(_: Store) -> None:
        the_loop().advance(0.02)  # Twenty milliseconds in which nothing else runs.

    async def script(world: World, store: Store, _: FunctionsInMemory, chance: random.Random) -> None:
        store.takes_s = 0.02
        await world.open_loop(20, 15, chance)
        quiet = ran(world, 0, 15)
        assert quiet["function"] < 0.02 * sum(quiet.values())
        jump_s = the_loop().time()
        await world.open_loop(150, 15, chance)
        await world.settle()
        crowd = world.sent(jump_s)
        assert p95_s(world.sent(jump_s, jump_s + 1)) < OBJECTIVE_S
        assert p95_s(crowd) < OBJECTIVE_S
        assert {client.status for client in crowd} == {200}
        assert ran(world, jump_s, jump_s + 15)["server"] > 0.5 * 15 / 0.02 * 0.8, "the core is kept at work"

    run("auto", work, script)


def test_without_a_spend_lease_the_servers_let_wait_and_refuse() -> None:
    async def main() -> None:
        store = Store(takes_s=0.05)
        functions = FunctionsInMemory(store.use)
        limited = Settings(
            app=AppSection(spill=True, placement_header=True),
            objective=ObjectiveSection(latency_p95_ms=300, spend_usd_per_day_max=1.0),
            servers=ServersSection(in_flight_max=8, queue_max=20, queue_wait_s_max=0.5),
            route=(RouteSection(path="/"),),
        )
        async with World(limited, work=store.use, functions=functions).running() as world:
            await world.open_loop(75, 5, random.Random(SEED))
            world.slots.set(0, "lease_microusd", 50)
            await world.open_loop(375, 5, random.Random(SEED))
            await world.settle()
            usage = world.usage()
            assert usage["on_function"] > 0
            assert world.slots.get(0, "spent_microusd") == usage["spend_microusd"]
            assert 45 <= usage["spend_microusd"] <= 60, "what runs when the lease ends may cost a little more"
            assert usage["spill_denied_spend"] > 0
            refused = [client for client in world.clients if client.status == 503]
            assert len(refused) == usage["refused"] > 0
            assert all(int(client.headers[b"retry-after"]) >= 1 for client in refused)
            assert {client.status for client in world.clients} == {200, 503}

    run_virtual(main)


def test_functions_that_start_slowly_are_left_to_those_that_would_wait_longer() -> None:
    async def main() -> None:
        store = Store(takes_s=0.05)
        functions = FunctionsInMemory(store.use, init_s=1.0, overhead_s=0.015)
        async with World(settings(8, like="lambda"), work=store.use, functions=functions).running() as world:
            chance = random.Random(SEED)
            await world.open_loop(75, 10, chance)
            # A second of slightly more than the slots carry: over before any function could have started.
            await world.open_loop(180, 1, chance)
            await world.open_loop(75, 5, chance)
            await world.settle()
            assert len(functions.invocations) <= 3
            assert p95_s(world.clients) < OBJECTIVE_S

    run_virtual(main)
