"""Other tools with the functions of the fidelity table deployed on them, each as an endpoint the checks can call.

They are ended by `end_all`, whatever becomes of the one who uses them.
"""

import contextlib
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import typing
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from fidelity.clients import HttpEndpoint, boto3_client
from fidelity.functions import FUNCTIONS, Deployed, lay_out

from peaker.functions import proc
from peaker.wire.sigv4 import SigningKey

KEY = SigningKey("AKIAANY", "any")
START_S_MAX = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline_s or process.poll() is not None:
                raise RuntimeError(f"{process.args!r} did not come to serve") from None
            time.sleep(0.05)
        else:
            return


def end_all() -> None:
    """End all that was started here, also what has left its group or lost its parent.

    The emulator gives each runtime a group of its own, and serverless-offline loses sight of the Python it starts
    through a shell. This process adopts them (`become_subreaper` in run.py), so they are among its descendants.
    """
    while below := proc.descendants(os.getpid())[1:]:
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


class Rie:
    """AWS's runtime interface emulator: one process a function, each with awslambdaric behind it."""

    def __init__(self, emulator: str, python: str, code: pathlib.Path) -> None:
        self._emulator, self._python, self._code = emulator, python, code
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        self._starting = threading.Lock()
        """Checks call from several threads, and each process must be known to be ended."""

    def _end_of(self, function: str) -> tuple[HttpEndpoint, str]:
        """The emulator knows its function by one name only."""
        deployed = next((one for one in FUNCTIONS if one.name == function), None)
        name = deployed.name if deployed else "deeds"
        with self._starting:
            running = self._processes.get(name)
            if running is None or running.poll() is not None:
                self._start(deployed or FUNCTIONS[0])
        return HttpEndpoint(f"http://127.0.0.1:{self._ports[name]}", KEY), "function" if deployed else function

    def _start(self, one: Deployed) -> None:
        port = self._ports[one.name] = free_port()
        # What AWS's own images for Python set.
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "en_US.UTF-8",
            "TZ": ":/etc/localtime",
            "LAMBDA_TASK_ROOT": str(self._code),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "AWS_LAMBDA_FUNCTION_NAME": one.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(one.timeout_s),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(one.memory_mb),
        } | ({"AWS_LAMBDA_LOG_FORMAT": "JSON"} if one.log_format == "json" else {})
        command = [self._emulator, "--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
        command += ["--runtime-api-address", f"127.0.0.1:{free_port()}"]
        command += [self._python, "-m", "awslambdaric", one.handler]
        process = self._processes[one.name] = subprocess.Popen(
            command, env=environment, cwd=self._code, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for_port(port, process)

    def call(self, function: str, **parameters: typing.Any) -> typing.Any:
        endpoint, name = self._end_of(function)
        return endpoint.call(name, **parameters)

    def raw(self, function: str, headers: typing.Any, body: bytes, *, signed: bool = True) -> typing.Any:
        endpoint, name = self._end_of(function)
        return endpoint.raw(name, headers, body, signed=signed)


@contextmanager
def rie(directory: pathlib.Path, *, tool: str, python: str) -> Iterator[Rie]:
    """`tool` is the emulator's binary, `python` one that has awslambdaric."""
    yield Rie(tool, python, lay_out(directory))


class NotRunError(Exception):
    """The tool did not get as far as the function."""


class Moto(HttpEndpoint):
    """moto's server, which says in the payload that it has no Docker."""

    def call(self, function: str, **parameters: typing.Any) -> typing.Any:
        reply: typing.Any = super().call(function, **parameters)
        body = reply["Payload"].read()
        _require_docker(body)
        return {**reply, "Payload": io.BytesIO(body)}

    def raw(self, function: str, headers: typing.Any, body: bytes, *, signed: bool = True) -> typing.Any:
        answer = super().raw(function, headers, body, signed=signed)
        _require_docker(answer[2])
        return answer


def _require_docker(body: bytes) -> None:
    if b"error running docker" in body:
        raise NotRunError("cannot invoke without Docker")


@contextmanager
def moto(directory: pathlib.Path, *, tool: str, python: str) -> Iterator[HttpEndpoint]:  # noqa: ARG001 - it runs none
    """`tool` is moto_server."""
    code = lay_out(directory)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in code.rglob("*.py"):
            archive.write(path, path.relative_to(code))
    port = free_port()
    process = subprocess.Popen(
        [tool, "--port", str(port)], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_port(port, process)
    url = f"http://127.0.0.1:{port}"
    role = _role(url)
    client = boto3_client(url, KEY)
    for one in FUNCTIONS:
        client.create_function(
            FunctionName=one.name,
            Runtime="python3.11",
            Role=role,
            Handler=one.handler,
            Code={"ZipFile": packed.getvalue()},
            MemorySize=one.memory_mb,
            Timeout=one.timeout_s,
            LoggingConfig={"LogFormat": "JSON" if one.log_format == "json" else "Text"},
        )
    yield Moto(url, KEY)


def _role(url: str) -> str:
    import boto3

    iam = boto3.client(
        "iam", endpoint_url=url, region_name="eu-central-1", aws_access_key_id="any", aws_secret_access_key="any"
    )
    arn: str = iam.create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    return arn


class Offline(HttpEndpoint):
    """serverless-offline names a function by service, stage and key."""

    def call(self, function: str, **parameters: typing.Any) -> typing.Any:
        return super().call(f"table-dev-{function}", **parameters)

    def raw(self, function: str, headers: typing.Any, body: bytes, *, signed: bool = True) -> typing.Any:
        return super().raw(f"table-dev-{function}", headers, body, signed=signed)


@contextmanager
def serverless_offline(directory: pathlib.Path, *, tool: str, python: str) -> Iterator[Offline]:
    """`tool` is the serverless command of a node_modules that holds serverless-offline too."""
    code = lay_out(directory)
    (code / "node_modules").symlink_to(pathlib.Path(tool).resolve().parents[2])
    functions = {
        one.name: {"handler": one.handler, "memorySize": one.memory_mb, "timeout": one.timeout_s} for one in FUNCTIONS
    }
    described = {
        "service": "table",
        "frameworkVersion": "3",
        "provider": {"name": "aws", "runtime": "python3.11", "region": "eu-central-1", "stage": "dev"},
        "plugins": ["serverless-offline"],
        "functions": functions,
    }
    (code / "serverless.json").write_text(json.dumps(described))
    web, port = free_port(), free_port()
    process = subprocess.Popen(
        ["node", tool, "offline", "--httpPort", str(web), "--lambdaPort", str(port)],
        cwd=code,
        start_new_session=True,
        env={**os.environ, "SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off", "CI": "1",
             "PATH": f"{pathlib.Path(python).parent}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for_port(port, process)
    yield Offline(f"http://127.0.0.1:{port}", KEY)


TOOLS = {"RIE": rie, "moto": moto, "serverless-offline": serverless_offline}
