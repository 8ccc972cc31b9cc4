"""The other workers of this machine, as the gate sees them."""

from __future__ import annotations

from typing import Protocol

from peaker.asgi import Receive, Scope, Send


class Siblings(Protocol):
    """Whoever can take a request off a full worker without anything being paid for."""

    def find_free(self) -> int | None:
        """Row of a sibling that showed a free slot a moment ago, None without one; a few microseconds at most."""
        ...

    async def hand_over(self, row: int, scope: Scope, receive: Receive, send: Send) -> bool:
        """Let the worker of this row answer.

        True means that it has answered through `send`. False means that it was full after all: nothing was taken from
        `receive`, nothing was sent, and the app has not begun; the caller decides anew.
        """
        ...
