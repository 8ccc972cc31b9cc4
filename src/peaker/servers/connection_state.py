"""What all connections of one worker share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from uvicorn.server import ServerState

from peaker.settings import ServersSection


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Times in seconds, sizes in bytes; see [servers]."""

    header_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float
    header_bytes_max: int
    connections_max: int

    @classmethod
    def of(cls, servers: ServersSection) -> ConnectionLimits:
        """Those of the settings."""
        return cls(
            header_timeout_s=servers.header_timeout_s,
            body_timeout_s=servers.body_timeout_s,
            keep_alive_s=servers.keep_alive_s,
            header_bytes_max=servers.header_bytes_max,
            connections_max=servers.connections_max,
        )


class ConnectionState(ServerState):
    """uvicorn's own shared state, and what Peaker's protocol adds.

    `now_s` is a coarse monotonic time, set every 10 ms: reading it costs the request path an attribute, not a call.
    """

    def __init__(self, limits: ConnectionLimits, now_s: float) -> None:
        super().__init__()
        self.limits = limits
        self.now_s = now_s
        self.closing = limits.keep_alive_s == 0
        """Responses carry `Connection: close` from now on."""
        self.websocket_tasks: set[asyncio.Task[None]] = set()
