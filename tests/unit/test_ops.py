"""The ops port's answers, and whom it answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from peaker.control.main import STUCK_MS, is_any_worker_ready
from peaker.control.ops import Ops
from peaker.gate.slots import COLUMNS, WorkerStatus
from peaker.shared_table import SharedTable
from peaker.wire.host_header import is_local_name


async def ask(
    ops: Ops, path: str, *, method: str = "GET", host: str = "127.0.0.1:9000", accept: str = "*/*"
) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(b"host", host.encode()), (b"accept", accept.encode())],
    }
    await ops(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


def make(*, ready: bool = True) -> Ops:
    async def report() -> dict[str, Any]:
        return {"app": "shop"}

    async def usage() -> dict[str, Any]:
        return {"cost": {"usd": 1.5}}

    async def metrics(openmetrics: bool) -> str:  # noqa: FBT001
        return "# EOF\n" if openmetrics else "peaker_servers 1\n"

    return Ops(lambda: ready, report=report, usage=usage, metrics=metrics)


@pytest.mark.parametrize(
    ("path", "ready", "status"),
    [
        ("/live", False, 200),
        ("/ready", True, 200),
        ("/ready", False, 503),
        ("/status", False, 200),
        ("/usage", False, 200),
        ("/x", True, 404),
    ],
)
def test_each_path_has_its_answer(path: str, *, ready: bool, status: int) -> None:
    found, body = asyncio.run(ask(make(ready=ready), path))
    assert found == status
    assert isinstance(json.loads(body), dict)


def test_only_get_and_head_are_answered_and_head_without_a_body() -> None:
    assert asyncio.run(ask(make(), "/live", method="POST"))[0] == 405
    assert asyncio.run(ask(make(), "/live", method="HEAD")) == (200, b"")


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1:8001", True),
        ("localhost", True),
        ("localhost:8001", True),
        ("[::1]:8001", True),
        ("[::1]", True),
        ("10.0.0.7:8001", True),
        ("attacker.example", False),
        ("attacker.example:8001", False),
        ("127.0.0.1.attacker.example:80", False),
        ("localhost.attacker.example", False),
        ("localhost:x", False),
        ("", False),
        ("[", False),
    ],
)
def test_a_name_that_a_foreign_page_could_bring_is_refused(host: str, *, is_local: bool) -> None:
    assert is_local_name(host) is is_local
    for path in ("/status", "/usage", "/metrics"):
        assert asyncio.run(ask(make(), path, host=host))[0] == (200 if is_local else 403)


def test_metrics_come_in_the_format_that_was_asked_for() -> None:
    assert asyncio.run(ask(make(), "/metrics")) == (200, b"peaker_servers 1\n")
    accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"
    assert asyncio.run(ask(make(), "/metrics", accept=accept)) == (200, b"# EOF\n")
    assert asyncio.run(ask(make(), "/metrics", method="POST"))[0] == 405


def test_one_worker_that_takes_requests_makes_the_app_ready(tmp_path: Any) -> None:
    slots = SharedTable.create(tmp_path / "slots", COLUMNS, 3)
    assert not is_any_worker_ready(slots, now_ms=1000)
    slots.set(1, "status", WorkerStatus.DRAINING)
    slots.set(1, "heartbeat_ms", 1000)
    assert not is_any_worker_ready(slots, now_ms=1000)
    slots.set(2, "status", WorkerStatus.READY)
    slots.set(2, "heartbeat_ms", 1000)
    slots.set(2, "in_flight", 20)
    slots.set(2, "slots", 20)
    assert is_any_worker_ready(slots, now_ms=1000)  # Saturated, and ready all the same.
    assert not is_any_worker_ready(slots, now_ms=1001 + STUCK_MS)
    slots.close()
