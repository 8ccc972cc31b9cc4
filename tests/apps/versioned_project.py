"""A project whose code says which version of it answers: two modules, so that a mixture would show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from peaker.testing.faults import Outcome

SETTINGS = """
[app]
name = "shop"
web = "shop:app"
spill = true
listen = "127.0.0.1:0"
placement_header = true

[servers]
count_max = 3
workers = 2
in_flight_max = 4
queue_wait_s_max = 8
drain_s_max = 10
drain_idle_s = 0.5

[functions]
concurrency_max = 40
keep_alive_s = 5

[[function]]
name = "version"
handler = "shop.version"

[[route]]
path = "/work"
placement = "hybrid"
"""

SHOP = """
import asyncio
import os

import part

VERSION = "{version}"


def version(event, context):
    return VERSION + part.VERSION


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await asyncio.sleep(0.03)
    body = f"{{VERSION}}{{part.VERSION}} {{os.getpid()}}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"""


def write_version(directory: Path, version: str) -> None:
    """Both modules, one digit each."""
    (directory / "shop.py").write_text(SHOP.format(version=version))
    (directory / "part.py").write_text(f'VERSION = "{version}"\n')


def make_project(directory: Path, settings: str = SETTINGS) -> Path:
    """Version 1 of it."""
    (directory / "peaker.toml").write_text(settings)
    write_version(directory, "1")
    return directory


def version_of(outcome: Outcome) -> str:
    """`11` where both modules were of version 1."""
    return outcome.body.decode().split()[0]


def ran(outcome: Outcome) -> str:
    """`server`, `sibling` or `function`."""
    return outcome.headers.get("x-peaker-ran", "")


def versions_by_connection(outcomes: Iterable[Outcome], *, places: Iterable[str]) -> dict[int, set[str]]:
    """A connection belongs to one worker: two versions on one would show a gate that invoked another function."""
    allowed = set(places)
    found: dict[int, set[str]] = defaultdict(set)
    for outcome in outcomes:
        if outcome.status == 200 and ran(outcome) in allowed:
            found[outcome.client_port].add(version_of(outcome))
    return found
