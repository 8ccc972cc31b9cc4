"""Three apps with the same 20 routes: bare ASGI, Starlette, FastAPI; each answers a few bytes at once."""

from typing import Any

from peaker.asgi import ASGIApp, Receive, Scope, Send

ROUTES = 20
ITEMS = 5


def paths() -> list[str]:
    """What is asked for, in turn: every route, with a few values of its parameter."""
    return [f"/r{route}/{item}" for item in range(ITEMS) for route in range(ROUTES)]


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    del receive
    assert scope["type"] == "http"
    head = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"ok"})


def starlette() -> ASGIApp:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    async def show(request: Request) -> Response:
        return PlainTextResponse("item " + request.path_params["item"])

    return Starlette(routes=[Route(f"/r{route}/{{item}}", show) for route in range(ROUTES)])


def fastapi() -> ASGIApp:
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)

    async def show(item: int, page: int = 1) -> dict[str, Any]:
        return {"item": item, "page": page}

    for route in range(ROUTES):
        app.get(f"/r{route}/{{item}}")(show)
    return app


def make(name: str) -> ASGIApp:
    return raw if name == "raw" else {"starlette": starlette, "fastapi": fastapi}[name]()
