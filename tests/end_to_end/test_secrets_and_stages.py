"""Secrets and stages in a running app: the app has the values, nobody else sees them, and a reload rotates them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import urllib.request
from pathlib import Path

from peaker.testing.running import PeakerRun

OLD, NEW, FROM_VARIABLE = "correct-horse-battery", "staple-after-rotation", "from-the-shell-only"

APP = """
import hashlib, json, os

def seen():
    return {name: hashlib.sha256(os.environ.get(name, "").encode()).hexdigest() for name in ("KEY", "TOKEN", "LEVEL")}

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(seen()).encode()})

def tell(event, context):
    return seen()
"""

SETTINGS = """
[app]
name = "shop"
web = "shop:app"
listen = "127.0.0.1:0"
[servers]
workers = 1
drain_idle_s = 0
[functions]
keep_alive_s = 1
[env]
LEVEL = "info"
[secrets]
KEY = "file:key"
TOKEN = "env:NOT_SET_HERE"
[[function]]
name = "tell"
handler = "shop:tell"
[function.env]
LEVEL = "debug"
[stage.prod.secrets]
TOKEN = "env:SHELL_TOKEN"
[stage.prod.env]
LEVEL = "warning"
"""


def hashes(key: str, level: str) -> dict[str, str]:
    values = {"KEY": key, "TOKEN": FROM_VARIABLE, "LEVEL": level}
    return {name: hashlib.sha256(value.encode()).hexdigest() for name, value in values.items()}


def on_server(run: PeakerRun) -> dict[str, str]:
    with urllib.request.urlopen(run.app_url, timeout=20) as answer:
        found: dict[str, str] = json.load(answer)
    return found


def in_function(run: PeakerRun) -> dict[str, str]:
    done = run.command("invoke", "tell", "{}")
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def everything_said(run: PeakerRun) -> bytes:
    """Every file of the state directory, all that was printed, and the command lines of all processes."""
    files = [path for path in run.directory.rglob("*") if path.is_file() and path.name not in ("key", "shop.py")]
    said = b"".join(path.read_bytes() for path in files)
    for command in (("status",), ("status", "--json")):
        done = run.command(*command)
        assert done.returncode == 0, done.stderr
        said += done.stdout.encode() + done.stderr.encode()
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in run.pids().values()]
    return said + b"".join(lines)


def test_secrets_reach_servers_and_functions_and_nobody_else_and_a_reload_rotates_them(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "peaker.toml").write_text(SETTINGS)
    (tmp_path / "key").write_text(OLD + "\n")
    with PeakerRun(tmp_path, "--stage", "prod", environment={"SHELL_TOKEN": FROM_VARIABLE}) as run:
        assert on_server(run) == hashes(OLD, "warning")
        assert in_function(run) == hashes(OLD, "debug")
        assert run.status()["stage"] == "prod"
        assert "shop, stage prod: ready" in run.command("status").stdout

        (tmp_path / "key").write_text(NEW + "\n")
        reloaded = run.command("reload")
        assert reloaded.returncode == 0, reloaded.stderr
        assert on_server(run) == hashes(NEW, "warning")
        assert in_function(run) == hashes(NEW, "debug")

        (tmp_path / "key").unlink()
        refused = run.command("reload")
        assert refused.returncode == 1
        assert "secrets.KEY cannot be had: there is no file" in refused.stderr
        assert on_server(run) == hashes(NEW, "warning")
        (tmp_path / "key").write_text(NEW)

        said = everything_said(run)
        for value in (OLD, NEW, FROM_VARIABLE):
            assert value.encode() not in said
        assert b"TOKEN" in said
        for pid in run.pids().values():
            environment = Path(f"/proc/{pid}/environ")
            assert stat.S_IMODE(environment.stat().st_mode) == 0o400
            assert environment.stat().st_uid == os.getuid()


def test_a_secret_that_is_missing_stops_the_start_by_name(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "peaker.toml").write_text(SETTINGS)
    (tmp_path / "key").write_text(OLD)

    done = PeakerRun(tmp_path).command("run")

    assert done.returncode == 2
    assert "secrets.TOKEN cannot be had: the variable NOT_SET_HERE is not set where Peaker was started" in done.stderr
    unknown = PeakerRun(tmp_path).command("run", "--stage", "prd")
    assert "stage = 'prd' is not defined; there are: prod." in unknown.stderr
