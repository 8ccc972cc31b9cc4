"""The app's lifespan in a worker."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from peaker.errors import AppStartError

_FAILURE_CHARACTERS_MAX = 4000


class Lifespan(LifespanOn):
    """uvicorn's, telling why a start failed instead of only logging it.

    An app that raises before it has answered `lifespan.startup` does not support lifespans (ASGI, section "Lifespan
    Protocol") and is served without one.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._failure = ""

    async def start(self) -> dict[str, Any]:
        """Run the start-up and return the state that requests get a copy of; raises AppStartError."""
        await self.startup()
        if self.should_exit:
            message = self._failure.strip() or "it gave no message."
            raise AppStartError(f"the app's lifespan start-up failed: {message[-_FAILURE_CHARACTERS_MAX:]}")
        return self.state

    async def stop(self, timeout_s: float) -> bool:
        """Run the shutdown; False when it failed or took longer than `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.shutdown()
        except TimeoutError:
            return False
        return not self.shutdown_failed

    async def send(self, message: LifespanSendMessage) -> None:
        """Keep the reason of a failure."""
        if message["type"] == "lifespan.startup.failed":
            self._failure = message.get("message", "")
            message = {"type": "lifespan.startup.failed", "message": ""}  # Whoever catches AppStartError tells it.
        await super().send(message)
