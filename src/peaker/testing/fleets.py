"""The examiner of `interfaces.Fleet`: the same assertions for every body, simulated, on this machine, or on AWS.

    asyncio.run(check_fleet(make, count_min=1, count_max=3))

`make` returns an async context manager of a `Fleet` that has `count_min` servers, all ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from peaker.errors import CapacityUnavailable
from peaker.interfaces import Fleet, Server, ServerStatus

MakeFleet = Callable[[], AbstractAsyncContextManager[Fleet]]

LOOK_S = 0.02
_ORDER = (ServerStatus.STARTING, ServerStatus.READY, ServerStatus.DRAINING)


@dataclass
class Examined:
    """One fleet, its bounds, and the life of each of its servers so far, by name and start."""

    fleet: Fleet
    count_min: int
    count_max: int
    change_s_max: float
    lives: dict[tuple[str, float], list[ServerStatus]] = field(
        default_factory=dict[tuple[str, float], list[ServerStatus]]
    )

    async def look(self) -> Sequence[Server]:
        """The servers now; raises AssertionError where one has gone back in its life."""
        servers = await self.fleet.servers()
        names = [server.name for server in servers]
        assert len(set(names)) == len(names), f"a name stands twice: {names}"
        for server in servers:
            life = self.lives.setdefault((server.name, server.started_at_s), [])
            if not life or life[-1] is not server.status:
                life.append(server.status)
            known = [_ORDER.index(status) for status in life if status in _ORDER]
            assert known == sorted(known), f"{server.name} went back: {[status.value for status in life]}"
        return servers

    async def until_ready(self, count: int) -> Sequence[Server]:
        """Wait until there are exactly so many, all of them ready."""
        servers: Sequence[Server] = ()
        try:
            async with asyncio.timeout(self.change_s_max):
                while True:
                    servers = await self.look()
                    if len(servers) == count and all(one.status is ServerStatus.READY for one in servers):
                        return servers
                    await asyncio.sleep(LOOK_S)  # A fleet tells nobody of a change.
        except TimeoutError:
            said = f"{count} ready servers were asked for; after {self.change_s_max:g} s there are {_words(servers)}"
            raise AssertionError(said) from None

    async def change(self, count: int) -> Sequence[Server]:
        """Ask for so many, and wait until they are there."""
        await self.fleet.set_server_count(count)
        return await self.until_ready(count)


async def check_fleet(make: MakeFleet, *, count_min: int, count_max: int, change_s_max: float = 60.0) -> None:
    """Examine one body whose bounds are `count_min` and `count_max`, at least two apart.

    Raises:
        AssertionError: with what it should have done.
        ValueError: the bounds leave no room to examine it in.
    """
    if count_max - count_min < 2:
        raise ValueError(f"count_min = {count_min} and count_max = {count_max} are less than two apart")
    async with make() as fleet:
        examined = Examined(fleet, count_min, count_max, change_s_max)
        await examined.until_ready(count_min)
        for check in CHECKS:
            await check(examined)


async def starts_those_that_are_asked_for(at: Examined) -> None:
    """They appear at once as starting, and are ready later."""
    before = {server.name for server in await at.look()}
    await at.fleet.set_server_count(at.count_min + 1)
    added = [server for server in await at.look() if server.name not in before]
    assert len(added) <= 1, f"one more was asked for, there are {_words(added)}"
    assert all(server.status in (ServerStatus.STARTING, ServerStatus.READY) for server in added)
    assert len(await at.until_ready(at.count_min + 1)) == at.count_min + 1


async def leaves_the_others_alone(at: Examined) -> None:
    """Those that were there keep name and start when others come and go."""
    before = {(server.name, server.started_at_s) for server in await at.look()}
    more = {(server.name, server.started_at_s) for server in await at.change(at.count_max)}
    assert before <= more, f"adding servers replaced {sorted(before - more)}"
    fewer = {(server.name, server.started_at_s) for server in await at.change(at.count_max - 1)}
    assert fewer <= more, f"taking one away started {sorted(fewer - more)}"


async def is_the_same_when_asked_twice(at: Examined) -> None:
    """A number that is there already changes nothing."""
    before = await at.look()
    after = await at.change(len(before))
    assert {server.name for server in before} == {server.name for server in after}
    assert {server.started_at_s for server in before} == {server.started_at_s for server in after}


async def changes_its_mind(at: Examined) -> None:
    """The last number counts, also when servers are still starting for another."""
    await at.fleet.set_server_count(at.count_max)
    await at.fleet.set_server_count(at.count_min)
    await at.until_ready(at.count_min)
    await at.fleet.set_server_count(at.count_min)
    await at.change(at.count_max)


async def refuses_what_is_outside_its_bounds(at: Examined) -> None:
    """With CapacityUnavailable, and stays as it was."""
    before = await at.look()
    for count in (at.count_max + 1, at.count_min - 1, -1):
        try:
            await at.fleet.set_server_count(count)
        except CapacityUnavailable:
            continue
        raise AssertionError(f"{count} servers were accepted; allowed are {at.count_min} to {at.count_max}")
    assert {server.name for server in await at.look()} == {server.name for server in before}


async def goes_back_to_the_fewest(at: Examined) -> None:
    """All at once."""
    await at.change(at.count_max)
    servers = await at.change(at.count_min)
    assert len(servers) == at.count_min


def _words(servers: Sequence[Server]) -> str:
    return ", ".join(f"{server.name} {server.status.value}" for server in servers) or "none"


CHECKS: tuple[Callable[[Examined], Awaitable[None]], ...] = (
    starts_those_that_are_asked_for,
    leaves_the_others_alone,
    is_the_same_when_asked_twice,
    changes_its_mind,
    refuses_what_is_outside_its_bounds,
    goes_back_to_the_fewest,
)
