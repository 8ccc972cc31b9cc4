"""Starts and stops what the example runs: the store, and `peaker run` in a state directory of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START_S_MAX = 60.0
STOP_S_MAX = 20.0


class NotStarted(Exception):  # noqa: N818 - named for what is known
    """A process ended, or was not ready in time."""


async def _start(arguments: Sequence[str], environment: Mapping[str, str], **pipes: Any) -> asyncio.subprocess.Process:
    # A session of its own, so that Ctrl-C reaches only this program, which then stops the others in order.
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=os.environ | dict(environment), start_new_session=True, **pipes
    )


async def stop(process: asyncio.subprocess.Process, number: int = signal.SIGTERM) -> None:
    """Ask a process to end, insist after STOP_S_MAX, and wait for it."""
    if process.returncode is not None:
        return
    process.send_signal(number)
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def state_of(folder: Path) -> Path:
    """The state directory of what runs in `folder`."""
    return folder / "state"


@contextlib.asynccontextmanager
async def store(*options: str) -> AsyncIterator[str]:
    """The store on a free port; gives its address."""
    process = await _start([str(HERE / "store.py"), "--port", "0", *options], {}, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_S_MAX):
            address = (await process.stdout.readline()).decode().strip()
        if not address:
            raise NotStarted("the store did not start")
        yield address
    finally:
        await stop(process)


async def ask_store(address: str, command: str) -> Any:
    """Send `ADMIN command`; gives the JSON of the answer, None where it has none."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"ADMIN {command}\n".encode())
        answer = (await reader.readline()).decode().strip()
    finally:
        writer.close()
    if not answer.startswith("OK"):
        raise NotStarted(f"the store answered {answer!r}")
    return json.loads(answer[3:]) if len(answer) > 3 else None


@contextlib.asynccontextmanager
async def app(settings: str, folder: Path, *, modules: Sequence[Path] = (HERE,)) -> AsyncIterator[dict[str, Any]]:
    """`peaker run` with these settings on free ports, everything it writes in `folder`.

    Gives what `peaker status --json` says once it is ready. The app's modules are looked for in `modules`.
    """
    config, state, log = folder / "peaker.toml", state_of(folder), folder / "peaker.log"
    config.write_text(settings, encoding="utf-8")
    arguments = ["-m", "peaker", "run", "--config", str(config), "--state", str(state), "--listen", "127.0.0.1:0"]
    own = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    environment = {"PYTHONPATH": os.pathsep.join([*(str(path) for path in modules), *own])}
    with log.open("wb") as output:
        process = await _start(arguments, environment, stdout=output, stderr=output)
    try:
        yield await _ready(process, state, log)
    finally:
        await stop(process)
        _end_what_is_left(state)


async def _ready(process: asyncio.subprocess.Process, state: Path, log: Path) -> dict[str, Any]:
    """Wait for the log's last line of a start, which stands there once every process is ready."""
    try:
        async with asyncio.timeout(START_S_MAX):
            while "serving http" not in _text(log):
                if process.returncode is not None:
                    raise NotStarted(f"peaker run ended with {process.returncode}:\n{_text(log)}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise NotStarted(f"peaker run was not ready after {START_S_MAX:.0f} s:\n{_text(log)}") from None
    asked = await _start(
        ["-m", "peaker", "status", "--state", str(state), "--json"], {}, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asked.communicate()
    found: dict[str, Any] = json.loads(out)
    return found


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _end_what_is_left(state: Path) -> None:
    """After a supervisor that had to be killed: end the processes it has written down, if they still are the same."""
    try:
        processes = json.loads((state / "run.json").read_text(encoding="utf-8"))["processes"]
    except FileNotFoundError:
        return
    for process in processes:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            stat = Path(f"/proc/{process['pid']}/stat").read_text(encoding="utf-8")
            if int(stat.rpartition(")")[2].split()[19]) == process["started_ticks"]:
                os.kill(process["pid"], signal.SIGKILL)


@contextlib.asynccontextmanager
async def replay(trace: Path, url: str, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`peaker replay` as a process, so that watching it does not make it late; its summary is JSON on stdout."""
    process = await _start(
        ["-m", "peaker", "replay", str(trace), "--to", url, "--json", *options],
        {},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        await stop(process, signal.SIGINT)
