"""Twenty milliseconds of CPU in an `async def`: the event loop does nothing else meanwhile."""

from __future__ import annotations

import time
import zlib

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

CPU_S = 0.020
CHUNK = bytes(range(256)) * 64


async def work(_request: Request) -> PlainTextResponse:
    end_s = time.thread_time() + CPU_S  # CPU of this thread, so a crowded machine does not shorten the work.
    checksum = 0
    while time.thread_time() < end_s:
        checksum = zlib.crc32(CHUNK, checksum)
    return PlainTextResponse(f"{checksum}\n")


app = Starlette(routes=[Route("/titles/{number:int}", work)])
