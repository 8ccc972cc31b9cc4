"""What is measured beside Peaker, each running the function of `code/`: how it is started and what it is sent."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.warm_invoke.client import Address, Connection, WrongAnswerError

CODE = Path(__file__).parent / "code"
EVENT = b'{"name": "Ada", "note": "small"}'
START_S_MAX = 60.0


class AbsentError(Exception):
    """It is not installed; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Something that answers: where, and with which requests (sent in turn)."""

    address: Address
    requests: list[bytes]
    connections_max: int = 1000
    """The emulator ends itself when a second call comes while one runs."""


def post(path: str, headers: tuple[tuple[str, str], ...] = (), *, host: str = "127.0.0.1") -> bytes:
    """One request with EVENT as its body."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers] + [f"content-length: {len(EVENT)}", "", ""]
    return "\r\n".join(lines).encode() + EVENT


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def needed(folder: Path | None, inside: str) -> Path:
    if folder is None:
        raise AbsentError("not looked for: no --peers-dir")
    if not (folder / inside).exists():
        raise AbsentError(f"no {inside} in {folder}: benchmarks/warm_invoke/peers.sh installs it")
    return folder.resolve() / inside


@contextmanager
def running(command: list[str], cwd: Path, variables: dict[str, str] | None = None) -> Iterator[None]:
    """In a session of its own, which is killed whole."""
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(variables or {})}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def once_it_answers(peer: Peer) -> Peer:
    """Wait for the first right answer, which is also its warm-up."""
    deadline_s = time.monotonic() + START_S_MAX
    while True:
        try:
            connection = Connection(peer.address)
            with connection.socket:
                connection.call(peer.requests[0])
        except (OSError, WrongAnswerError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)
        else:
            return peer


@contextmanager
def emulator(folder: Path | None) -> Iterator[Peer]:
    """AWS's runtime interface emulator as aws-sam-cli ships it, with AWS's Python runtime client behind it."""
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    program = needed(folder, f"aws-sam-cli/samcli/local/rapid/aws-lambda-rie-{machine}")
    python = needed(folder, "python/bin/python")
    port = free_port()
    command = [str(program), "--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    command += ["--runtime-api-address", f"127.0.0.1:{free_port()}", str(python), "-m", "awslambdaric", "noop.handle"]
    variables = {"LAMBDA_TASK_ROOT": str(CODE), "AWS_LAMBDA_FUNCTION_NAME": "noop", "PYTHONPATH": str(CODE)}
    with running(command, CODE, variables):
        yield once_it_answers(Peer(port, [post("/2015-03-31/functions/function/invocations")], connections_max=1))


def framework(*flags: str, target: str) -> Callable[[Path | None], AbstractContextManager[Peer]]:
    """Google's functions-framework, on the server it chooses by itself."""

    @contextmanager
    def start(folder: Path | None) -> Iterator[Peer]:
        program = needed(folder, "python/bin/functions-framework")
        port = free_port()
        command = [str(program), "--target", target, "--source", "noop.py", "--host", "127.0.0.1", "--port", str(port)]
        with running([*command, *flags], CODE):
            yield once_it_answers(Peer(port, [post("/")]))

    return start


def offline(handler: str, runtime: str) -> Callable[[Path | None], AbstractContextManager[Peer]]:
    """serverless-offline's Lambda endpoint."""

    @contextmanager
    def start(folder: Path | None) -> Iterator[Peer]:
        program = needed(folder, "node_modules/serverless/bin/serverless.js")
        node = shutil.which("node")
        if node is None:
            raise AbsentError("no node on the PATH")
        described = {
            "service": "bench",
            "frameworkVersion": "3",
            "provider": {"name": "aws", "runtime": runtime, "region": "eu-central-1", "stage": "dev"},
            "plugins": ["serverless-offline"],
            "functions": {"noop": {"handler": handler, "memorySize": 512}},
        }
        variables = {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off", "CI": "1"}
        with tempfile.TemporaryDirectory() as copy:
            service = Path(copy)
            shutil.copytree(CODE, service, dirs_exist_ok=True)
            (service / "node_modules").symlink_to(program.parents[2])
            (service / "serverless.json").write_text(json.dumps(described))
            port = free_port()
            command = [node, str(program), "offline", "--httpPort", str(free_port()), "--lambdaPort", str(port)]
            with running(command, service, variables):
                request = post("/2015-03-31/functions/bench-dev-noop/invocations")
                yield once_it_answers(Peer(port, [request]))

    return start


PEERS: dict[str, Callable[[Path | None], AbstractContextManager[Peer]]] = {
    "RIE": emulator,
    "functions-framework": framework(target="handle_flask"),
    "functions-framework, asgi": framework("--asgi", target="handle_starlette"),
    "serverless-offline": offline("noop.handle", "nodejs20.x"),
}
