"""A request or response that went through an event is the one that went in: measured against what uvicorn serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from served_scopes import ScopeServer, serving, tcp_listener, unix_listener

from peaker.errors import MalformedEvent
from peaker.messages import Response, RunNotes
from peaker.wire import alb, http_api

QUICK = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

LIFESPAN_KEYS = {"state"}
"""What the lifespan puts into each scope: an instance has a lifespan of its own."""

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "REPORT"]
SEGMENTS = st.one_of(
    st.sampled_from(
        ["", "a", "%2F", "%2f", "%25", "%C3%A9", "%FF", "%E2%82", "%00", "..", "+", ";v=1", "@", "a:b", "%zz", "%"]
    ),
    st.text("abcXYZ019-._~!$&'()*+,;=:@%\"<>^`{|}[]\\", max_size=8),
)
PATHS = st.lists(SEGMENTS, max_size=5).map(lambda segments: "/" + "/".join(segments))
QUERIES = st.one_of(
    st.sampled_from(
        ["", "?", "?a=1&a=2", "?a", "?a=", "?=b", "?&&", "?a=%26&b=%C3%A9", "?q=a+b", "?a=1;b=2", "?a=b=c", "??x"]
    ),
    st.text("abc019=&;+%/?:@!$'()*,-._~", max_size=24).map(lambda text: "?" + text),
).map(str.encode) | st.sampled_from(["?q=é".encode(), b"?q=\xe9"])
TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.!#$%&'*+^`|~", min_size=1, max_size=10)
NAMES = st.one_of(
    st.sampled_from(
        ["Accept", "accept", "Cookie", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "Via", "X-Forwarded-Port"]
    ),
    TOKEN,
).map(str.encode)
VALUES = st.one_of(
    st.sampled_from([b"", b"a,b", b"a, b", b"a=1; b=2", b"a=1;b=2", b"a=1; ", b"; ", b"https", b"10.0.0.1", b"\xe9"]),
    st.text("abcXYZ019 \t,;=\"'\\/{}", max_size=20).map(str.encode),
    st.text(st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Cc"]), max_size=8).map(str.encode),
    st.binary(max_size=6).map(lambda value: bytes(byte for byte in value if byte >= 0x20 and byte != 0x7F)),
)
RESERVED = {b"host", b"content-length", b"transfer-encoding", b"connection"}
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(
    lambda headers: [(name, value) for name, value in headers if name.lower() not in RESERVED]
)
BODIES = st.one_of(
    st.none(),
    st.sampled_from([b"", b"{}", "é€😀".encode(), b"\xef\xbb\xbfbom", b"\x00\xff", b'\x00\x01\x02\n\r"\\']),
    st.binary(max_size=60),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """The bytes of one HTTP/1 request."""
    method, path, query = draw(st.sampled_from(METHODS)), draw(PATHS), draw(QUERIES)
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"]))
    headers = [(b"Host", draw(st.sampled_from([b"example.com", b"localhost:8000", b"[::1]"]))), *draw(HEADERS)]
    body, chunked = draw(BODIES), draw(st.booleans()) and version == "1.1"
    if body is not None:
        headers.append((b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", b"%d" % len(body)))
    head = b"%s %s HTTP/%s\r\n" % (method.encode(), path.encode() + query, version.encode())
    head += b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n"
    if body is None:
        return head
    return head + (b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n" if chunked else body)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ScopeServer]]:
    """Plain; mounted under a path and behind a proxy; on a unix socket (no client address)."""
    unix_path: Path = tmp_path_factory.mktemp("uvicorn") / "served.sock"
    with ExitStack() as stack:
        yield [
            stack.enter_context(serving(tcp_listener(), proxy_headers=False)),
            stack.enter_context(serving(tcp_listener(), root_path="/mounted%2Fhere")),
            stack.enter_context(serving(unix_listener(unix_path), proxy_headers=False)),
        ]


def through_event(wire: Any, scope: dict[str, Any], body: bytes, **mode: bool) -> tuple[dict[str, Any], bytes]:
    request = wire.scope_to_request(scope, body)
    event = json.loads(wire.request_to_event(request, request_id="r-1", epoch_s=1_764_000_000.25, **mode))
    received = wire.event_to_request(event)
    return dict(wire.request_to_scope(received)), received.body


@QUICK
@given(request=requests(), which=st.integers(0, 2))
@example(
    request=b"GET /a%2Fb?a=1&a=2&b= HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nAccept: x\r\nCookie: b=2\r\n\r\n", which=0
)
@example(request=b"POST /%F0%9F HTTP/1.1\r\nHost: h\r\nCookie: \r\nContent-Length: 2\r\n\r\n\xff\x00", which=1)
@example(request=b"GET http://other.example/x?y HTTP/1.1\r\nHost: h\r\n\r\n", which=2)
def test_an_app_sees_the_same_scope_on_a_server_and_in_a_function(
    request: bytes, which: int, servers: list[ScopeServer]
) -> None:
    seen = servers[which].scope_of(request)
    assume(seen is not None)
    assert seen is not None
    scope, body = seen
    assume(not http_api.losses(scope))
    direct = {key: value for key, value in scope.items() if key not in LIFESPAN_KEYS}

    assert through_event(http_api, scope, body) == (direct, body)
    assert through_event(alb, scope, body, multi_value=True) == (direct, body)
    assert through_event(alb, scope, body, multi_value=False)[0].keys() == direct.keys()


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"Expect: 100-continue\r\n", "Expect"),
        (b"Upgrade: h2c\r\nConnection: Upgrade\r\n", "Upgrade"),
        (b"Trailer: x-checksum\r\n", "trailers"),
        (b"X-Name: caf\xe9\r\n", "x-name"),
        (b"Content-Length: 4500001\r\n", "4,500,000"),
    ],
)
def test_what_the_format_loses_is_named(head: bytes, named: str) -> None:
    """The scope is built as uvicorn builds it; an over-long body is refused by its Content-Length alone."""
    pairs = [line.partition(b": ")[::2] for line in head.splitlines()]
    scope = {
        "type": "http",
        "headers": [(name.lower(), value) for name, value in pairs],
        "raw_path": b"/",
        "query_string": b"",
    }

    assert named in http_api.losses(scope)


def test_websockets_text_in_other_encodings_and_server_extensions_never_leave() -> None:
    scope: dict[str, Any] = {"type": "http", "headers": [], "raw_path": b"/", "query_string": b""}

    assert http_api.losses(scope) == ""
    assert "websocket" in http_api.losses({"type": "websocket", "headers": []})
    assert "query" in http_api.losses(scope | {"query_string": b"q=\xe9"})
    assert "path" in http_api.losses(scope | {"raw_path": "/é".encode()})
    assert "tls" in http_api.losses(scope | {"extensions": {"tls": {}}})


RESPONSE_NAMES = st.one_of(
    st.sampled_from([b"content-type", b"set-cookie", b"vary", b"x-a", b"location"]),
    TOKEN.map(lambda t: t.lower().encode()),
)
RESPONSES = st.builds(
    Response,
    status=st.integers(100, 599),
    headers=st.lists(st.tuples(RESPONSE_NAMES, VALUES), max_size=6).map(tuple),
    body=BODIES.map(lambda body: body or b""),
)
NOTES = st.builds(
    RunNotes,
    cold=st.booleans(),
    init_ms=st.integers(0, 10_000_000).map(lambda us: us / 1000),
    duration_ms=st.integers(0, 10_000_000).map(lambda us: us / 1000),
)


@QUICK
@given(response=RESPONSES, notes=NOTES)
@example(
    response=Response(status=204, headers=((b"set-cookie", b"a=1"), (b"vary", b"a"), (b"set-cookie", b"b=2"))),
    notes=RunNotes(),
)
@example(response=Response(status=304, headers=((b"link", b"a"), (b"link", b"b"), (b"x", b"\xe9"))), notes=RunNotes())
def test_a_response_is_the_same_after_the_way_back(response: Response, notes: RunNotes) -> None:
    assert http_api.result_to_response(http_api.response_to_result(response, notes)) == (response, notes)
    assert alb.result_to_response(alb.response_to_result(response, notes)) == (response, notes)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
SOUND_EVENT = json.loads(
    http_api.request_to_event(
        http_api.scope_to_request(
            {
                "type": "http", "method": "POST", "raw_path": b"/p", "query_string": b"a=1", "http_version": "1.1",
                "headers": [(b"host", b"h"), (b"cookie", b"a=1"), (b"accept", b"x"), (b"accept", b"y")],
                "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "root_path": "/p",
            },
            b"\xff",
        ),
        request_id="r-1",
        epoch_s=0.0,
    )
)  # fmt: skip


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from places(inner, (*path, key))


@QUICK
@given(place=st.sampled_from(sorted(places(SOUND_EVENT))), value=JSON_VALUES)
def test_a_malformed_event_gives_one_error_that_names_the_key_and_never_another(
    place: tuple[str, ...], value: Any
) -> None:
    event = json.loads(json.dumps(SOUND_EVENT))
    table = event
    for key in place[:-1]:
        table = table[key]
    table[place[-1]] = value

    try:
        request = http_api.event_to_request(event)
    except MalformedEvent as error:
        key = str(error).partition(" ")[0]
    else:
        http_api.request_to_scope(request)
        return
    # An object that is now empty lacks its first required key, so the key named may be one further down.
    assert (
        key.startswith(".".join(place[:2]))
        or ".".join(place).startswith(key)
        or (place == ("requestContext", "elb") and key in {"path", "httpMethod"})
    )


@QUICK
@given(
    payload=st.binary(max_size=20)
    | JSON_VALUES.map(json.dumps).map(str.encode)
    | st.builds(
        lambda key, value: json.dumps({"statusCode": 200, key: value}).encode(),
        st.sampled_from(["statusCode", "headers", "multiValueHeaders", "cookies", "body", "isBase64Encoded", "peaker"]),
        JSON_VALUES,
    )
)
def test_any_answer_of_a_function_is_a_response_or_one_clear_error(payload: bytes) -> None:
    for wire in (http_api, alb):
        try:
            response, _ = wire.result_to_response(payload)
        except MalformedEvent:
            continue
        assert 100 <= response.status <= 599
