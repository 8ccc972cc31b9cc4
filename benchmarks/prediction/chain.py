"""The chain: measure, predict, replay, compare, each by the command that a user types."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from examples.streaming import running
from examples.streaming.__main__ import settings_for
from examples.streaming.observe import Observer

from benchmarks.prediction.shapes import PATHS, Shape
from peaker.cli.compare_text import comparison_text
from peaker.simulate.comparison import Comparison, compare
from peaker.simulate.measurement import load_measurement
from peaker.simulate.prediction import load_prediction

MEASURE_SHARE = 2.0
"""The app is measured for this many times the length of a replay."""

INSTANCES_GONE_S_MAX = 15.0
VOID_REPEATS_MAX = 3
"""Repeats whose generator was late are replayed anew, at most so many of all together."""


@dataclasses.dataclass(frozen=True, slots=True)
class Proved:
    """One shape: what was predicted beside what was measured, as a value and as a person reads it."""

    shape: Shape
    comparison: Comparison
    text: str


async def prove(shapes: Sequence[Shape], *, length_s: float, repeats: int, keep: Path | None) -> list[Proved]:
    """The whole chain; all predictions stand in files before the first replay begins."""
    with _folder(keep) as folder:
        async with running.store() as store:
            settings = settings_for(store)
            (folder / "peaker.toml").write_text(settings, encoding="utf-8")
            await _measure(folder, MEASURE_SHARE * length_s)
            for shape in shapes:
                await _peaker(
                    "simulate", folder, str(shape.trace), *shape.options(length_s), out=_prediction(folder, shape)
                )
                _say_sealed(_prediction(folder, shape))
            async with running.app(settings, folder) as app:
                await _replay_all(shapes, length_s, repeats, folder, app["app_url"], app["ops_url"])
        return [_proved(shape, folder) for shape in shapes]


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    root = Path(tempfile.mkdtemp(prefix="peaker-prediction-"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _prediction(folder: Path, shape: Shape) -> Path:
    return folder / f"predicted-{shape.name}.json"


def _measured(folder: Path, shape: Shape) -> list[Path]:
    return sorted(folder.glob(f"measured-{shape.name}-*.json"))


async def _measure(folder: Path, for_s: float) -> None:
    _say("measuring the app")
    paths = [word for path in PATHS for word in ("--path", path)]
    await _run("measure", "--config", str(folder / "peaker.toml"), *paths, "--for", f"{for_s:g}", "--yes")


async def _replay_all(  # noqa: PLR0917 - what, how often, and where
    shapes: Sequence[Shape], length_s: float, repeats: int, folder: Path, url: str, ops_url: str
) -> None:
    """The shapes in turn, so that a slow minute of the machine meets all of them; each begins without instances."""
    observer = Observer(running.state_of(folder), ops_url, time.monotonic())
    voided = 0
    try:
        for number in range(1, repeats + 1):
            for shape in shapes:
                out = folder / f"measured-{shape.name}-{number}.json"
                while True:
                    await _until_no_instances(observer)
                    await _peaker("replay", folder, str(shape.trace), *shape.options(length_s), "--to", url, out=out)
                    is_void = load_measurement(out).is_void
                    _say(f"replayed {shape.name}, {number} of {repeats}{': void' if is_void else ''}")
                    if not is_void or voided >= VOID_REPEATS_MAX:
                        break
                    voided += 1
    finally:
        observer.close()


async def _until_no_instances(observer: Observer) -> None:
    until_s = time.monotonic() + INSTANCES_GONE_S_MAX
    while await observer.instances():
        if time.monotonic() > until_s:
            raise running.NotStarted(f"instances are still there after {INSTANCES_GONE_S_MAX:g} s")
        await asyncio.sleep(0.2)


async def _peaker(command: str, folder: Path, *arguments: str, out: Path) -> None:
    await _run(
        command, *arguments, "--config", str(folder / "peaker.toml"), *_state(command, folder), "--out", str(out)
    )


def _state(command: str, folder: Path) -> list[str]:
    return ["--state", str(running.state_of(folder))] if command == "replay" else []


async def _run(*arguments: str) -> None:
    """One command of `peaker`; a replay may end with 1, where requests failed."""
    path = os.pathsep.join([str(running.HERE), os.environ.get("PYTHONPATH", "")])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "peaker",
        *arguments,
        env={**os.environ, "PYTHONPATH": path},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode and not (arguments[0] == "replay" and process.returncode == 1):
        raise running.NotStarted(
            f"peaker {arguments[0]} ended with {process.returncode}:\n{said.decode(errors='replace')}"
        )


def _proved(shape: Shape, folder: Path) -> Proved:
    measurements = [load_measurement(path) for path in _measured(folder, shape)]
    found = compare(load_prediction(_prediction(folder, shape)), measurements)
    return Proved(shape, found, comparison_text(found))


def _say_sealed(file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    _say(f"predicted: {file.name}, sha256 {digest[:16]}, written {time.strftime('%H:%M:%S')}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
