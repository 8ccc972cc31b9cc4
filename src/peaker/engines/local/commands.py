"""What can be asked of a supervisor on its control socket; docs/architecture.md has the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from peaker.control_socket import Command, CommandRefused, WithSocket
from peaker.engines.local.fleet import BY_LOOP
from peaker.engines.local.hold import Hold, drop_hold, read_hold, write_hold
from peaker.errors import CapacityUnavailable, StateError
from peaker.policy.supervision import Kind

if TYPE_CHECKING:
    from peaker.engines.local.supervisor import Supervisor


def commands_of(supervisor: Supervisor) -> Mapping[str, Command]:
    """By name; each takes the line and gives the fields of its reply."""
    commands = _Commands(supervisor)
    return {
        "scale": commands.scale,
        "auto": commands.auto,
        "servers": commands.servers,
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
        """What a person sets holds until `auto`; what the control loop asks for does not, and gives way to it."""
        count = line.get("servers")
        if not isinstance(count, int) or isinstance(count, bool):
            raise CapacityUnavailable(f"servers = {count!r} is not a whole number.")
        supervisor = self._supervisor
        state, is_by_loop = supervisor.launch.state, line.get("by") == BY_LOOP
        if is_by_loop and (hold := read_hold(state)) is not None:
            raise CapacityUnavailable(
                f"{hold.servers} servers are held by hand.", remedy="`peaker scale auto` ends that."
            )
        before = supervisor.servers_wanted
        await supervisor.set_server_count(count)
        if not is_by_loop:
            write_hold(state, Hold(count, supervisor.epoch_s()))
        if line.get("wait", True):
            await supervisor.settled()
        return {"servers": count, "before": before}

    async def auto(self, _: dict[str, Any]) -> dict[str, Any]:
        state = self._supervisor.launch.state
        try:
            hold = read_hold(state)
        except StateError:
            hold = None  # Whatever it was, it is dropped.
        drop_hold(state)
        return {"servers": self._supervisor.servers_wanted, "held": hold.servers if hold is not None else None}

    async def servers(self, _: dict[str, Any]) -> dict[str, Any]:
        found = await self._supervisor.servers()
        return {"servers": [{**asdict(one), "status": one.status.value} for one in found]}

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
