"""The servers of this machine as the control loop has them: asked for and counted over the supervisor's socket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peaker.control_socket import CommandRefused, ControlClient, ControlUnavailable
from peaker.errors import CapacityUnavailable
from peaker.interfaces import Fleet, Server, ServerStatus

ANSWER_S_MAX = 5.0

BY_LOOP = "loop"
"""Says in a command that no person asked for it: while a number is held by hand, the supervisor refuses it."""


class LocalFleet(Fleet):
    """Connects for each call: whichever supervisor lives then is asked, also one that has just taken over."""

    def __init__(self, supervisor_socket: Path) -> None:
        self._path = supervisor_socket

    async def set_server_count(self, count: int) -> None:
        """Ask for this many and return at once.

        Raises:
            CapacityUnavailable: it is outside the bounds, held by hand, everything stops, or no supervisor answers.
        """
        await self._ask("scale", servers=count, wait=False, by=BY_LOOP)

    async def servers(self) -> Sequence[Server]:
        """The servers there are; raises CapacityUnavailable where no supervisor answers."""
        reply = await self._ask("servers")
        return [
            Server(name=one["name"], status=ServerStatus(one["status"]), started_at_s=one["started_at_s"])
            for one in reply["servers"]
        ]

    async def _ask(self, command: str, **fields: Any) -> dict[str, Any]:
        try:
            client = await ControlClient.connect(self._path, timeout_s=ANSWER_S_MAX)
            try:
                return await client.command(command, timeout_s=ANSWER_S_MAX, **fields)
            finally:
                client.close()
        except (ControlUnavailable, CommandRefused) as error:
            raise CapacityUnavailable(error.what, where=error.where, remedy=error.remedy) from error
