"""One JSON line for each request."""

import json
import os
import random
import uuid
from pathlib import Path

import pytest

from peaker.asgi import Message
from peaker.clock import VirtualClock
from peaker.errors import SettingsError
from peaker.gate import access_log
from peaker.gate.access_log import AccessLog, request_id_of
from peaker.gate.exchange import NOT_YET_S, Exchange
from peaker.meter.usage import Ran


class Host:
    rewrites_start = False
    notes_more = True

    def __init__(self, clock: VirtualClock) -> None:
        self.now_s = clock.now_s

    def rewrite(self, start: Message, _: Exchange) -> Message:
        return start


CLOCK = VirtualClock(now_s=50.0, epoch_s=1_767_225_600.0)


def exchange(path: bytes = b"/films/%C3%A9t%C3%A9", headers: tuple[tuple[bytes, bytes], ...] = ()) -> Exchange:
    async def send(_: Message) -> None:
        return None

    scope = {
        "method": "GET",
        "path": "/",
        "raw_path": path,
        "headers": list(headers),
        "client": ("10.0.0.7", 5000),
        "query_string": b"token=secret",
    }
    made = Exchange(Host(CLOCK), scope, send, 49.95)
    made.mark_unusual().scope = scope
    made.status, made.last_body_s, made.bytes_sent = 200, 49.98, 12
    made.forget_request(0.05, 0.0)
    return made


def log_to(path: Path) -> AccessLog:
    return AccessLog(path.name, str(path.parent), CLOCK, random.Random(1))


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_tells_what_was_asked_answered_and_where_it_ran(tmp_path: Path) -> None:
    log = log_to(tmp_path / "access.log")
    finished = exchange(headers=((b"x-request-id", b"order-17"),))
    unusual = finished.mark_unusual()
    unusual.ran, unusual.waited_s, unusual.cold = Ran.FUNCTION, 0.02, True
    log.add(finished)
    assert lines_of(tmp_path / "access.log") == []
    log.flush()
    assert lines_of(tmp_path / "access.log") == [
        {
            "time": "2025-12-31T23:59:59.980+00:00",
            "request_id": "order-17",
            "client": "10.0.0.7",
            "method": "GET",
            "path": "/films/%C3%A9t%C3%A9",
            "status": 200,
            "bytes": 12,
            "latency_ms": 80.0,
            "ran": "function",
            "waited_ms": 20.0,
            "cold": True,
        }
    ]
    log.close()


def test_a_refusal_says_why_and_an_unanswered_request_has_no_latency(tmp_path: Path) -> None:
    log = log_to(tmp_path / "access.log")
    refused, gone = exchange(), exchange()
    refused.mark_unusual().ran = Ran.REFUSED
    refused.mark_unusual().refused_because = "the queue is full"
    gone.mark_unusual().ran = None
    gone.status, gone.last_body_s = 0, NOT_YET_S
    log.add(refused)
    log.add(gone)
    log.close()
    first, second = lines_of(tmp_path / "access.log")
    assert first["refused"] == "the queue is full"
    assert (second["status"], second["latency_ms"], second["ran"]) == (0, None, "")


def test_no_request_can_forge_a_line(tmp_path: Path) -> None:
    log = log_to(tmp_path / "access.log")
    log.add(exchange(path=b'/\r\n{"status": 200}"'))
    log.close()
    (line,) = lines_of(tmp_path / "access.log")
    assert line["path"] == '/\r\n{"status": 200}"'


def test_workers_append_to_one_file_and_follow_it_when_it_is_moved(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    first, second = log_to(path), log_to(path)
    for log in (first, second):
        log.add(exchange())
        log.flush()
    assert len(lines_of(path)) == 2
    path.rename(tmp_path / "moved")
    first.add(exchange())
    first.close()
    second.close()
    assert len(lines_of(path)) == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_file_is_moved_aside_once_by_whoever_finds_it_full(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    first, second = log_to(path), log_to(path)
    os.truncate(path, access_log.FILE_BYTES_MAX)
    for log in (first, second, first):
        log.add(exchange())
        log.flush()
    assert (tmp_path / "access.log.1").stat().st_size == access_log.FILE_BYTES_MAX
    assert len(lines_of(path)) == 3
    first.close()
    second.close()


def test_a_file_that_cannot_be_written_loses_lines_only_beyond_the_buffer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "access.log"
    log = log_to(path)
    path.unlink()
    path.mkdir()
    added = 0
    while log._lost < 5:
        log.add(exchange())
        added += 1
    log.flush()
    log.flush()
    assert caplog.text.count("cannot be written") == 1, "said once, not a hundred times a second"
    path.rmdir()
    log.close()
    assert len(lines_of(path)) == added - 5
    assert "5 lines of the access log were lost" in caplog.text


def test_a_pipe_that_nobody_reads_does_not_stop_the_worker() -> None:
    reader, writer = os.pipe()
    log = AccessLog("-", ".", CLOCK, random.Random(1))
    log._descriptor = writer
    for _ in range(2000):
        log.add(exchange())
    log.flush()
    read = os.read(reader, 1 << 20)
    while log._pending:
        log.flush()
        read += os.read(reader, 1 << 20)
    assert len(read.splitlines()) == 2000
    os.close(reader)
    os.close(writer)


def test_a_log_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"app\.access_log = 'none/access\.log' cannot be opened"):
        AccessLog("none/access.log", str(tmp_path), CLOCK, random.Random(1))


@pytest.mark.parametrize("value", [b"", b"two words", b"x" * 65, b'"quoted"', b"new\nline"])
def test_a_malformed_request_id_is_replaced(value: bytes) -> None:
    found = request_id_of({"headers": [(b"x-request-id", value)]}, random.Random(1))
    assert uuid.UUID(found).version == 4
