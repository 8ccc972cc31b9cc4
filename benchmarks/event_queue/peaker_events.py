"""Peaker's own: events by the Invoke API into the events process, run by the function host."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.event_queue.code.driving import Stamps
from benchmarks.event_queue.peers import CODE, Ask
from peaker.clock import SystemClock
from peaker.events.sqlite_queue import SqliteQueue
from peaker.messages import Event
from peaker.settings import FunctionSection, FunctionsSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost

EVENT = b'{"name": "Ada", "note": "small"}'
FINISH_S_MAX = 300.0


def request(function: str, payload: bytes) -> bytes:
    head = (
        f"POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nhost: peaker\r\n"
        f"x-amz-invocation-type: Event\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


async def accepted(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 202 "):
        raise RuntimeError(f"not accepted: {head[:300]!r}")


@contextmanager
def peaker(handlers: int) -> Iterator[Ask]:
    """A function host and an events process; the function may run so often at once."""
    settings = Settings(
        function=tuple(
            FunctionSection(name=name, handler=f"noop:{name}", concurrency_max=handlers) for name in ("handle", "stamp")
        ),
        functions=FunctionsSection(memory_mb=512),
        servers=ServersSection(drain_s_max=2.0),
        directory=str(CODE),
    )
    with RunningHost(settings, with_events=True) as host:

        def ask(what: str, *numbers: int) -> dict[str, Any]:
            return asyncio.run(_load(host, *numbers) if what == "load" else _latency(host, *numbers))

        ask("load", 4 * handlers, handlers)  # its instances are there
        ask("latency", 3)
        yield ask


async def _load(host: RunningHost, events: int, senders: int) -> dict[str, float]:
    sent = request("handle", EVENT)
    before = host.events()["totals"]["finished"]

    async def send() -> None:
        reader, writer = await asyncio.open_unix_connection(str(host.state.invoke_socket))
        for _ in range(events // senders):
            writer.write(sent)
            await accepted(reader)
        writer.close()

    begun_s = time.time()
    await asyncio.gather(*(send() for _ in range(senders)))
    accepted_s = time.time()
    deadline_s = time.monotonic() + FINISH_S_MAX
    while host.events()["totals"]["finished"] - before < events // senders * senders:
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"not finished in time: {host.events()}")
        await asyncio.sleep(0.01)
    return {"accept_s": accepted_s - begun_s, "finish_s": time.time() - begun_s}


async def _latency(host: RunningHost, events: int) -> dict[str, list[float]]:
    stamps = Stamps()
    sent = request("stamp", json.dumps({"tell": stamps.path}).encode())
    reader, writer = await asyncio.open_unix_connection(str(host.state.invoke_socket))
    to_start, from_sent = [], []
    for _ in range(events):
        sent_s = time.time()
        writer.write(sent)
        await accepted(reader)
        accepted_s = time.time()
        began_s = stamps.next_s()
        to_start.append((began_s - accepted_s) * 1000)
        from_sent.append((began_s - sent_s) * 1000)
        await asyncio.sleep(0.02)
    writer.close()
    return {"accept_to_start_ms": to_start, "send_to_start_ms": from_sent}


async def queue_alone(events: int, senders: int, handlers: int) -> tuple[float, float]:
    """The queue within one process: events a second accepted, leased and finished; events of one commit."""
    finished = 0
    with tempfile.TemporaryDirectory() as folder:
        queue = SqliteQueue(Path(folder) / "events.sqlite", clock=SystemClock())

        async def send() -> None:
            for _ in range(events // senders):
                await queue.put([Event(id=str(uuid.uuid4()), function="handle", payload=EVENT)])

        async def handle() -> None:
            nonlocal finished
            while finished < events // senders * senders:
                leases = await queue.lease("handle", at_most=1, lease_s=30)
                if leases:
                    await queue.finish(leases)
                    finished += 1
                else:
                    await asyncio.sleep(0.001)

        begun_s = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(senders)), *(handle() for _ in range(handlers)))
        took_s = time.perf_counter() - begun_s
        commits = queue.commits
        await queue.close()
    return finished / took_s, finished / commits
