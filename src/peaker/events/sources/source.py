"""What every source is: something outside that is listened to, and turned into runs of functions.

A source is one loop. It first joins itself to what it listens to (makes the queue, the subscription, the watch), then
reads until it is stopped. Whatever goes wrong outside ends neither the process nor the source: it waits a while, longer
each time, and joins itself again, for a stand-in that was started anew has lost everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from peaker.aws_calls.client import AwsClient
from peaker.clock import Clock
from peaker.errors import MalformedEvent, PeakerError
from peaker.events.invoking import Invoke
from peaker.messages import Event
from peaker.settings import Settings

AGAIN_S_FIRST = 0.1
AGAIN_S_MAX = 5.0

_logger = logging.getLogger("peaker.events.sources")


class Condition(Enum):
    """How a source does."""

    JOINING = "joining"
    LISTENING = "listening"
    FAILING = "failing"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What sources work with.

    Args:
        put: accepts an event into the durable queue, those put at the same time in order; raises QueueFull,
            QueueUnavailable and MalformedEvent.
        invoke: runs a function for a batch whose store is elsewhere.
        client: calls the stand-in; None where there is none.
        positions: file that remembers how far each source has come.
    """

    settings: Settings
    put: Callable[[Event], Awaitable[str]]
    invoke: Invoke
    client: AwsClient | None
    clock: Clock
    positions: Path

    @property
    def aws(self) -> AwsClient:
        """The client, of those sources that are only made where there is one."""
        assert self.client is not None
        return self.client


class Source(ABC):
    """One thing that is listened to. `name` is what its events are known by, as `object_created/uploads`."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.around = around
        self.condition = Condition.JOINING
        self.error = ""
        self.taken = 0
        """Messages, objects or changes that have become events or were run."""
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop().create_task(self._listen(), name=self.name)

    async def stop(self, timeout_s: float) -> None:
        """Take nothing more; what was taken is brought to its end for at most this long."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        await self.finish(timeout_s)
        self.condition = Condition.STOPPED

    def describe(self) -> dict[str, Any]:
        """For people: the name, how it does, the last error while it lasts, how much was taken."""
        return {"name": self.name, "condition": self.condition.value, "error": self.error, "taken": self.taken}

    async def put(self, events: Sequence[Event]) -> None:
        """Have them kept, in this order; raises QueueFull and QueueUnavailable, then to be put again, all of them."""
        for ended in await asyncio.gather(*(self.around.put(event) for event in events), return_exceptions=True):
            if isinstance(ended, MalformedEvent):
                # It never will be kept: those behind it must not wait for that.
                _logger.error("%s: dropped: %s", self.name, ended, extra={"action": "source"})
            elif isinstance(ended, BaseException):
                raise ended
        self.taken += len(events)

    @abstractmethod
    async def join(self) -> None:
        """Make and find what is needed to listen; may be called again at any time."""

    @abstractmethod
    async def read(self) -> None:
        """Wait for what comes next and take it; called over and over."""

    async def finish(self, timeout_s: float) -> None:  # noqa: B027 - most have nothing to do
        """Bring to its end what was taken; nothing to do where `read` does so itself."""

    async def _listen(self) -> None:
        again_s = AGAIN_S_FIRST
        while True:
            try:
                await self.join()
                while True:
                    await self.read()
                    again_s = AGAIN_S_FIRST
                    self._is_well()
            except (PeakerError, OSError) as error:
                self._is_failing(error)
            except Exception as error:
                # A mistake of the source's own, or an answer of a shape never seen: the other sources go on.
                _logger.exception("%s", self.name, extra={"action": "source"})
                self._is_failing(error)
            await asyncio.sleep(again_s)
            again_s = min(AGAIN_S_MAX, again_s * 2)

    def _is_well(self) -> None:
        if self.condition is not Condition.LISTENING:
            _logger.info("%s: listening", self.name, extra={"action": "source"})
            self.condition, self.error = Condition.LISTENING, ""

    def _is_failing(self, error: Exception) -> None:
        told = str(error) or type(error).__name__
        if self.condition is not Condition.FAILING or told != self.error:
            _logger.warning("%s: %s", self.name, told, extra={"action": "source"})
        self.condition, self.error = Condition.FAILING, told
