"""A catalogue of `def` endpoints: each blocks one of the forty threads of its worker while it asks the store."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
from collections.abc import Iterator
from typing import BinaryIO

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

_pool: queue.LifoQueue[BinaryIO | None] = queue.LifoQueue()
for _ in range(int(os.environ.get("PEAKER_RESOURCE_STORE_POOL", "40"))):
    _pool.put(None)  # Room for a connection; it is opened by whoever first needs it.


@contextlib.contextmanager
def connection() -> Iterator[BinaryIO]:
    file = _pool.get()
    try:
        if file is None:
            host, _, port = os.environ["STORE_ADDRESS"].rpartition(":")
            with socket.create_connection((host, int(port)), timeout=20) as opened:
                file = opened.makefile("rwb", buffering=0)
        yield file
    except BaseException:
        if file is not None:
            file.close()
            file = None
        raise
    finally:
        _pool.put(file)


def ask(line: str) -> str:
    with connection() as file:
        file.write(line.encode() + b"\n")
        answer = file.readline().decode()
        if not answer.startswith("OK "):
            raise OSError(f"the store answered {answer!r}")
        return answer[3:]


def catalogue(request: Request) -> PlainTextResponse:
    return PlainTextResponse(ask(f"LIST {request.path_params.get('page', 0)}"))


def title(request: Request) -> PlainTextResponse:
    return PlainTextResponse(ask(f"GET {request.path_params['number']}"))


@contextlib.asynccontextmanager
async def lifespan(_app: Starlette):  # noqa: ANN201 - as Starlette wants it
    yield
    idle = [_pool.get_nowait() for _ in range(_pool.qsize())]
    for file in idle:
        if file is not None:
            file.close()
        _pool.put(None)


app = Starlette(
    routes=[
        Route("/", catalogue),
        Route("/catalogue/{page:int}", catalogue),
        Route("/titles/{number:int}", title),
    ],
    lifespan=lifespan,
)
