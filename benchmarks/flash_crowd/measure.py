"""Runs one case for real and keeps all that was seen."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from examples.streaming import running
from examples.streaming.observe import Observer

from benchmarks.flash_crowd.case import (
    HERE,
    SLOW_FOR_S,
    SLOW_TIMES,
    TIMEOUT_S,
    TRACE,
    ZERO_INSTANCES_WITHIN_S,
    Case,
)
from peaker.traffic.tally import Outcome, Sample

STORE_LOOK_S = 0.25


@dataclasses.dataclass(slots=True)
class Seen:
    """What one run showed: every request, and the system from inside."""

    samples: list[Sample] = dataclasses.field(default_factory=list)
    gate_p95_ms: float | None = None
    instances_max: int = 0
    instances_gone_after_s: float | None = None
    cold_starts: int = 0
    store_concurrency: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    """(seconds from the beginning, the most queries at once since the look before)"""
    store_refused: int = 0


async def measure(case: Case) -> Seen:
    """Start everything, send the traffic, watch, wait for the instances to go, stop everything."""
    with tempfile.TemporaryDirectory(prefix="flash-crowd-") as name:
        folder = Path(name)
        limit = f"{case.connections_max}"
        store_options = ("--base-ms", f"{case.store_ms}", "--connections-max", limit, "--knee", limit)
        async with running.store(*store_options) as store:
            modules = (running.HERE, HERE / "apps")
            async with running.app(case.settings(store), folder, modules=modules) as app:
                return await _watch(case, app, store, folder)


async def _watch(case: Case, app: dict[str, Any], store: str, folder: Path) -> Seen:
    seen = Seen()
    observer = Observer(running.state_of(folder), app["ops_url"], time.monotonic())
    try:
        generator = await _generator(case, app["app_url"], folder / "samples.json")
        try:
            began_s = time.monotonic()
            await asyncio.gather(
                _gate_from_the_event_on(case, observer, generator, seen),
                _instances(observer, generator, seen),
                _store(case, store, generator, began_s, seen),
            )
        finally:
            await running.stop(generator)
        if generator.returncode:
            raise running.NotStarted(f"the generator ended with {generator.returncode}")
        seen.samples = [
            Sample(due_s, sent_s, done_s, Outcome(outcome), placement)
            for due_s, sent_s, done_s, outcome, placement in json.loads(
                (folder / "samples.json").read_text(encoding="utf-8")
            )
        ]
        await _instances_go(observer, seen)
        seen.cold_starts = observer.usage()["cold_starts"]
    finally:
        observer.close()
    return seen


async def _generator(case: Case, url: str, out: Path) -> asyncio.subprocess.Process:
    order = {
        "url": url,
        "trace": str(TRACE),
        "from_s": case.from_s,
        "for_s": case.for_s,
        "scale": case.scale,
        "paths": case.paths,
        "timeout_s": TIMEOUT_S,
        "out": str(out),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.flash_crowd.generator", json.dumps(order), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def _gate_from_the_event_on(
    case: Case, observer: Observer, generator: asyncio.subprocess.Process, seen: Seen
) -> None:
    await asyncio.sleep(case.event_at_s)
    await observer.look(time.monotonic())
    await generator.wait()
    seen.gate_p95_ms = (await observer.look(time.monotonic())).latency_p95_ms


async def _instances(observer: Observer, generator: asyncio.subprocess.Process, seen: Seen) -> None:
    while generator.returncode is None:
        seen.instances_max = max(seen.instances_max, await observer.instances())
        await asyncio.sleep(0.5)


async def _instances_go(observer: Observer, seen: Seen) -> None:
    ended_s = time.monotonic()
    while (waited_s := time.monotonic() - ended_s) < ZERO_INSTANCES_WITHIN_S:
        if await observer.instances() == 0:
            seen.instances_gone_after_s = waited_s
            return
        await asyncio.sleep(0.1)


async def _store(case: Case, store: str, generator: asyncio.subprocess.Process, began_s: float, seen: Seen) -> None:
    slowed = not case.slow_store
    refused = 0
    while generator.returncode is None:
        if not slowed and time.monotonic() - began_s >= case.event_at_s:
            await running.ask_store(store, f"SLOW {SLOW_TIMES} {SLOW_FOR_S}")
            slowed = True
        stats = await running.ask_store(store, "STATS")
        await running.ask_store(store, "RESET")
        refused += stats["refused"]
        seen.store_concurrency.append((time.monotonic() - began_s, stats["concurrency_max"]))
        await asyncio.sleep(STORE_LOOK_S)
    seen.store_refused = refused
