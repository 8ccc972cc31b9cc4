"""Malformed, oversized, truncated, slow and pipelined HTTP against a real worker; every case by its bytes."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_client import RawClient

from peaker.settings import AppSection, ServersSection, Settings
from peaker.testing.workers import RunningWorkers

HEADER_TIMEOUT_S = 0.6
BODY_TIMEOUT_S = 0.6
KEEP_ALIVE_S = 1.5
HEADER_BYTES_MAX = 8192


@pytest.fixture(scope="module")
def worker() -> Iterator[RunningWorkers]:
    servers = ServersSection(
        drain_idle_s=0.0,
        drain_s_max=10.0,
        in_flight_max=64,
        header_timeout_s=HEADER_TIMEOUT_S,
        body_timeout_s=BODY_TIMEOUT_S,
        keep_alive_s=KEEP_ALIVE_S,
        header_bytes_max=HEADER_BYTES_MAX,
    )
    here = str(Path(__file__).parents[1] / "apps")
    with RunningWorkers(Settings(app=AppSection(web="worker_app:app"), servers=servers, directory=here)) as running:
        yield running


@pytest.fixture
def client(worker: RunningWorkers) -> Iterator[RawClient]:
    with RawClient(worker.port) as connected:
        yield connected


def post(*headers: bytes, body: bytes = b"", path: bytes = b"/digest", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"POST %b HTTP/%b" % (path, version), b"Host: test", *headers]) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"

MALFORMED = {
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version there is not": b"GET / HTTP/1.9\r\nHost: test\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: test\r\n\r\n",
    "a path with a space": b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
    "a path that is not ASCII": b"GET /\xe9\xff HTTP/1.1\r\nHost: test\r\n\r\n",
    "a line without a colon": b"GET / HTTP/1.1\r\nHost: test\r\nnothing here\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: test\r\n: value\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : test\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n c\r\n\r\n",
    "a zero byte": b"GET / HTTP/1.1\r\nHost: test\r\nX-A: b\x00c\r\n\r\n",
    "a lone carriage return": b"GET / HTTP/1.1\r\nHost: test\r\nX-A: b\rX-B: c\r\n\r\n",
    "lone line feeds": b"GET / HTTP/1.1\nHost: test\n\n",
    "two Host headers": b"GET / HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n",
    # Request smuggling: whatever two servers could read as two lengths.
    "a length and chunks": post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"),
    "chunks and a length": post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"abcdef"),
    "the same length twice": post(b"Content-Length: 5", b"Content-Length: 5", body=b"abcde"),
    "a list of lengths": post(b"Content-Length: 5, 5", body=b"abcde"),
    "a negative length": post(b"Content-Length: -1"),
    "a signed length": post(b"Content-Length: +5", body=b"abcde"),
    "a hexadecimal length": post(b"Content-Length: 0x5", body=b"abcde"),
    "an empty length": post(b"Content-Length: "),
    "a length above 64 bits": post(b"Content-Length: 99999999999999999999999"),
    "an encoding that hides chunks": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunks inside another encoding": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "chunks and no chunks": post(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "a hidden encoding header": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "a chunk without a size": post(CHUNKED, body=b"zz\r\n\r\n"),
    "a chunk larger than can be": post(CHUNKED, body=b"fffffffffffffffffffff\r\n\r\n"),
    "a chunk longer than it says": post(CHUNKED, body=b"3\r\nabcdef\r\n0\r\n\r\n"),
    "chunks with lone line feeds": post(CHUNKED, body=b"3\nabc\n0\n\n"),
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_http_gets_400_and_the_connection_closes(client: RawClient, request_bytes: bytes) -> None:
    client.send(request_bytes)
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert client.is_closed()


def test_connect_is_refused(client: RawClient) -> None:
    client.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
    assert client.answer().status == 405
    assert client.is_closed()


def test_an_offered_upgrade_is_passed_over_but_not_where_a_body_would_be_lost(worker: RunningWorkers) -> None:
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM")
    with RawClient(worker.port) as client:
        client.send(post(*offer, path=b"/pid"))
        assert client.answer().status == 200
    with RawClient(worker.port) as client:
        client.send(post(*offer, b"Content-Length: 4", body=b"body", path=b"/echo"))
        assert client.answer().status == 501


def test_a_bad_request_behind_a_good_one_does_not_spoil_its_answer(client: RawClient) -> None:
    client.send(b"GET /sleep?s=0.1 HTTP/1.1\r\nHost: test\r\n\r\nNOT HTTP\r\n\r\n")
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert client.is_closed()


def test_a_body_that_breaks_off_into_nonsense_reaches_no_second_request(client: RawClient) -> None:
    client.send(post(CHUNKED, body=b"3\r\nabc\r\n"))
    client.send(b"GET /pid HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.answer().status == 400
    assert client.is_closed()


def test_pipelined_requests_are_answered_in_order(client: RawClient) -> None:
    client.send(b"".join(post(b"Content-Length: 1", body=b"%d" % n, path=b"/echo") for n in range(8)))
    assert [json.loads(client.answer().body)["body"] for _ in range(8)] == [str(number) for number in range(8)]


def test_a_slow_pipelined_request_is_not_overtaken(client: RawClient) -> None:
    client.send(b"GET /sleep?s=0.2 HTTP/1.1\r\nHost: test\r\n\r\nGET /headers HTTP/1.1\r\nHost: test\r\n\r\n")
    assert [client.answer().status, client.answer().status] == [200, 207]


def test_too_many_pipelined_requests_end_the_connection_behind_the_first_ones(client: RawClient) -> None:
    client.send(b"GET /pid HTTP/1.1\r\nHost: test\r\n\r\n" * 1000)
    statuses = []
    with contextlib.suppress(EOFError, ConnectionResetError):
        while len(statuses) < 1000:
            statuses.append(client.answer().status)
    assert statuses == [200] * len(statuses)
    assert 30 <= len(statuses) < 40


def test_a_head_within_the_limit_passes_and_one_above_it_gets_431(worker: RunningWorkers) -> None:
    frame = len("GET /pid HTTP/1.1\r\nhost: test\r\nx-large: \r\n\r\n")
    for spare, status in ((0, 200), (-200, 431)):
        with RawClient(worker.port) as client:
            client.get("/pid", "x-large: " + "x" * (HEADER_BYTES_MAX - frame - spare))
            answer = client.answer()
            assert answer.status == status
            if status == 431:
                assert str(HEADER_BYTES_MAX).encode() in answer.body
                assert client.is_closed()


ENDLESS = {
    "a path": b"GET /" + b"p" * 400_000,
    "a header value": b"GET / HTTP/1.1\r\nX-Large: " + b"v" * 400_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: v\r\n" % number for number in range(40_000)),
    "a chunk extension": post(CHUNKED, body=b"3;" + b"e" * 400_000),
    "trailers": post(CHUNKED, body=b"3\r\nabc\r\n0\r\n" + b"X-Trailer: t\r\n" * 30_000),
    "one trailer": post(CHUNKED, body=b"3\r\nabc\r\n0\r\nX-Trailer: " + b"t" * 400_000),
}


@pytest.mark.parametrize("endless", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_never_ends_is_cut_off_with_431(client: RawClient, endless: bytes) -> None:
    for start in range(0, len(endless), 4000):
        client.send(endless[start : start + 4000])
    assert client.answer().status == 431
    assert client.is_closed()


def elapsed(began_s: float) -> float:
    return time.monotonic() - began_s


def test_a_client_that_never_sends_a_byte_is_let_go_without_a_word(client: RawClient) -> None:
    began_s = time.monotonic()
    assert client.rest() == b""
    assert HEADER_TIMEOUT_S * 0.9 < elapsed(began_s) < HEADER_TIMEOUT_S * 3


def test_a_head_that_does_not_end_in_time_gets_408(client: RawClient) -> None:
    began_s = time.monotonic()
    client.send(b"GET / HTTP/1.1\r\nHost: te")
    assert client.answer().status == 408
    assert HEADER_TIMEOUT_S * 0.9 < elapsed(began_s) < HEADER_TIMEOUT_S * 3
    assert client.is_closed()


def test_a_head_that_drips_gets_408_all_the_same(client: RawClient) -> None:
    """Bytes that keep coming do not extend the time for the whole head."""
    client.socket.settimeout(0.05)
    began_s = time.monotonic()
    for byte in b"GET / HTTP/1.1\r\n" + b"X-Slow: 1\r\n" * 20:
        client.send(bytes([byte]))
        try:
            status = client.answer().status
        except TimeoutError:
            continue
        break
    else:
        pytest.fail("it was never cut off")
    assert status == 408
    assert elapsed(began_s) < HEADER_TIMEOUT_S * 3


def test_the_second_head_of_a_connection_has_the_same_time(client: RawClient) -> None:
    client.get("/pid")
    assert client.answer().status == 200
    client.send(b"GET /pid HTTP/1.1\r\n")
    assert client.answer().status == 408


def test_a_body_that_pauses_too_long_gets_408_and_the_app_a_disconnect(worker: RunningWorkers) -> None:
    with RawClient(worker.port) as client:
        client.get("/seen")
        before = json.loads(client.answer().body)["disconnects"]
    with RawClient(worker.port) as client:
        began_s = time.monotonic()
        client.send(post(b"Content-Length: 10", body=b"half ", path=b"/echo"))
        assert client.answer().status == 408
        assert BODY_TIMEOUT_S * 0.9 < elapsed(began_s) < BODY_TIMEOUT_S * 3
        assert client.is_closed()
    with RawClient(worker.port) as client:
        client.get("/seen")
        assert json.loads(client.answer().body)["disconnects"] == before + 1


def test_a_slow_body_that_keeps_coming_is_no_fault(client: RawClient) -> None:
    client.send(post(b"Content-Length: 8", path=b"/echo"))
    for byte in b"patience":
        time.sleep(BODY_TIMEOUT_S / 4)
        client.send(bytes([byte]))
    assert json.loads(client.answer().body)["body"] == "patience"


def test_an_app_that_does_not_read_is_not_the_clients_fault(client: RawClient) -> None:
    """The app sleeps longer than the body time-out over a body larger than every buffer in between."""
    client.socket.setblocking(False)
    unsent = memoryview(post(b"Content-Length: 40000000", body=b"x" * 40_000_000, path=b"/sleep?s=1.5"))
    for _ in range(3):
        try:
            while unsent:
                unsent = unsent[client.socket.send(unsent) :]
        except BlockingIOError:
            time.sleep(0.05)
    assert unsent, "the server should have stopped reading"
    client.socket.settimeout(10)
    client.send(unsent)
    assert client.answer().status == 200


def test_a_slow_answer_is_not_the_clients_fault(client: RawClient) -> None:
    client.get(f"/sleep?s={HEADER_TIMEOUT_S * 2}")
    assert client.answer().status == 200


def test_an_idle_connection_stays_open_for_keep_alive_s_and_no_longer(client: RawClient) -> None:
    client.get("/pid")
    client.answer()
    time.sleep(KEEP_ALIVE_S * 0.6)
    client.get("/pid")
    client.answer()
    began_s = time.monotonic()
    assert client.is_closed()
    assert KEEP_ALIVE_S * 0.9 < elapsed(began_s) < KEEP_ALIVE_S * 2


@pytest.mark.parametrize(
    "truncated",
    [
        b"G",
        b"GET /pid HTTP/1.1\r\nHost: test\r\n",
        post(b"Content-Length: 10", body=b"half "),
        post(CHUNKED, body=b"a"),
    ],
    ids=["a method", "a head", "a body", "a chunk"],
)
def test_a_request_that_breaks_off_leaves_nothing_behind(worker: RunningWorkers, truncated: bytes) -> None:
    with RawClient(worker.port) as client:
        client.send(truncated)
        client.socket.shutdown(socket.SHUT_WR)
        client.rest()
    with RawClient(worker.port) as client:
        client.get("/seen")
        assert json.loads(client.answer().body)["running"] == 0


def test_keep_alive_0_closes_behind_each_answer(worker: RunningWorkers) -> None:
    servers: Any = ServersSection(drain_idle_s=0.0, keep_alive_s=0)
    settings = Settings(app=AppSection(web="worker_app:app"), servers=servers, directory=worker.settings.directory)
    with RunningWorkers(settings) as running, RawClient(running.port) as client:
        client.get("/pid")
        assert client.answer().headers["connection"] == "close"
        assert client.is_closed()
