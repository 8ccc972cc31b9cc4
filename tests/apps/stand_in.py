"""A process that keeps the contract of docs/architecture.md and does nothing else: `python -m stand_in`.

As a worker it answers every connection with its name and pid and closes. STAND_IN names a JSON file that says how it
is to behave, looked at once at the start: {"worker-0": "fail" | "die" | "hang"}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from peaker.control_socket import ControlServer, Status, WithSocket
from peaker.gate.slots import WorkerStatus, open_slot_table
from peaker.meter.usage import open_usage_table
from peaker.settings import Settings
from peaker.state import StateDirectory


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path)
    parser.add_argument("--generation", type=int)
    parser.add_argument("--row", type=int)
    parser.add_argument("--name", default="host")
    for kind in ("listen", "invoke", "ops"):
        parser.add_argument(f"--{kind}-fd", type=int)
    return parser.parse_args()


def name_of(given: argparse.Namespace) -> str:
    if given.row is not None:
        return f"worker-{given.row}"
    # Only the events process is given no socket.
    return given.name if given.invoke_fd is not None else "control" if given.ops_fd is not None else "events"


def behaviour_of(name: str) -> str:
    script = Path(os.environ["STAND_IN"])
    return json.loads(script.read_text()).get(name, "") if script.exists() else ""


async def main(given: argparse.Namespace) -> int:
    name = name_of(given)
    behaviour = behaviour_of(name)
    if behaviour == "die":
        return 3
    state = StateDirectory(given.state)
    settings = Settings.from_json(state.settings_of(given.generation).read_text())
    draining = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, draining.set)
    descriptor = next((fd for fd in (given.listen_fd, given.invoke_fd, given.ops_fd) if fd is not None), None)
    listener = socket.socket(fileno=descriptor) if descriptor is not None else None

    async def drain(_: dict[str, Any]) -> dict[str, Any]:
        draining.set()
        return {}

    async def hand(_: dict[str, Any]) -> WithSocket:
        assert listener is not None
        return WithSocket(listener)

    control = ControlServer(
        state.control_socket(name),
        process=name,
        generation=given.generation,
        commands={"drain": drain, "listener": hand},
        orphan_s_max=settings.servers.orphan_s_max,
        on_orphaned=draining.set,
    )
    if behaviour == "fail":
        await control.tell_failure("'shop:app' does not import: ModuleNotFoundError: No module named 'shop'.")
        return 2
    if behaviour == "hang":
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await asyncio.Event().wait()
    await serve(given, state, control, listener, draining)
    return 0


async def serve(
    given: argparse.Namespace,
    state: StateDirectory,
    control: ControlServer,
    listener: socket.socket | None,
    draining: asyncio.Event,
) -> None:
    if given.row is None or listener is None:
        control.set_status(Status.READY)
        await draining.wait()
        return
    slots, usage = open_slot_table(state.slots), open_usage_table(state.usage)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        usage.set(given.row, "requests", usage.get(given.row, "requests") + 1)
        writer.write(f"worker-{given.row} {os.getpid()}\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=listener.dup())
    slots.set(given.row, "pid", os.getpid())
    slots.set(given.row, "generation", given.generation)
    slots.set(given.row, "status", WorkerStatus.READY)
    control.set_status(Status.READY)
    await draining.wait()
    slots.set(given.row, "status", WorkerStatus.DRAINING)
    control.set_status(Status.DRAINING)
    server.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
