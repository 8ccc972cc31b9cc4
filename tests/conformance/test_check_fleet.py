"""The examiner of fleets, on the simulated body and on the servers of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peaker.engines.local.fleet import LocalFleet
from peaker.errors import CapacityUnavailable
from peaker.interfaces import Fleet, Server, ServerStatus
from peaker.testing.fleets import check_fleet
from peaker.testing.running import PeakerRun
from peaker.testing.simulated_fleet import SimulatedFleet
from peaker.testing.virtual_loop import VirtualLoop, run_virtual

SETTINGS = """
[app]
name = "fleet"
web = "tiny:app"

[servers]
count_max = 3
workers = 1
in_flight_max = 4
drain_s_max = 2
drain_idle_s = 0
queue_wait_s_max = 1
policy = "fixed"
"""
TINY = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def virtual_fleet(kind: type[SimulatedFleet] = SimulatedFleet) -> SimulatedFleet:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return kind(loop, count_max=3, start_s=2.0)


@asynccontextmanager
async def simulated() -> AsyncIterator[Fleet]:
    yield virtual_fleet()


def test_the_simulated_fleet_passes() -> None:
    run_virtual(lambda: check_fleet(simulated, count_min=1, count_max=3))


def test_the_servers_of_this_machine_pass(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    with PeakerRun.with_settings(tmp_path, SETTINGS) as run:

        @asynccontextmanager
        async def local() -> AsyncIterator[Fleet]:
            yield LocalFleet(run.state.supervisor_socket)

        asyncio.run(check_fleet(local, count_min=1, count_max=3))
    with pytest.raises(CapacityUnavailable, match="cannot be reached"):
        asyncio.run(LocalFleet(run.state.supervisor_socket).servers())


class _Replaces(SimulatedFleet):
    """Starts all of them anew whenever the number changes."""

    async def set_server_count(self, count: int) -> None:
        await super().set_server_count(1)
        self._servers.clear()
        await super().set_server_count(count)


class _Forgets(SimulatedFleet):
    """Takes any number."""

    async def set_server_count(self, count: int) -> None:
        await super().set_server_count(min(max(count, 1), 3))


class _GoesBack(SimulatedFleet):
    """A ready server is starting again, now and then."""

    async def servers(self) -> list[Server]:
        found = list(await super().servers())
        if len(self.asked) > 1:
            found[0] = Server(name=found[0].name, status=ServerStatus.STARTING, started_at_s=found[0].started_at_s)
        return found


@pytest.mark.parametrize(
    ("kind", "said"), [(_Replaces, "one more was asked for"), (_Forgets, "were accepted"), (_GoesBack, "went back")]
)
def test_a_fleet_that_is_wrong_is_told_how(kind: type[SimulatedFleet], said: str) -> None:
    @asynccontextmanager
    async def wrong() -> AsyncIterator[Fleet]:
        yield virtual_fleet(kind)

    with pytest.raises(AssertionError, match=said):
        run_virtual(lambda: check_fleet(wrong, count_min=1, count_max=3, change_s_max=20))


def test_bounds_without_room_are_said() -> None:
    with pytest.raises(ValueError, match="less than two apart"):
        asyncio.run(check_fleet(simulated, count_min=1, count_max=2))
