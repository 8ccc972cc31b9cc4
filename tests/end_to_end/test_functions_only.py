"""A project of functions alone: host and control run, and there is no server."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from peaker.testing.running import PeakerRun, is_alive

SETTINGS = """
[app]
name = "jobs"

[servers]
drain_s_max = 5

[[function]]
name = "double"
handler = "jobs.double"
"""
CODE = """
FACTOR = 2


def double(event, context):
    return event["n"] * FACTOR
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    directory = tmp_path_factory.mktemp("jobs")
    (directory / "peaker.toml").write_text(SETTINGS)
    (directory / "jobs.py").write_text(CODE)
    with PeakerRun(directory) as run:
        yield run


def ready(url: str) -> int:
    try:
        with urllib.request.urlopen(url + "/ready", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_host_and_control_run_without_workers(jobs: PeakerRun) -> None:
    assert sorted(jobs.pids()) == ["control", "events", "host"]
    found = jobs.command_json("status")
    assert (found["status"], found["app_url"], found["workers"]) == ("ready", "", [])
    assert found["lambda_endpoint"].startswith("http://127.0.0.1:")
    assert ready(found["ops_url"]) == 200
    assert f"serving {found['lambda_endpoint']}" in jobs.errors
    assert "servers: none, for there is no web app" in jobs.errors
    shown = jobs.command("status")
    assert shown.returncode == 0
    assert "jobs: ready" in shown.stdout


def test_a_function_is_invoked_and_reloaded(jobs: PeakerRun) -> None:
    assert json.loads(jobs.command("invoke", "double", '{"n": 21}').stdout) == 42
    (jobs.directory / "jobs.py").write_text(CODE.replace("FACTOR = 2", "FACTOR = 3"))
    assert jobs.command_json("reload")["generation"] == 2
    assert json.loads(jobs.command("invoke", "double", '{"n": 21}').stdout) == 63


def test_there_are_no_servers_to_scale(jobs: PeakerRun) -> None:
    done = jobs.command("scale", "1")
    assert done.returncode == 1
    assert "there is no web app, so there are no servers" in done.stderr


def test_check_and_stop_know_it_too(jobs: PeakerRun) -> None:
    checked = jobs.command("check")
    assert checked.returncode == 0
    assert "function double: jobs.double" in checked.stdout
    started = list(jobs.pids().values())
    assert jobs.command("stop").returncode == 0
    assert jobs.wait() == 0
    assert not any(is_alive(pid) for pid in started)
    assert jobs.command_json("status")["status"] == "stopped"
    jobs.start()
    jobs.wait_ready()


def test_it_is_taken_over_from_a_killed_supervisor(jobs: PeakerRun) -> None:
    before = jobs.pids()
    jobs.send(signal.SIGKILL)
    jobs.wait()
    jobs.start()
    jobs.wait_ready()
    assert jobs.pids() == before
    assert json.loads(jobs.command("invoke", "double", '{"n": 2}').stdout) == 6


def test_an_import_error_is_said_once_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "peaker.toml").write_text('[app]\nname = "shop"\nweb = "shop:app"\n[servers]\nworkers = 2\n')
    (tmp_path / "shop.py").write_text("import not_there_at_all\n")
    done = PeakerRun(tmp_path).command("run", "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert done.stderr.count("not_there_at_all") == 2  # The error, and the line of the app it comes from.
    assert done.stderr.count("does not import") == 1
