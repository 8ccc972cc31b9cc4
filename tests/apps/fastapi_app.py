"""The session's app in FastAPI, with validated parameters and models where the others parse by hand."""

from __future__ import annotations

from typing import Annotated, Any

from app_content import ALL_BYTES, FILES, RESPONSE_COOKIES, SECRET, USERS, described, large_body
from fastapi import Body, Depends, FastAPI, Form, HTTPException, Request, Response, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.middleware.sessions import SessionMiddleware

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=SECRET)
app.mount("/static", StaticFiles(directory=FILES))


class User(BaseModel):
    user: str
    visits: int


def current_user(request: Request) -> str:
    if "user" not in request.session:
        raise HTTPException(401, "log in first", {"www-authenticate": 'Form realm="session"'})
    return str(request.session["user"])


@app.get("/")
@app.head("/")
async def index(request: Request) -> HTMLResponse:
    return HTMLResponse(f"<h1>Welcome, {request.session.get('user', 'stranger')}</h1>")


@app.get("/hello/{name}")
def hello(name: str) -> PlainTextResponse:
    return PlainTextResponse(f"Grüße, {name}! 😀")


@app.post("/login")
def login(request: Request, user: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "") -> Response:
    if user not in USERS or USERS[user] != password:
        raise HTTPException(401, "unknown user or password")
    request.session["user"], request.session["visits"] = user, 0
    return RedirectResponse("/me", 303)


@app.get("/me")
def me(request: Request, user: Annotated[str, Depends(current_user)]) -> User:
    request.session["visits"] += 1
    return User(user=user, visits=request.session["visits"])


@app.post("/logout")
async def logout(request: Request) -> RedirectResponse:
    request.session.clear()
    return RedirectResponse("/", 303)


@app.post("/upload", status_code=201)
async def upload(request: Request) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = []
    async with request.form() as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = await value.read()
                answer.append(described(data, name=name, filename=value.filename, type=value.content_type))
            else:
                answer.append({"name": name, "value": value})
    return answer


@app.api_route("/upload/raw", methods=["POST", "PUT"])
async def upload_raw(request: Request) -> dict[str, Any]:
    return described(await request.body(), type=request.headers.get("content-type", ""))


@app.post("/echo")
async def echo(document: Annotated[Any, Body()]) -> Any:
    return document


@app.api_route("/items/{number}", methods=["GET", "PUT", "PATCH"])
async def item(number: int, request: Request, response: Response) -> dict[str, Any]:
    response.headers["etag"] = f'"{number}"'
    return {"item": number, "method": request.method, "body": (await request.body()).decode()}


@app.delete("/items/{number}", status_code=204)
async def delete_item(number: int) -> None:
    assert number >= 0


@app.get("/query")
async def query(request: Request) -> dict[str, Any]:
    raw = request.scope["query_string"].decode("latin-1")
    return {"pairs": request.query_params.multi_items(), "raw": raw}


@app.get("/path/{rest:path}")
async def path(rest: str, request: Request) -> dict[str, str]:
    return {"rest": rest, "raw": request.scope["raw_path"].decode()}


@app.get("/headers")
async def headers(request: Request) -> list[tuple[str, str]]:
    return request.headers.items()


@app.get("/cookies")
async def cookies(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.cookies.items() if name != "session"}


@app.get("/cookies/set")
async def set_cookies() -> PlainTextResponse:
    response = PlainTextResponse("set")
    for name, value, cookie_path in RESPONSE_COOKIES:
        response.set_cookie(name, value, path=cookie_path, httponly=name == "second")
    return response


@app.get("/cookies/delete")
async def delete_cookies() -> PlainTextResponse:
    response = PlainTextResponse("deleted")
    for name, _, cookie_path in RESPONSE_COOKIES:
        response.delete_cookie(name, path=cookie_path)
    return response


@app.get("/status/{code}")
async def status(code: int) -> Response:
    return Response(status_code=code, headers={"x-code": str(code)})


@app.get("/large/{size}")
def large(size: int) -> Response:
    return Response(large_body(size), media_type="text/plain")


@app.get("/binary")
async def binary() -> Response:
    return Response(ALL_BYTES, media_type="application/octet-stream", headers={"x-latin": "café"})


@app.get("/download")
async def download() -> Response:
    disposition = "attachment; filename*=UTF-8''na%C3%AFve.csv"
    response = Response(
        "a,b\n1,2\n", media_type="text/csv", headers={"content-disposition": disposition, "vary": "cookie"}
    )
    response.headers.append("vary", "accept")
    return response


@app.get("/moved")
async def moved() -> RedirectResponse:
    return RedirectResponse("/hello/caf%C3%A9?from=moved", 308)


@app.get("/connection")
async def connection(request: Request) -> dict[str, str]:
    scope = request.scope
    host = request.client.host if request.client else ""
    return {"scheme": scope["scheme"], "version": scope["http_version"], "client": host, "url": str(request.url)}


@app.get("/boom")
async def boom() -> None:
    raise RuntimeError("as planned")


@app.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())
