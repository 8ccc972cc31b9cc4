"""The log of functions, and the key of the Invoke port: the two files the host writes."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peaker.clock import VirtualClock
from peaker.errors import StateError
from peaker.functions.credentials import load_or_create_key
from peaker.functions.front import check_caller
from peaker.functions.function_log import FunctionLog, Report
from peaker.wire.lambda_errors import InvokeApiError

REPORT = Report(request_id="r1", duration_ms=3.247, memory_mb=512, max_memory_mb=61)


def test_a_report_is_written_as_lambda_writes_it() -> None:
    assert str(REPORT) == (
        "REPORT RequestId: r1\tDuration: 3.25 ms\tBilled Duration: 4 ms\tMemory Size: 512 MB\tMax Memory Used: 61 MB"
    )
    cold = Report(request_id="r1", duration_ms=3.2, memory_mb=512, max_memory_mb=61, init_ms=80.5, status="timeout")
    assert str(cold).endswith("\tInit Duration: 80.50 ms\tStatus: timeout")
    assert cold.billed_ms == 84  # 83.7: the start is billed as well


def test_a_report_tells_a_status_only_of_what_ended_an_instance() -> None:
    assert "Status" not in str(Report(request_id="r1", duration_ms=1, memory_mb=1, max_memory_mb=1, status="error"))
    killed = Report(
        request_id="r1", duration_ms=1, memory_mb=1, max_memory_mb=1, status="error", error_type="Runtime.ExitError"
    )
    assert str(killed).endswith("\tStatus: error\tError Type: Runtime.ExitError")


def written(tmp_path: Path, log_format: str, act: Callable[[FunctionLog], object]) -> list[str]:
    """What stands behind time, function and request."""

    async def main() -> None:
        path = tmp_path / "functions.log"
        log = FunctionLog(path, clock=VirtualClock(epoch_s=1_767_225_600.25), log_format=log_format)
        act(log)
        log.close()

    asyncio.run(main())
    return [line.split(" ", 3)[3] for line in (tmp_path / "functions.log").read_text().splitlines()]


def test_a_death_is_told_as_lambda_tells_it(tmp_path: Path) -> None:
    def act(log: FunctionLog) -> None:
        log.died("f", "r1", "Runtime exited with error: exit status 1", "Runtime.ExitError")
        log.died("f", "r1", "Task timed out after 3.00 seconds", "Sandbox.Timedout")
        log.init_failed("f", "r1", 137.69, "Runtime.ImportModuleError")

    assert written(tmp_path, "text", act) == [
        "RequestId: r1 Error: Runtime exited with error: exit status 1",
        "Runtime.ExitError",
        "2026-01-01T00:00:00.250Z r1 Task timed out after 3.00 seconds",
        "INIT_REPORT Init Duration: 137.69 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError",
    ]


def test_in_json_the_platform_writes_objects(tmp_path: Path) -> None:
    def act(log: FunctionLog) -> None:
        log.start("f", "r1")
        log.died("f", "r1", "Task timed out after 3.00 seconds", "Sandbox.Timedout")
        log.end(
            "f",
            Report(request_id="r1", duration_ms=1233.96, memory_mb=256, max_memory_mb=123, init_ms=463.512),
        )
        log.end("f", Report(request_id="r1", duration_ms=5, memory_mb=1, max_memory_mb=1, status="timeout"))
        log.init_failed("f", "r1", 1.5, "Runtime.ExitError")

    time = '{"time":"2026-01-01T00:00:00.250Z",'
    assert written(tmp_path, "json", act) == [
        time + '"type":"platform.start","record":{"requestId":"r1","version":"$LATEST"}}',
        time + '"type":"platform.report","record":{"requestId":"r1","metrics":{"durationMs":1233.96,'
        '"billedDurationMs":1698,"memorySizeMB":256,"maxMemoryUsedMB":123,"initDurationMs":463.512},"status":"success"}}',
        time + '"type":"platform.report","record":{"requestId":"r1","metrics":{"durationMs":5,'
        '"billedDurationMs":5,"memorySizeMB":1,"maxMemoryUsedMB":1},"status":"timeout"}}',
        time + '"type":"platform.initReport","record":{"initializationType":"on-demand","phase":"invoke",'
        '"status":"error","errorType":"Runtime.ExitError","metrics":{"durationMs":1.5}}}',
    ]


def test_lines_carry_time_function_and_request(tmp_path: Path) -> None:
    async def main() -> None:
        log = FunctionLog(tmp_path / "logs" / "functions.log", clock=VirtualClock(epoch_s=1_767_225_600.25))
        log.start("thumbnail", "r1", with_tail=True)
        log.of("thumbnail")("r1", "hello")
        log.of("other")("", "while it starts")
        assert log.end("thumbnail", REPORT) == (
            b"START RequestId: r1 Version: $LATEST\nhello\nEND RequestId: r1\n" + str(REPORT).encode() + b"\n"
        )
        log.close()

    asyncio.run(main())
    path = tmp_path / "logs" / "functions.log"
    assert path.read_text().splitlines() == [
        "2026-01-01T00:00:00.250Z thumbnail r1 START RequestId: r1 Version: $LATEST",
        "2026-01-01T00:00:00.250Z thumbnail r1 hello",
        "2026-01-01T00:00:00.250Z other - while it starts",
        "2026-01-01T00:00:00.250Z thumbnail r1 END RequestId: r1",
        f"2026-01-01T00:00:00.250Z thumbnail r1 {REPORT}",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_bounded_and_one_older_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        log = FunctionLog(tmp_path / "functions.log", clock=VirtualClock(), file_bytes_max=2000)
        for number in range(200):
            log.write("f", "r", f"line {number}")
            log._flush()
        log.close()

    asyncio.run(main())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["functions.log", "functions.log.1"]
    assert all(path.stat().st_size < 2200 for path in tmp_path.iterdir())


def test_a_flood_between_two_writes_is_cut_and_counted(tmp_path: Path) -> None:
    async def main() -> None:
        log = FunctionLog(tmp_path / "functions.log", clock=VirtualClock())
        for _ in range(100):
            log.write("f", "r", "x" * 60_000)
        log.close()

    asyncio.run(main())
    text = (tmp_path / "functions.log").read_text()
    assert len(text) < 5_000_000
    assert text.splitlines()[-1].endswith("- - 30 lines were lost")


def test_a_tail_keeps_what_came_last(tmp_path: Path) -> None:
    async def main() -> None:
        log = FunctionLog(tmp_path / "functions.log", clock=VirtualClock())
        log.start("f", "r1", with_tail=True)
        for number in range(1000):
            log.write("f", "r1", f"line {number}")
        log.write("f", "r2", "of another")
        tail = log.end("f", REPORT)
        assert tail is not None
        assert b"line 999\n" in tail
        assert b"another" not in tail
        assert 4096 <= len(tail) < 4400
        log.start("f", "r1")
        assert log.end("f", REPORT) is None
        log.close()

    asyncio.run(main())


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / ".peaker" / "credentials"
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: load_or_create_key(path), range(16)))
    assert len(keys) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["credentials"]


def test_boto3_reads_the_key_as_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.session

    key = load_or_create_key(tmp_path / "credentials")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    session = botocore.session.Session(profile="peaker")
    found = session.get_credentials()
    assert (found.access_key, found.secret_key) == (key.access_key_id, key.secret_access_key)
    assert session.get_config_variable("region") == "us-east-1"


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("[default]\naws_access_key_id = a\n", 0o600, r"no key of profile \[peaker\]"),
        ("no ini file", 0o600, r"no key of profile \[peaker\]"),
        ("[peaker]\naws_access_key_id = a\n", 0o600, r"no key of profile \[peaker\]"),
        ("[peaker]\n", 0o644, "can be read by others"),
    ],
)
def test_a_wrong_credentials_file_stops_the_start(tmp_path: Path, text: str, mode: int, words: str) -> None:
    path = tmp_path / "credentials"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(StateError, match=words):
        load_or_create_key(path)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9001", "localhost", "localhost:1", "[::1]:9001", "10.0.0.7:80", "[fe80::1]"]
)
def test_addresses_and_localhost_may_call(host: str) -> None:
    check_caller({"host": host})
    check_caller({"host": host, "origin": f"http://{host}"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1.evil.example:80"},
        {"host": "127.0.0.1:80:80"},
        {"host": "user@localhost"},
        {"host": "localhost", "origin": "http://evil.example"},
        {"host": "localhost:9001", "origin": "http://localhost:3000"},
        {"host": "localhost", "origin": "null"},
        {"host": "localhost", "origin": ""},
    ],
)
def test_web_pages_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(InvokeApiError) as caught:
        check_caller(headers)
    assert caught.value.status == 403
