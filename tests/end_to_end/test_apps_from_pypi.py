"""httpbin and datasette, unmodified from PyPI, answer a session the same on servers, on functions and on both.

What must come is what uvicorn alone answers, compared as in `tests/apps/session.py`.
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "apps"))

from record_session import document, form, multipart, step
from session import Answer, Player, differences

from peaker.testing.running import PeakerRun

APPS = Path(__file__).parents[1] / "apps"
TARGETS = {"httpbin": "httpbin:app", "datasette": "datasette_app:app"}
SETTINGS = """\
[app]
name = "pypi-{name}"
web = "{target}"
spill = true
placement_header = true

[env]
CATALOGUE_DB = "{db}"
DATASETTE_SECRET = "the same everywhere"

[objective]
latency_p95_ms = 5000

[servers]
workers = 1
in_flight_max = {slots}
queue_max = {queue}
queue_wait_s_max = 20

[functions]
concurrency_max = 8
spill_body_bytes_max = 4000000

[[route]]
path = "/*"
placement = "{placement}"
"""


def httpbin_session() -> list[dict[str, Any]]:
    """No step whose answer depends on the moment (uuid, delay, the time inside gzip) or is streamed."""
    steps = [
        step("GET", path) for path in ("/get", "/get?a=1&a=2&b=caf%C3%A9", "/headers", "/ip", "/user-agent", "/json")
    ]
    steps += [step("GET", path) for path in ("/html", "/xml", "/robots.txt", "/encoding/utf8", "/forms/post", "/deny")]
    steps += [step("GET", f"/bytes/{size}?seed=7") for size in (0, 1, 1000, 100_000)]
    steps += [step("GET", path) for path in ("/deflate", "/brotli", "/image/png", "/image/svg", "/cache/60")]
    steps += [step("GET", f"/status/{code}", code) for code in (200, 204, 304, 400, 404, 418, 429, 500, 503)]
    steps += [step("GET", path, 302) for path in ("/redirect/2", "/absolute-redirect/1", "/redirect-to?url=/get")]
    steps += [step("GET", "/response-headers?x-one=1&x-two=b&x-two=c"), step("GET", "/base64/R3LDvMOfZQ==")]
    steps += [step("GET", "/cookies/set?a=1&b=2", 302), step("GET", "/cookies"), step("GET", "/cookies/delete?a", 302)]
    steps += [step("GET", "/cookies"), step("GET", "/basic-auth/ada/pw", 401)]
    signed_in = [["authorization", "Basic YWRhOnB3"]]
    steps += [step("GET", "/basic-auth/ada/pw", headers=signed_in), step("GET", "/bearer", 401)]
    steps += [step("GET", "/etag/abc"), step("GET", "/etag/abc", 304, headers=[["if-none-match", "abc"]])]
    steps += [step("GET", "/range/64"), step("GET", "/range/64", 206, headers=[["range", "bytes=3-9"]])]
    steps += [
        step(method, f"/{method.lower()}", body=b"text of the body") for method in ("POST", "PUT", "PATCH", "DELETE")
    ]
    steps += [document("/post", 200, '{"grüße": [1, 2.5, null]}'.encode()), document("/anything/a%2Fb", 200, b"{")]
    steps += [form("/post", 200, a="1", b="two words", c="é")]
    upload = multipart([("file", "a.txt", "text/plain", b"content"), ("note", None, "", b"x")])
    steps += [upload | {"path": "/post", "status": 200}]
    steps += [step("POST", "/post", generated=[kind, 300_000]) for kind in ("text", "binary")]
    return [
        *steps,
        step("GET", "/nowhere", 404),
        step("HEAD", "/get"),
        step("OPTIONS", "/get"),
        step("TRACE", "/anything"),
    ]


def datasette_session() -> list[dict[str, Any]]:
    """Pages, JSON, CSV, SQL, facets, errors."""
    steps = [step("GET", path) for path in ("/", "/.json", "/catalogue", "/catalogue.json", "/catalogue/seats")]
    steps += [
        step("GET", f"/catalogue/seats.json?{query}") for query in ("_shape=array", "_size=5", "_sort_desc=price")
    ]
    steps += [
        step("GET", f"/catalogue/seats?{query}") for query in ("row=3", "price__gt=20", "_facet=row", "_search=x")
    ]
    steps += [step("GET", "/catalogue/seats.csv"), step("GET", "/catalogue/seats.csv?_size=max&row__in=1,2")]
    steps += [
        step("GET", "/catalogue/seats/7"),
        step("GET", "/catalogue/seats/7.json"),
        step("GET", "/catalogue/seats/9999", 404),
    ]
    sql = "select+row,+sum(price)+as+total+from+seats+group+by+row"
    steps += [step("GET", f"/catalogue.json?sql={sql}&_shape=array"), step("GET", f"/catalogue?sql={sql}")]
    steps += [
        step("GET", "/catalogue.json?sql=delete+from+seats", 400),
        step("GET", "/catalogue?sql=select+nothing", 400),
    ]
    steps += [step("GET", "/catalogue.json?sql=select+:who+as+who&who=gr%C3%BC%C3%9Fe&_shape=arrays")]
    steps += [step("GET", "/catalogue/absent", 404), step("GET", "/absent", 404), step("GET", "/-/versions.json")]
    steps += [step("GET", "/-/settings.json"), step("GET", "/-/metadata.json"), step("GET", "/-/static/app.css")]
    steps += [step("GET", "/catalogue.db", 200), step("HEAD", "/catalogue"), step("POST", "/catalogue", 405, b"x=1")]
    return steps


SESSIONS = {"httpbin": httpbin_session, "datasette": datasette_session}


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table seats (id integer primary key, row integer, name text, price real)")
        rows = [(number, number % 5, f"Sitz ü{number}", number * 1.5) for number in range(1, 101)]
        connection.executemany("insert into seats values (?, ?, ?, ?)", rows)
    connection.close()
    return path


@contextmanager
def on_uvicorn(target: str, variables: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The app on uvicorn in a process of its own."""
    interface = "wsgi" if target.startswith("httpbin") else "asgi3"
    program = (
        "import sys, uvicorn; from peaker.asgi import adapt_wsgi, load_target; target, fd, kind = sys.argv[1:];"
        "app = load_target(target, '.'); app = adapt_wsgi(app, 1) if kind == 'wsgi' else app;"
        "uvicorn.run(app, fd=int(fd), http='httptools', ws='none', log_level='critical', proxy_headers=False)"
    )
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        process = subprocess.Popen(
            [sys.executable, "-c", program, target, str(listener.fileno()), interface],
            pass_fds=[listener.fileno()],
            env=os.environ | variables | {"PYTHONPATH": str(APPS)},
            stdout=subprocess.DEVNULL,
        )
        try:
            yield listener.getsockname()[:2]
        finally:
            process.terminate()
            process.wait(20)


