"""The session's app in Flask: WSGI, synchronous."""

from __future__ import annotations

from typing import Any

from app_content import ALL_BYTES, FILES, RESPONSE_COOKIES, SECRET, USERS, described, large_body
from flask import Flask, Response, jsonify, redirect, request, send_from_directory, session
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

app = Flask(__name__, static_folder=None)
app.secret_key = SECRET
app.config["TRAP_HTTP_EXCEPTIONS"] = False


@app.get("/")
def index() -> str:
    return f"<h1>Welcome, {session.get('user', 'stranger')}</h1>"


@app.get("/hello/<name>")
def hello(name: str) -> Response:
    return Response(f"Grüße, {name}! 😀", mimetype="text/plain")


@app.post("/login")
def login() -> AnyResponse:
    user = request.form.get("user", "")
    if user not in USERS or USERS[user] != request.form.get("password"):
        response = jsonify(error="unknown user or password")
        response.status_code = 401
        return response
    session["user"], session["visits"] = user, 0
    return redirect("/me", 303)


@app.get("/me")
def me() -> AnyResponse:
    if "user" not in session:
        return Response("log in first", 401, {"www-authenticate": 'Form realm="session"'})
    session["visits"] += 1
    return jsonify(user=session["user"], visits=session["visits"])


@app.post("/logout")
def logout() -> AnyResponse:
    session.clear()
    return redirect("/", 303)


@app.post("/upload")
def upload() -> tuple[Response, int]:
    answer: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, values in request.form.lists() for value in values
    ]
    for name, files in request.files.lists():
        answer += [described(f.read(), name=name, filename=f.filename, type=f.content_type) for f in files]
    return jsonify(answer), 201


@app.route("/upload/raw", methods=["POST", "PUT"])
def upload_raw() -> Response:
    return jsonify(described(request.get_data(), type=request.headers.get("content-type", "")))


@app.post("/echo")
def echo() -> AnyResponse:
    try:
        return jsonify(request.get_json(force=True))
    except BadRequest as error:
        response = jsonify(error=error.name)
        response.status_code = 422
        return response


@app.route("/items/<int:number>", methods=["GET", "PUT", "PATCH", "DELETE"])
def item(number: int) -> Response:
    if request.method == "DELETE":
        return Response(status=204)
    response = jsonify(item=number, method=request.method, body=request.get_data(as_text=True))
    response.headers["etag"] = f'"{number}"'
    return response


@app.get("/query")
def query() -> Response:
    return jsonify(pairs=list(request.args.items(multi=True)), raw=request.query_string.decode("latin-1"))


@app.get("/path/<path:rest>")
def path(rest: str) -> Response:
    return jsonify(rest=rest, path=request.path)


@app.get("/headers")
def headers() -> Response:
    return jsonify(list(request.headers.items()))


@app.get("/cookies")
def cookies() -> Response:
    return jsonify({name: value for name, value in request.cookies.items() if name != "session"})


@app.get("/cookies/set")
def set_cookies() -> Response:
    response = Response("set", mimetype="text/plain")
    for name, value, cookie_path in RESPONSE_COOKIES:
        response.set_cookie(name, value, path=cookie_path, httponly=name == "second")
    return response


@app.get("/cookies/delete")
def delete_cookies() -> Response:
    response = Response("deleted", mimetype="text/plain")
    for name, _, cookie_path in RESPONSE_COOKIES:
        response.delete_cookie(name, path=cookie_path)
    return response


@app.get("/status/<int:code>")
def status(code: int) -> Response:
    return Response(status=code, headers={"x-code": str(code)})


@app.get("/large/<int:size>")
def large(size: int) -> Response:
    return Response(large_body(size), mimetype="text/plain")


@app.get("/binary")
def binary() -> Response:
    return Response(ALL_BYTES, mimetype="application/octet-stream", headers={"x-latin": "café"})


@app.get("/download")
def download() -> Response:
    disposition = "attachment; filename*=UTF-8''na%C3%AFve.csv"
    response = Response("a,b\n1,2\n", mimetype="text/csv", headers={"content-disposition": disposition})
    response.headers.add("vary", "cookie")
    response.headers.add("vary", "accept")
    return response


@app.get("/moved")
def moved() -> AnyResponse:
    return redirect("/hello/caf%C3%A9?from=moved", 308)


@app.get("/connection")
def connection() -> Response:
    protocol = request.environ["SERVER_PROTOCOL"].removeprefix("HTTP/")
    return jsonify(scheme=request.scheme, version=protocol, client=request.remote_addr, url=request.url)


@app.get("/boom")
def boom() -> Response:
    raise RuntimeError("as planned")


@app.get("/static/<path:name>")
def static_file(name: str) -> AnyResponse:
    return send_from_directory(FILES, name)
