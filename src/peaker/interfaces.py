"""The small interfaces: run a function, and have servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from peaker.messages import Invocation, Reply


class Functions(Protocol):
    """Whatever runs functions: AWS Lambda, the local function host, a simulation."""

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run once and return the reply.

        Raises:
            Unavailable: no byte was sent; safe to try elsewhere.
            Throttled: not started; safe to send again.
            InvocationRefused: not started, and never will be as it stands.
            DeadlineExceeded: no answer in time; effect unknown, never sent again.
            FunctionCrashed: the connection or process died; effect unknown, never sent again.
        """
        ...


class StreamedReply(Protocol):
    """One run of a function whose answer is read while it is written; to be closed, however it ends."""

    @property
    def billed_ms(self) -> float:
        """What the run is billed for, once it has ended; 0 where nobody says."""
        ...

    async def read(self) -> bytes:
        """The next of what the function writes; b"" when it has ended well, and once this is closed.

        Raises:
            DeadlineExceeded: it was not whole in time; effect unknown.
            FunctionCrashed: it broke off, or the function failed; effect unknown.
        """
        ...

    def close(self) -> None:
        """Nothing more is wanted: the function is told, and who waits in `read` goes on."""
        ...


class StreamingFunctions(Protocol):
    """What runs functions and hands on what they write as it comes (Lambda's InvokeWithResponseStream)."""

    async def invoke_streaming(self, invocation: Invocation) -> StreamedReply:
        """Run once; returns when the function has begun to write, or has ended. Raises as `Functions.invoke`."""
        ...


class ServerStatus(Enum):
    """The life of a server; it only moves to the right, or to FAILED from anywhere."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server as the fleet sees it."""

    name: str
    status: ServerStatus
    started_at_s: float


class Fleet(Protocol):
    """Whatever has servers: processes on this machine, an Auto Scaling group, an ECS service."""

    async def set_server_count(self, count: int) -> None:
        """Ask for this many servers; raises CapacityUnavailable where that cannot be."""
        ...

    async def servers(self) -> Sequence[Server]:
        """The servers there are now, whatever their status."""
        ...