def places(answers: list[Answer]) -> Counter[str]:
    return Counter(answer.ran.partition(" ")[0] for answer in answers)


MOMENTARY = re.compile(rb'Queries took [0-9.]+ms|"query_ms": [0-9.e-]+')
"""What datasette writes into its pages and its JSON: how long it took."""


def played(name: str, host: str, port: int, steps: list[dict[str, Any]]) -> list[Answer]:
    return Player(host, port, momentary=MOMENTARY if name == "datasette" else None).play(steps)


@pytest.mark.parametrize("name", ["httpbin", pytest.param("datasette", marks=pytest.mark.long)])
def test_an_app_from_pypi_answers_the_same_on_servers_on_functions_and_on_both(
    name: str, tmp_path: Path, catalogue: Path
) -> None:
    steps = SESSIONS[name]()
    variables = {"CATALOGUE_DB": str(catalogue), "DATASETTE_SECRET": "the same everywhere"}
    with on_uvicorn(TARGETS[name], variables) as (host, port):
        expected = played(name, host, port, steps)
    seen = [(answer.request, answer.status) for answer in expected]
    assert seen == [(answer.request, one["status"]) for answer, one in zip(expected, steps, strict=True)]

    def settings(placement: str, slots: int, queue: int) -> str:
        return SETTINGS.format(
            name=name, target=TARGETS[name], db=catalogue, placement=placement, slots=slots, queue=queue
        )

    def running(text: str) -> PeakerRun:
        return PeakerRun.with_settings(tmp_path, text, environment={"PYTHONPATH": str(APPS)})

    for placement, ran in (("servers", "server"), ("functions", "function")):
        with running(settings(placement, 16, 100)) as peaker:
            answers = played(name, *peaker.address, steps)
        assert differences(expected, answers) == []
        assert set(places(answers)) == {ran}

    # One slot and a queue of four: of eight sessions at once, some requests find neither.
    with running(settings("hybrid", 1, 4)) as peaker, ThreadPoolExecutor(8) as threads:
        started_s = time.monotonic()
        sessions = list(threads.map(lambda _: played(name, *peaker.address, steps), range(8)))
        assert time.monotonic() - started_s < 60
    for answers in sessions:
        assert differences(expected, answers) == []
    ran_on = sum((places(answers) for answers in sessions), Counter())
    assert set(ran_on) == {"server", "function"}, ran_on
