"""`peaker run` as PID 1 of a container: a process namespace of its own, as far as this machine allows one."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from peaker.engines.local.state_dir import read_run
from peaker.state import StateDirectory
from peaker.testing.faults import children_of
from peaker.testing.running import until

APPS = Path(__file__).parents[1] / "apps"
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
SETTINGS = f"""
[app]
web = "orphan_app:app"
listen = "127.0.0.1:0"
[servers]
workers = 1
drain_s_max = 5
drain_idle_s = 0.1
[env]
PYTHONPATH = "{APPS}"
"""


def is_allowed() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except (FileNotFoundError, ProcessLookupError):
        return False


def zombies(parent: int) -> list[int]:
    found = []
    for child in children_of(parent):
        try:
            text = Path(f"/proc/{child}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text[text.rindex(")") + 2] == "Z":
            found.append(child)
    return found


def test_as_pid_1_it_collects_what_loses_its_parent_and_drains(tmp_path: Path) -> None:
    if not is_allowed():
        pytest.skip("no process namespaces for this user")
    (tmp_path / "peaker.toml").write_text(SETTINGS)
    state = StateDirectory(tmp_path / ".peaker")
    with (tmp_path / "err").open("wb") as err:
        outer = subprocess.Popen([*NAMESPACE, sys.executable, "-m", "peaker", "run"], cwd=tmp_path, stderr=err)
    try:
        until(lambda: "serving" in (tmp_path / "err").read_text(), 30)
        run = read_run(state)
        assert run is not None
        assert run.supervisor_pid == 1
        init = children_of(outer.pid)[0]
        before = set(children_of(init))
        for _ in range(5):
            urllib.request.urlopen(f"{run.app_url}/orphan", timeout=10).close()
        until(lambda: set(children_of(init)) == before and not zombies(init), 10)
        subprocess.run(["kill", "-TERM", str(init)], check=True)
        assert outer.wait(15) == 0
        assert (tmp_path / "err").read_text().endswith("peaker: stopped\n")
    finally:
        outer.send_signal(signal.SIGKILL)
        outer.wait()
