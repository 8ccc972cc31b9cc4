"""What is measured beside Peaker: how it is started, and how its own programs are asked to send and to wait."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

CODE = Path(__file__).parent / "code"
START_S_MAX = 60.0
SERVERS_USER = "postgres"
"""PostgreSQL does not run as root; then it runs as this user, else as whoever runs the benchmark."""


class AbsentError(Exception):
    """It is not installed; the text says what is missing."""


Ask = Callable[..., dict[str, Any]]
"""`ask("load", events, senders)`, `ask("latency", events)`: what a peer's own program printed (code/driving.py)."""


def needed(folder: Path | None, inside: str) -> Path:
    if folder is None:
        raise AbsentError("not looked for: no --peers-dir")
    if not (folder / inside).exists():
        raise AbsentError(f"no {inside} in {folder}: benchmarks/event_queue/peers.sh installs it")
    return folder.resolve() / inside


@contextmanager
def running(command: list[str], variables: dict[str, str], user: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, told to end and after a while killed."""
    process = subprocess.Popen(
        command, cwd=CODE, env={**os.environ, **variables}, start_new_session=True, user=user or None,
        group=user or None, extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def wait_for(is_there: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + START_S_MAX
    while not is_there():
        if time.monotonic() > deadline_s:
            raise AbsentError(f"{what} did not start")
        time.sleep(0.05)


def asking(python: Path, module: str, variables: dict[str, str]) -> Ask:
    def ask(*arguments: object) -> dict[str, Any]:
        command = [str(python), f"{module}.py", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=CODE, env={**os.environ, **variables}, check=True, capture_output=True, text=True, timeout=600
        )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return ask


@contextmanager
def postgresql(folder: Path | None) -> Iterator[str]:
    """A server with fsync and synchronous_commit on, as it comes; gives how to connect to it."""
    programs = needed(folder, "debian/usr/lib/postgresql/15/bin")
    libraries = {"LD_LIBRARY_PATH": str(programs.parents[3] / "lib/x86_64-linux-gnu")}
    user = SERVERS_USER if os.geteuid() == 0 else ""
    with tempfile.TemporaryDirectory(prefix="pg-") as data:
        if user:
            shutil.chown(data, user, user)
        subprocess.run(
            [str(programs / "initdb"), "-D", f"{data}/db", "--username=bench", "--auth=trust", "--encoding=UTF8"],
            env={**os.environ, **libraries}, user=user or None, group=user or None, cwd=data, check=True,
            capture_output=True,
        )  # fmt: skip
        options = {"fsync": "on", "synchronous_commit": "on", "listen_addresses": "", "unix_socket_directories": data}
        command = [str(programs / "postgres"), "-D", f"{data}/db"]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with running(command, libraries, user):
            wait_for(Path(data, ".s.PGSQL.5432").exists, "PostgreSQL")
            yield f"host={data} user=bench dbname=postgres"


@contextmanager
def procrastinate(folder: Path | None, handlers: int) -> Iterator[Ask]:
    """One worker process with so many runs at once."""
    python = needed(folder, "python/bin/python")
    with ExitStack() as stack:
        variables = {"DATABASE": stack.enter_context(postgresql(folder)), "PYTHONPATH": str(CODE)}
        program = [str(python), "-m", "procrastinate", "--app", "procrastinate_app.app"]

        def is_made() -> bool:
            made = [*program, "schema", "--apply"]
            return not subprocess.run(
                made, cwd=CODE, env={**os.environ, **variables}, check=False, capture_output=True
            ).returncode

        wait_for(is_made, "PostgreSQL")
        stack.enter_context(running([*program, "worker", "--concurrency", str(handlers)], variables))
        ask = asking(python, "procrastinate_load", variables)
        ask("load", 10, 1)  # its worker is there
        yield ask


@contextmanager
def celery(folder: Path | None, handlers: int) -> Iterator[Ask]:
    """Celery's worker of so many processes, with Redis that syncs each write."""
    python = needed(folder, "python/bin/python")
    server = needed(folder, "debian/usr/bin/redis-server")
    with ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-"))
        libraries = {"LD_LIBRARY_PATH": str(server.parents[1] / "lib/x86_64-linux-gnu")}
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [str(server), "--port", str(port), "--bind", "127.0.0.1", "--dir", data]
        stack.enter_context(
            running([*command, "--appendonly", "yes", "--appendfsync", "always", "--save", ""], libraries)
        )
        wait_for(lambda: _answers(port), "Redis")
        variables = {"REDIS": f"redis://127.0.0.1:{port}/0", "PYTHONPATH": str(CODE)}
        worker = [str(python), "-m", "celery", "-A", "celery_app", "worker", "--concurrency", str(handlers)]
        stack.enter_context(running([*worker, "--without-gossip", "--without-mingle", "-l", "ERROR"], variables))
        ask = asking(python, "celery_load", variables)
        ask("load", 10, 1)
        yield ask


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


PEERS: dict[str, Callable[[Path | None, int], AbstractContextManager[Ask]]] = {
    "procrastinate": procrastinate,
    "Celery": celery,
}
