"""A web app behind one event: what the app does wrong is answered as a server answers it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from peaker.asgi import ASGIApp, Receive, Scope, Send, adapt_wsgi, stop_wsgi_threads
from peaker.errors import AppStartError, MalformedEvent, PayloadTooLarge
from peaker.functions.web import ResponseBroken, WebApp, warm_up_event
from peaker.wire.http_api import RESULT_BYTES_MAX

START = {"type": "http.response.start", "status": 200, "headers": [(b"X-One", b"1")]}


def ask(application: ASGIApp, event: bytes | None = None) -> Any:
    async def scenario() -> Any:
        return json.loads(await WebApp(application).answer(event or warm_up_event("/p/a?q=1")))

    return asyncio.run(scenario())


def http(respond: Callable[[Scope, Receive, Send], Awaitable[None]]) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(scope, receive, send)

    return application


def test_a_response_in_pieces_is_one_result() -> None:
    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["method"], scope["path"], scope["query_string"]) == ("GET", "/p/a", b"q=1")
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send(START)
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
        assert await receive() == {"type": "http.disconnect"}

    result = ask(http(respond))
    assert (result["statusCode"], result["headers"], result["body"]) == (200, {"x-one": "1"}, "one two")


def test_an_error_before_the_response_is_a_plain_500() -> None:
    async def respond(*_: Any) -> None:
        raise SystemExit("even this, as in uvicorn")

    result = ask(http(respond))
    assert (result["statusCode"], result["body"]) == (500, "Internal Server Error")


def test_no_response_at_all_is_a_plain_500() -> None:
    async def respond(*_: Any) -> None:
        return

    assert ask(http(respond))["statusCode"] == 500


def test_an_error_within_the_response_fails_the_invocation() -> None:
    async def breaks(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        raise ValueError("half way")

    async def stops(_: Scope, __: Receive, send: Send) -> None:
        await send(START)

    with pytest.raises(ResponseBroken, match="ValueError after the response had begun: half way"):
        ask(http(breaks))
    with pytest.raises(ResponseBroken, match="without completing response"):
        ask(http(stops))


def test_messages_out_of_order_raise_in_the_app() -> None:
    raised = []

    async def respond(_: Scope, __: Receive, send: Send) -> None:
        for message in ({"type": "http.response.body"}, START, START):
            try:
                await send(message)
            except RuntimeError as error:
                raised.append(str(error))
        await send({"type": "http.response.body"})
        try:
            await send({"type": "http.response.body"})
        except RuntimeError as error:
            raised.append(str(error))

    assert ask(http(respond))["statusCode"] == 200
    assert len(raised) == 3


def test_a_response_longer_than_a_result_may_be_is_refused() -> None:
    async def respond(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        while True:  # would never end if nobody counted
            await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})

    with pytest.raises(PayloadTooLarge, match=str(RESULT_BYTES_MAX)):
        ask(http(respond))


def test_an_event_of_something_else_is_refused() -> None:
    with pytest.raises(MalformedEvent):
        ask(http(lambda *_: pytest.fail("called")), b'{"Records": []}')


def test_each_request_gets_the_state_of_the_lifespan_and_cannot_replace_it() -> None:
    seen = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "ready"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            seen.append("stopped")
            return
        seen.append(dict(scope["state"]))
        scope["state"]["pool"] = "replaced"
        await send(START)
        await send({"type": "http.response.body"})

    async def scenario() -> None:
        web = WebApp(application)
        await web.start()
        for _ in range(2):
            await web.answer(warm_up_event("/"))
        assert await web.stop() == ""

    asyncio.run(scenario())
    assert seen == [{"pool": "ready"}, {"pool": "ready"}, "stopped"]


def test_an_app_without_lifespan_starts_and_stops() -> None:
    async def application(scope: Scope, _: Receive, __: Send) -> None:
        assert scope["type"] == "http", "as many apps do"

    async def scenario() -> None:
        web = WebApp(application)
        await web.start()
        assert await web.stop() == ""

    asyncio.run(scenario())


def test_a_failed_start_and_a_failed_stop_are_told() -> None:
    async def fails(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no store"})

    async def fails_late(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "still busy"})

    async def scenario() -> None:
        with pytest.raises(AppStartError, match="no store"):
            await WebApp(fails).start()
        web = WebApp(fails_late)
        await web.start()
        assert await web.stop() == "still busy"

    asyncio.run(scenario())


def test_a_wsgi_apps_threads_are_gone_after_it_is_stopped() -> None:
    import threading

    def application(_: Any, start_response: Any) -> list[bytes]:
        start_response("201 Created", [("x-thread", threading.current_thread().name)])
        return [b"made"]

    adapted = adapt_wsgi(application, 1)
    before = threading.active_count()
    result = ask(adapted)
    assert (result["statusCode"], result["body"]) == (201, "made")
    assert threading.active_count() == before + 1
    stop_wsgi_threads(adapted)
    assert threading.active_count() == before
