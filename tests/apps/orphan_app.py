"""An app that leaves processes behind: GET /orphan starts one whose parent ends at once."""

from __future__ import annotations

import subprocess
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    if scope["path"] == "/orphan":
        subprocess.run(["sh", "-c", "sleep 0.05 &"], check=True)  # noqa: ASYNC221 - ends at once
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
