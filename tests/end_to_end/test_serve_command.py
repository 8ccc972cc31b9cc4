"""`peaker serve`: one server among others, as a container runs it."""

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peaker.cli import main
from peaker.engines.local.state_dir import RunRecord, read_run
from peaker.state import StateDirectory
from peaker.testing.running import until

ARN = "arn:aws:lambda:us-east-1:000000000000:function:shop-web"
APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return await send({"type": "lifespan.shutdown.complete"})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
def thumbnail(event, context):
    return "runs on Lambda"
"""
SETTINGS = """
[app]
name = "shop"
web = "shop:app"
spill = true
[servers]
count_min = 2
count_max = 8
workers = 1
[[function]]
name = "thumbnail"
handler = "shop:thumbnail"
"""


def project(directory: Path) -> Path:
    directory.mkdir()
    (directory / "shop.py").write_text(APP)
    (directory / "peaker.toml").write_text(SETTINGS)
    return directory


def status_of(url: str, path: str) -> int:
    host, _, port = url.removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_container_serves_says_it_is_ready_and_drains_on_sigterm(tmp_path: Path) -> None:
    home, state = project(tmp_path / "code"), StateDirectory(tmp_path / "state")
    command = [sys.executable, "-m", "peaker", "serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]
    command += ["--state", str(state.root), "--arn", ARN]
    variables = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "never sent here"}
    found: list[RunRecord] = []

    def is_serving() -> bool:
        record = read_run(state)
        if record is not None and record.processes:
            found[:] = [record]
        return bool(found) and is_answered(found[0])

    def is_answered(record: RunRecord) -> bool:
        try:
            return status_of(record.ops_url, "/ready") == 200
        except OSError:
            return False

    with subprocess.Popen(command, cwd=home, env={**os.environ, **variables}, stderr=subprocess.PIPE) as serving:
        try:
            until(is_serving, 60)
            assert status_of(found[0].app_url, "/") == 200
            record = read_run(state)  # Anew: the one before may be older than the worker that made it ready.
            assert record is not None
            names = {process.name for process in record.processes}
            assert names == {"control", "worker-0"}, "one server, and no host for functions that run on Lambda"
        finally:
            serving.send_signal(signal.SIGTERM)
            said = serving.communicate(timeout=60)[1].decode()
    assert serving.returncode == 0
    assert f"requests spill to {ARN}" in said
    assert sorted(path.name for path in home.iterdir() if path.name != "__pycache__") == ["peaker.toml", "shop.py"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "no function is named"), (["--arn", "shop-web"], "functions.arn"), (["--listen", "x"], "app.listen")],
)
def test_what_could_not_work_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    home = project(tmp_path / "code")
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--config", str(home / "peaker.toml"), *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
