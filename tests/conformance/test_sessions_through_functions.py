"""Real apps answer a recorded session the same behind a server and as a function behind events.

1. uvicorn serves the app, and the session is played against it.
2. The same uvicorn serves a gateway that turns every request into an event, the event into a result of the product's
   own runner, and the result into the response; the session is played against that.
3. Both must give the statuses recorded, and the same answers in all that `session.py` compares.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from function_gateway import FunctionGateway
from serving_app import serving_app
from session import Answer, Player, differences, expected_statuses, load_steps

from peaker.asgi import adapt_wsgi, is_asgi

APPS = ["starlette", "fastapi", "django", "flask"]


def application(name: str) -> Any:
    app = importlib.import_module(f"{name}_app").app
    return app if is_asgi(app) else adapt_wsgi(app, 1)


def played(app: Any) -> list[Answer]:
    with serving_app(app) as (host, port):
        return Player(host, port).play(load_steps())


def test_the_session_is_long_and_its_file_is_what_the_script_writes() -> None:
    from record_session import session

    assert len(load_steps()) >= 200
    assert load_steps() == session()


@pytest.mark.parametrize("name", APPS)
def test_an_app_answers_the_recorded_session_the_same_as_a_function(name: str) -> None:
    app = application(name)
    on_server = played(app)
    statuses = [(answer.request, answer.status) for answer in on_server]
    requests = [answer.request for answer in on_server]
    assert statuses == list(zip(requests, expected_statuses(name), strict=True))

    gateway = FunctionGateway(app)
    as_function = played(gateway)

    assert differences(on_server, as_function) == []
    # Expect, Upgrade and the header that is not UTF-8 stay; everything else went through an event.
    assert len(gateway.kept) == 3
    assert gateway.events == len(on_server) - len(gateway.kept)


async def misbehaving(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app that does what frameworks do not, by path."""
    path = scope["path"]
    if path == "/raises":
        raise RuntimeError("as planned")
    if path == "/silent":
        return
    headers = [
        (b"X-Mixed-Case", b"a"),
        [b"x-latin", b"caf\xe9"],
        (b"x-utf8", "é".encode()),
        (b"set-cookie", b"a=1"),
        (b"x-z", b"z"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": [] if path == "/bare" else headers})
    for piece in (b"one ", b"", bytearray(b"two")) if path == "/pieces" else ():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})
    if path == "/raises-late":
        raise RuntimeError("as planned")
    if path == "/disconnect":
        assert (await receive())["type"] in {"http.request", "http.disconnect"}
        assert (await receive())["type"] == "http.disconnect"


def test_an_app_that_misbehaves_is_answered_for_the_same_as_a_function() -> None:
    """Each step has a connection of its own, since a server closes it after an exception."""
    steps: list[dict[str, Any]] = [
        {"method": method, "path": path}
        for path in ("/raises", "/silent", "/bare", "/pieces", "/raises-late", "/disconnect", "/plain")
        for method in ("GET", "HEAD", "POST")
    ]

    def answered(app: Any) -> list[Answer]:
        with serving_app(app) as (host, port):
            return [Player(host, port).play([step])[0] for step in steps]

    assert differences(answered(misbehaving), answered(FunctionGateway(misbehaving))) == []
