"""A route that streams, through a real worker and a real function host: the same bytes wherever it runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from raw_client import RawClient

from peaker.meter.usage import Ran
from peaker.settings import (
    AppSection,
    FunctionsSection,
    ObjectiveSection,
    RouteSection,
    ServersSection,
    Settings,
)
from peaker.testing.hosts import RunningHost
from peaker.testing.workers import RunningWorkers

APPS = Path(__file__).parents[1] / "apps"
DEADLINE_S = 15.0


def settings(placement: str, timeout_s: float = 20.0) -> Settings:
    return Settings(
        app=AppSection(name="shapes", web="streaming_shapes:app", spill=True, placement_header=True),
        objective=ObjectiveSection(latency_p95_ms=5000),
        servers=ServersSection(workers=1, in_flight_max=1, queue_wait_s_max=20, drain_s_max=5),
        functions=FunctionsSection(timeout_s=timeout_s, concurrency_max=4),
        route=(
            RouteSection(path="/holds", placement="servers"),
            RouteSection(path="/*", placement=placement, stream=True),
        ),
        directory=str(APPS),
    )


@dataclass
class Running:
    workers: RunningWorkers
    host: RunningHost

    def get(self, path: str, *headers: str, method: str = "GET", **query: str) -> RawClient:
        client = RawClient(self.workers.port, DEADLINE_S)
        lines = [f"{method} {path}?{urlencode(query)} HTTP/1.1", "host: shapes", "accept: */*", *headers]
        client.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        return client


def started(made: Settings) -> Iterator[Running]:
    with RunningWorkers(made) as workers, RunningHost(made, state=workers.state.root) as host:
        yield Running(workers, host)


@pytest.fixture(scope="module")
def on_servers() -> Iterator[Running]:
    yield from started(settings("servers"))


@pytest.fixture(scope="module")
def on_functions() -> Iterator[Running]:
    yield from started(settings("functions"))


@pytest.fixture(scope="module")
def hybrid() -> Iterator[Running]:
    yield from started(settings("hybrid"))


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it has not come to that in time"
        time.sleep(0.01)
    return found


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def whole(client: RawClient, *, is_head: bool = False) -> tuple[int, dict[str, str], bytes]:
    with client:
        status, headers, body = client.answer(is_head=is_head)
    return status, {name: value for name, value in headers.items() if name not in ("date", "x-peaker-ran")}, body


SHAPES: list[dict[str, str]] = [
    {"pieces": ""},
    {"pieces": "1"},
    {"pieces": "10,0,0,5"},
    {"pieces": "65536,65537,1,200000"},
    {"pieces": "3000000,3000000,3000000"},
    {"pieces": "100,200,300", "length": ""},
    {"pieces": "", "length": ""},
    {"pieces": "300000,1", "length": "", "latin": ""},
    {"pieces": "7,7", "status": "404"},
    {"pieces": "", "status": "204"},
    {"pieces": "", "status": "304"},
    {"pieces": "50,50", "status": "500"},
]


def test_every_shape_is_the_same_from_a_server_and_from_a_function(on_servers: Running, on_functions: Running) -> None:
    for shape in SHAPES:
        for method in ("GET", "HEAD"):
            is_head = method == "HEAD"
            expected = whole(on_servers.get("/shape", method=method, **shape), is_head=is_head)
            found = whole(on_functions.get("/shape", method=method, **shape), is_head=is_head)
            assert found == expected, (method, shape)
    assert on_servers.workers.usage().counters["on_function"] == 0
    assert on_functions.workers.usage().counters["on_server"] == 0


def test_a_piece_reaches_the_client_while_the_function_waits_for_what_it_does_next(
    on_functions: Running, tmp_path: Path
) -> None:
    until = tmp_path / "first-has-come"
    with on_functions.get("/waits", until=str(until)) as client:
        _, headers = client.head()
        assert client.chunk() == b"first "
        until.touch()
        assert b"".join(iter(client.chunk, b"")) == b"last"
    assert headers["x-peaker-ran"] == "function"
    assert headers["transfer-encoding"] == "chunked"


def test_a_full_server_spills_a_stream(hybrid: Running, tmp_path: Path) -> None:
    """1. A request holds the only slot. 2. The next streams from a function. 3. With the slot free, one stays."""
    begun, until = tmp_path / "begun", tmp_path / "until"
    holding = threading.Thread(target=lambda: whole(hybrid.get("/holds", begun=str(begun), until=str(until))))
    holding.start()
    try:
        wait_for(begun.exists)
        with hybrid.get("/shape", pieces="100000,2") as client:
            spilled = client.answer()
    finally:
        until.touch()
        holding.join()
    with hybrid.get("/shape", pieces="100000,2") as client:
        stayed = client.answer()
    assert spilled.headers["x-peaker-ran"] == "function"
    assert stayed.headers["x-peaker-ran"] == "server"
    assert spilled.body == stayed.body


@pytest.fixture
def on_functions_of_half_a_second() -> Iterator[Running]:
    yield from started(settings("functions", timeout_s=0.5))


def test_a_stream_is_broken_off_at_the_functions_time_limit(on_functions_of_half_a_second: Running) -> None:
    with on_functions_of_half_a_second.get("/sleeps") as client:
        client.head()
        assert client.chunk() == b"before"
        with pytest.raises(EOFError):
            client.chunk()


@pytest.mark.parametrize("path", ["/dies", "/raises"])
def test_a_stream_that_breaks_off_is_never_taken_for_the_whole(on_functions: Running, path: str) -> None:
    """The connection ends without the last chunk: the process was killed, or the app failed."""
    with on_functions.get(path, by="SIGKILL", when="middle") as client:
        assert client.head()[0] == 200
        assert client.chunk() == b"before"
        with pytest.raises(EOFError):
            client.chunk()
    with on_functions.get("/shape", pieces="3") as client:
        assert client.answer().body == b"0:\x00"


def test_an_instance_killed_from_outside_ends_the_clients_connection(on_functions: Running, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with on_functions.get("/endless", notes=str(notes)) as client:
        client.head()
        assert client.chunk()
        os.kill(int(wait_for(lambda: text_of(notes).split())[0]), signal.SIGKILL)
        with pytest.raises((EOFError, ConnectionResetError)):
            list(iter(client.chunk, b""))


def test_a_failure_before_the_head_is_an_answer(on_functions: Running) -> None:
    with on_functions.get("/raises", when="before") as client:
        status, _, body = client.answer()
    assert (status, body) == (500, b"Internal Server Error")


def test_a_client_that_leaves_frees_the_function(on_functions: Running, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with on_functions.get("/endless", notes=str(notes)) as client:
        client.head()
        assert client.chunk()
    pid, last, _ = wait_for(lambda: (found := text_of(notes).split()) and "sending" not in found and found)
    assert last == "http.disconnect"
    os.kill(int(pid), 0)
    # spilling is of the gate's row: it has let go of the run as well
    wait_for(lambda: on_functions.workers.slots(0)["spilling"] == 0)


def test_a_client_that_does_not_read_holds_the_function_back(on_functions: Running, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    before_bytes = resident_bytes(on_functions.workers.processes[0].pid)
    with on_functions.get("/endless", notes=str(notes)) as client:
        client.head()

        def taken() -> int:
            words = text_of(notes).split()
            return int(words[2]) if len(words) == 3 else 0

        def stands_still() -> bool:
            before = taken()
            return before > 0 and not any(time.sleep(0.05) or taken() != before for _ in range(6))

        wait_for(stands_still)
        assert taken() < 16_000_000, "sockets, and buffers of 256 KB, between app and client; the app has 100 MB"
        assert resident_bytes(on_functions.workers.processes[0].pid) - before_bytes < 8_000_000
    wait_for(lambda: "http.disconnect" in text_of(notes))


def test_who_asks_for_server_sent_events_stays_on_a_server(hybrid: Running) -> None:
    with hybrid.get("/shape", "accept: text/event-stream", pieces="3") as client:
        assert client.answer().headers["x-peaker-ran"] == "server"


def test_what_a_stream_is_billed_is_its_whole_length(on_functions: Running, tmp_path: Path) -> None:
    """And its latency ends with the first byte: it is there before the function has gone on."""
    until = tmp_path / "until"
    usage = on_functions.workers.usage
    wait_for(lambda: on_functions.workers.slots(0)["spilling"] == 0)
    before = usage()
    sent_s = time.monotonic()
    with on_functions.get("/waits", until=str(until)) as client:
        client.head()
        assert client.chunk() == b"first "
        first_s = time.monotonic() - sent_s
        wait_for(lambda: time.monotonic() - sent_s > first_s + 0.3)
        until.touch()
        assert client.chunk() == b"last"
        assert client.chunk() == b"", "it is whole, and counts"
    wait_for(lambda: (usage() - before).percentile_s(1.0, [Ran.FUNCTION]))  # no other of these tests' is complete now
    since = usage() - before
    assert since.counters["spill_billed_ms"] >= 300
    # As exactly as its bucket says, and with the lag of the gate's loop, which the client does not see.
    assert since.percentile_s(1.0, [Ran.FUNCTION]) < 1.1 * first_s + 0.05


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
