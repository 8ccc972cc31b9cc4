"""The session's app in Starlette."""

from __future__ import annotations

import json

from app_content import ALL_BYTES, FILES, RESPONSE_COOKIES, SECRET, USERS, described, large_body
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket


async def index(request: Request) -> HTMLResponse:
    return HTMLResponse(f"<h1>Welcome, {request.session.get('user', 'stranger')}</h1>")


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Grüße, {request.path_params['name']}! 😀")


async def login(request: Request) -> Response:
    form = await request.form()
    user = str(form.get("user", ""))
    if user not in USERS or USERS[user] != form.get("password"):
        return JSONResponse({"error": "unknown user or password"}, 401)
    request.session["user"], request.session["visits"] = user, 0
    return RedirectResponse("/me", 303)


async def me(request: Request) -> JSONResponse:
    if "user" not in request.session:
        raise HTTPException(401, "log in first", {"www-authenticate": 'Form realm="session"'})
    request.session["visits"] += 1
    return JSONResponse({"user": request.session["user"], "visits": request.session["visits"]})


async def logout(request: Request) -> RedirectResponse:
    request.session.clear()
    return RedirectResponse("/", 303)


async def upload(request: Request) -> JSONResponse:
    answer = []
    async with request.form() as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = await value.read()
                answer.append(described(data, name=name, filename=value.filename, type=value.content_type))
            else:
                answer.append({"name": name, "value": value})
    return JSONResponse(answer, 201)


async def upload_raw(request: Request) -> JSONResponse:
    return JSONResponse(described(await request.body(), type=request.headers.get("content-type", "")))


async def echo(request: Request) -> JSONResponse:
    try:
        return JSONResponse(await request.json())
    except json.JSONDecodeError as error:
        return JSONResponse({"error": str(error)}, 422)


async def item(request: Request) -> Response:
    if request.method == "DELETE":
        return Response(status_code=204)
    body = await request.body()
    number = request.path_params["number"]
    return JSONResponse(
        {"item": number, "method": request.method, "body": body.decode()}, headers={"etag": f'"{number}"'}
    )


async def query(request: Request) -> JSONResponse:
    raw = request.scope["query_string"].decode("latin-1")
    return JSONResponse({"pairs": request.query_params.multi_items(), "raw": raw})


async def path(request: Request) -> JSONResponse:
    return JSONResponse({"rest": request.path_params["rest"], "raw": request.scope["raw_path"].decode()})


async def headers(request: Request) -> JSONResponse:
    return JSONResponse(request.headers.items())


async def cookies(request: Request) -> JSONResponse:
    return JSONResponse({name: value for name, value in request.cookies.items() if name != "session"})


async def set_cookies(_: Request) -> PlainTextResponse:
    response = PlainTextResponse("set")
    for name, value, cookie_path in RESPONSE_COOKIES:
        response.set_cookie(name, value, path=cookie_path, httponly=name == "second")
    return response


async def delete_cookies(_: Request) -> PlainTextResponse:
    response = PlainTextResponse("deleted")
    for name, _value, cookie_path in RESPONSE_COOKIES:
        response.delete_cookie(name, path=cookie_path)
    return response


async def status(request: Request) -> Response:
    return Response(status_code=request.path_params["code"], headers={"x-code": str(request.path_params["code"])})


async def large(request: Request) -> Response:
    return Response(large_body(request.path_params["size"]), media_type="text/plain")


async def binary(_: Request) -> Response:
    return Response(ALL_BYTES, media_type="application/octet-stream", headers={"x-latin": "café"})


async def download(_: Request) -> Response:
    disposition = "attachment; filename*=UTF-8''na%C3%AFve.csv"
    response = Response(
        "a,b\n1,2\n", media_type="text/csv", headers={"content-disposition": disposition, "vary": "cookie"}
    )
    response.headers.append("vary", "accept")
    return response


async def moved(_: Request) -> RedirectResponse:
    return RedirectResponse("/hello/caf%C3%A9?from=moved", 308)


async def connection(request: Request) -> JSONResponse:
    scope = request.scope
    host = request.client.host if request.client else ""
    return JSONResponse(
        {"scheme": scope["scheme"], "version": scope["http_version"], "client": host, "url": str(request.url)}
    )


async def boom(_: Request) -> Response:
    raise RuntimeError("as planned")


async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())


app = Starlette(
    routes=[
        Route("/", index),
        Route("/hello/{name}", hello),
        Route("/login", login, methods=["POST"]),
        Route("/me", me),
        Route("/logout", logout, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/upload/raw", upload_raw, methods=["POST", "PUT"]),
        Route("/echo", echo, methods=["POST"]),
        Route("/items/{number:int}", item, methods=["GET", "PUT", "PATCH", "DELETE"]),
        Route("/query", query),
        Route("/path/{rest:path}", path),
        Route("/headers", headers),
        Route("/cookies", cookies),
        Route("/cookies/set", set_cookies),
        Route("/cookies/delete", delete_cookies),
        Route("/status/{code:int}", status),
        Route("/large/{size:int}", large),
        Route("/binary", binary),
        Route("/download", download),
        Route("/moved", moved),
        Route("/connection", connection),
        Route("/boom", boom),
        Mount("/static", StaticFiles(directory=FILES)),
        WebSocketRoute("/ws", websocket),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key=SECRET)],
)
