"""What can be asked of a supervisor on its control socket; docs/architecture.md has the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from peaker.control_socket import Command, CommandRefused, WithSocket
from peaker.errors import CapacityUnavailable
from peaker.policy.supervision import Kind

if TYPE_CHECKING:
    from peaker.engines.local.supervisor import Supervisor


def commands_of(supervisor: Supervisor) -> Mapping[str, Command]:
    """By name; each takes the line and gives the fields of its reply."""
    commands = _Commands(supervisor)
    return {
        "scale": commands.scale,
        "settled": commands.settled,
        "reload": commands.reload,
        "listener": commands.listener,
        "hand_over": commands.hand_over,
        "taken_over": commands.taken_over,
        "drain": commands.drain,
    }


class _Commands:
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def scale(self, line: dict[str, Any]) -> dict[str, Any]:
        count = line.get("servers")
        if not isinstance(count, int) or isinstance(count, bool):
            raise CapacityUnavailable(f"servers = {count!r} is not a whole number.")
        before = self._supervisor.servers_wanted
        await self._supervisor.set_server_count(count)
        if line.get("wait", True):
            await self._supervisor.settled()
        return {"servers": count, "before": before}

    async def settled(self, _: dict[str, Any]) -> dict[str, Any]:
        await self._supervisor.settled()
        return {"settled": self._supervisor.is_settled}

    async def reload(self, line: dict[str, Any]) -> dict[str, Any]:
        before = self._supervisor.launch.generation
        generation = await self._supervisor.reload()
        if line.get("wait", True):
            await self._supervisor.settled()
        return {"generation": generation, "before": before}

    async def listener(self, line: dict[str, Any]) -> WithSocket:
        kind = next((kind for kind in Kind if kind.value == line.get("kind")), None)
        found = self._supervisor.launch.listeners.of(kind) if kind is not None else None
        if found is None:
            raise CommandRefused(f"there is no listening socket for {line.get('kind')!r}.")
        return WithSocket(found)

    async def hand_over(self, line: dict[str, Any]) -> dict[str, Any]:
        self._supervisor.begin_hand_over(line)
        return {}

    async def taken_over(self, _: dict[str, Any]) -> dict[str, Any]:
        self._supervisor.finish_hand_over()
        return {}

    async def drain(self, _: dict[str, Any]) -> dict[str, Any]:
        if not self._supervisor.is_stopping:
            self._supervisor.stop()
        return {}
