"""The web app: takes films, shows what was made of them, counts views. What is slow happens afterwards."""

from __future__ import annotations

import json
import os
import time

from places import FILMS, RENDITIONS, THUMBNAILS, VIEWS, write
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


async def upload(request: Request) -> Response:
    await run_in_threadpool(write, FILMS / request.path_params["film"], await request.body())
    return JSONResponse({"film": request.path_params["film"]}, status_code=202)


async def rendition(request: Request) -> Response:
    path = RENDITIONS / f"small-{request.path_params['film']}"
    return FileResponse(path) if path.exists() else PlainTextResponse("not there (yet)\n", status_code=404)


async def thumbnail(request: Request) -> Response:
    path = THUMBNAILS / f"{request.path_params['film']}.jpg"
    return FileResponse(path) if path.exists() else PlainTextResponse("not there (yet)\n", status_code=404)


async def view(request: Request) -> Response:
    line = json.dumps({"film": request.path_params["film"], "at_s": time.time()}) + "\n"
    descriptor = os.open(VIEWS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/films/{film}", upload, methods=["PUT"]),
        Route("/films/{film}", rendition),
        Route("/films/{film}/views", view, methods=["POST"]),
        Route("/thumbnails/{film}", thumbnail),
    ]
)
