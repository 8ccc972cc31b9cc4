"""The web app. It knows nothing of Peaker.

Catalogue pages keep nothing in the process, so they may run anywhere. Playback holds a WebSocket for as long as
somebody watches and counts the viewers in memory, so it belongs on servers; peaker.toml says so.
"""

from __future__ import annotations

import contextlib
import html
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from store_client import StoreClient, StoreError

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui;max-width:48rem;margin:2rem auto}}</style><h1>{title}</h1>{body}</html>"""


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.store = StoreClient.from_environment()
    app.state.viewers = 0
    yield
    await app.state.store.close()


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(PAGE.format(title=html.escape(title), body=body), status)


async def catalogue(request: Request) -> HTMLResponse:
    number = request.path_params.get("page", 0)
    titles: list[dict[str, Any]] = await request.app.state.store.page(number)
    items = "".join(f'<li><a href="/titles/{t["id"]}">{html.escape(t["name"])}</a> ({t["kind"]})</li>' for t in titles)
    return page("Catalogue", f'<ul>{items}</ul><p><a href="/catalogue/{number + 1}">more</a></p>')


async def title(request: Request) -> HTMLResponse:
    found = await request.app.state.store.title(request.path_params["number"])
    if found is None:
        return page("No such title", '<p><a href="/">catalogue</a></p>', 404)
    about = f'<p>{found["kind"]}, {found["minutes"]} minutes</p><p><a href="/play/{found["id"]}">play</a></p>'
    return page(found["name"], about)


async def play(request: Request) -> HTMLResponse:
    number = request.path_params["number"]
    script = f"""<p id="s">connecting</p><script>
const scheme = location.protocol === "https:" ? "wss" : "ws";
const socket = new WebSocket(`${{scheme}}://${{location.host}}/play/{number}/heartbeat`);
let position = 0;
socket.onopen = () => setInterval(() => socket.send(JSON.stringify({{position_s: position++}})), 1000);
socket.onmessage = message => document.getElementById("s").textContent = message.data;</script>"""
    return page("Playing", script)


async def heartbeat(socket: WebSocket) -> None:
    await socket.accept()
    socket.app.state.viewers += 1
    try:
        while True:
            position_s = (await socket.receive_json())["position_s"]
            await socket.send_json({"position_s": position_s, "viewers": socket.app.state.viewers})
    except WebSocketDisconnect:
        pass  # The viewer has closed the player.
    finally:
        socket.app.state.viewers -= 1


async def viewers(request: Request) -> JSONResponse:
    return JSONResponse({"viewers": request.app.state.viewers})


async def store_failed(_request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse(f"{error}\n", 502)


app = Starlette(
    routes=[
        Route("/", catalogue),
        Route("/catalogue/{page:int}", catalogue),
        Route("/titles/{number:int}", title),
        Route("/play/{number:int}", play),
        Route("/play/viewers", viewers),
        WebSocketRoute("/play/{number:int}/heartbeat", heartbeat),
    ],
    exception_handlers={StoreError: store_failed},
    lifespan=lifespan,
)
