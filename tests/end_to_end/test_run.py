"""`peaker run` from a fresh project directory, with nothing but the command line and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peaker.meter.usage import open_usage_table, read_usage
from peaker.testing.faults import Checker
from peaker.testing.running import PeakerRun, is_alive, until

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "shop"
web = "traced_app:app"
spill = true
listen = "127.0.0.1:0"
placement_header = true

[servers]
count_max = 3
workers = 1
in_flight_max = 4
queue_wait_s_max = 5
drain_s_max = 10
drain_idle_s = 0.5
orphan_s_max = 30

[functions]
concurrency_max = 40
keep_alive_s = 5

[env]
PYTHONPATH = "{apps}"
TRACE_FILE = "{trace}"

[[route]]
path = "/work"
placement = "hybrid"
"""


def project(directory: Path, text: str = SETTINGS) -> Path:
    (directory / "peaker.toml").write_text(text.format(apps=APPS, trace=directory / "trace"))
    return directory


def peaker(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "peaker", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def get(url: str, host: str = "127.0.0.1") -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, headers={"host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), {}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    with PeakerRun(project(tmp_path_factory.mktemp("shop"))) as run:
        yield run


def checker(run: PeakerRun, *, clients: int, ms: int, pause_s: float = 0.0) -> Checker:
    return Checker(run.app_url, lambda name: f"/work?id={name}&ms={ms}", clients=clients, pause_s=pause_s)


def ran(outcome: Any) -> str:
    return outcome.headers.get("x-peaker-ran", "")


def test_status_tells_where_everything_is(shop: PeakerRun) -> None:
    found = shop.command_json("status")
    assert found["status"] == "ready"
    assert get(found["app_url"] + "/work?id=first&ms=0")[0] == 200
    assert found["lambda_endpoint"].startswith("http://127.0.0.1:")
    assert found["aws_profile"] == "peaker"
    assert Path(found["aws_shared_credentials_file"]).stat().st_mode & 0o777 == 0o600
    assert found["supervisor"] == {"pid": shop.supervisor_pid, "alive": True}
    assert [worker["status"] for worker in found["workers"]] == ["ready"]
    assert found["workers"][0]["slots"] == 4
    assert found["host"]["status"] == "ready"
    text = shop.command("status").stdout
    assert found["app_url"] in text
    assert "worker-0" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["instances", "now", "waiting", "starting", "busy", "idle", "spares", "ending"] in lines
    assert [line[0] for line in lines if len(line) > 1 and line[1].isdigit() and "shop-web" in line[0]] == ["shop-web"]
    assert ["cost", "so", "far", "dollars"] in lines
    assert any(line[:3] == ["as", "it", "ran"] and "ec2.c7g.large" in line for line in lines)
    assert "{" not in text


def test_status_can_be_watched_until_ctrl_c(shop: PeakerRun) -> None:
    """Two values come, the second later than the first; then it ends in silence."""
    command = [sys.executable, "-m", "peaker", "status", "--watch", "--every", "0.2", "--json"]
    watching = subprocess.Popen(command, cwd=shop.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=20)
    assert (watching.returncode, errors) == (0, "")
    assert second["cost"]["run_s"] > first["cost"]["run_s"]


def test_run_says_where_it_serves_and_how_instances_start(shop: PeakerRun) -> None:
    said = shop.errors
    assert f"serving {shop.status()['app_url']}" in said
    assert "placements: 2 hybrid, 1 servers" in said
    assert "function shop-web: instances start " in said


def test_a_peak_spills_to_functions_and_nothing_fails(shop: PeakerRun) -> None:
    async def main() -> None:
        async with checker(shop, clients=16, ms=40) as client:
            await client.until(
                lambda: (
                    {"server", "function"} <= {ran(outcome) for outcome in client.outcomes}
                    and len(client.outcomes) > 300
                )
            )
        assert client.failed == []
        workers = {pid for name, pid in shop.pids().items() if name.startswith("worker")}
        by_place = {
            place: {int(outcome.body) for outcome in client.outcomes if ran(outcome) == place}
            for place in ("server", "function")
        }
        assert by_place["server"] <= workers
        assert not by_place["function"] & workers

    asyncio.run(main())
    usage = shop.status()["usage"]
    assert usage["on_function"] > 0
    assert usage["latency_ms"]["function"]["p95"] > 40


def test_servers_come_and_go_under_load_without_a_lost_request(shop: PeakerRun) -> None:
    async def main() -> None:
        async with checker(shop, clients=12, ms=15, pause_s=0.002) as client:
            for servers in (3, 1, 2, 1):
                reply = await asyncio.to_thread(shop.command_json, "scale", str(servers))
                assert reply["servers"] == servers
                status = await asyncio.to_thread(shop.status)
                assert len(status["workers"]) == servers
                await client.answers(40)
        assert client.failed == []
        assert len(client.outcomes) > 200

    asyncio.run(main())


def test_scaling_beyond_the_range_is_refused(shop: PeakerRun) -> None:
    done = shop.command("scale", "9")
    assert done.returncode == 1
    assert done.stderr.startswith("peaker: servers = 9 is not allowed; allowed: 1 to 3.")
    assert shop.command("scale", "many").returncode == 2


def test_the_ops_port_answers_beside_the_app(shop: PeakerRun) -> None:
    ops = shop.status()["ops_url"]
    assert get(f"{ops}/live")[:2] == (200, b'{"live": true}\n')
    assert get(f"{ops}/ready")[:2] == (200, b'{"ready": true}\n')
    status, body, _ = get(f"{ops}/status")
    assert (status, json.loads(body)["app"]) == (200, "shop")
    status, body, _ = get(f"{ops}/usage")
    used = json.loads(body)
    assert status == 200
    assert used["servers"]["billed_seconds"] >= 60
    assert sum(day["requests"] for day in used["days"].values()) <= used["requests"]["requests"]
    assert used["cost"]["usd"] == pytest.approx(sum(line["usd"] for line in used["cost"]["lines"]))
    status, body, headers = get(f"{ops}/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'peaker_requests_total{ran="server"} ' in body
    assert get(f"{ops}/live", host="attacker.example")[0] == 403
    assert get(f"{ops}/nothing")[0] == 404


def test_a_second_run_is_refused_with_the_pid_of_the_first(shop: PeakerRun) -> None:
    done = shop.command("run")
    assert done.returncode == 1
    assert f"(pid {shop.supervisor_pid})" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_drains_what_runs_and_exits_0(tmp_path: Path) -> None:
    with PeakerRun(project(tmp_path)) as run:
        url, ops = run.app_url, run.status()["ops_url"]
        pids = run.pids()

        async def main() -> None:
            async with Checker(url, lambda name: f"/work?id={name}&ms=700", clients=3, requests_max=3) as client:
                await client.until((tmp_path / "trace").exists)
                await client.until(lambda: (tmp_path / "trace").read_text().count("begin") == 3)
                run.send(signal.SIGINT)
                await client.until(lambda: get(f"{ops}/ready")[0] == 503)
            assert [outcome.status for outcome in client.outcomes] == [200, 200, 200]
            assert all(outcome.headers["connection"] == "close" for outcome in client.outcomes)

        asyncio.run(main())
        assert run.wait() == 0
        assert not any(is_alive(pid) for pid in pids.values())
        assert run.status()["status"] == "stopped"
        with pytest.raises(urllib.error.URLError):
            get(url)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with PeakerRun(project(tmp_path)) as run:
        url, pids = run.app_url, run.pids()

        async def main() -> None:
            async with Checker(url, lambda name: f"/work?id={name}&ms=9000", clients=1, requests_max=1) as client:
                await client.until((tmp_path / "trace").exists)
                run.send(signal.SIGINT)
                await client.until(lambda: "draining" in run.errors)
                run.send(signal.SIGINT)
            assert client.outcomes[0].status == 0

        asyncio.run(main())
        run.wait(5)
        assert not any(is_alive(pid) for pid in pids.values())


def test_a_killed_supervisor_is_taken_over_with_nothing_lost(tmp_path: Path) -> None:
    with PeakerRun(project(tmp_path)) as run:
        pids, before = run.pids(), run.status()

        async def main() -> None:
            async with checker(run, clients=8, ms=10) as client:
                await client.answers(50)
                run.send(signal.SIGKILL)
                await asyncio.to_thread(run.wait)
                await client.answers(100)
                assert not (await asyncio.to_thread(run.status))["supervisor"]["alive"]
                run.start()
                await asyncio.to_thread(run.wait_ready)
                await client.answers(50)
            assert client.failed == []

        asyncio.run(main())
        assert run.pids() == pids
        after = run.status()
        assert {key: after[key] for key in ("app_url", "ops_url", "lambda_endpoint", "generation")} == {
            key: before[key] for key in ("app_url", "ops_url", "lambda_endpoint", "generation")
        }
        assert "takes over shop" in run.errors
        assert run.command_json("scale", "2")["servers"] == 2


def test_without_a_supervisor_everything_serves_on_and_drains_when_none_comes(tmp_path: Path) -> None:
    text = SETTINGS.replace("orphan_s_max = 30", "orphan_s_max = 1")
    with PeakerRun(project(tmp_path, text)) as run:
        url, pids = run.app_url, run.pids()
        run.send(signal.SIGKILL)
        run.wait()
        assert get(f"{url}/work?id=orphan&ms=0")[0] == 200
        until(lambda: not any(is_alive(pid) for pid in pids.values()), 20)
        assert run.status()["status"] == "stopped"
        run.start()
        run.wait_ready()
        assert get(f"{run.app_url}/work?id=again&ms=0")[0] == 200


def test_functions_stop_at_the_day_limit_and_servers_go_on(tmp_path: Path) -> None:
    limit_usd = 0.0002  # Some 370 runs of up to 50 ms at 512 MB.
    text = SETTINGS.replace("[servers]", f"[objective]\nspend_usd_per_day_max = {limit_usd}\n[servers]")
    with PeakerRun(project(tmp_path, text)) as run:

        async def main() -> None:
            async with checker(run, clients=12, ms=20) as client:
                await client.until(lambda: any(ran(outcome) == "function" for outcome in client.outcomes))
                await client.until(lambda: shared_counts(run)["spill_denied_spend"] > 0)
                await client.answers(100)
            assert client.failed == []

        asyncio.run(main())
        assert 0 < shared_counts(run)["spend_microusd"] <= limit_usd * 1e6
        pid = run.pids()["control"]
        spent = run.settle(lambda found: found["spend"]["today_usd"] > 0)["spend"]["today_usd"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: run.pids().get("control", pid) != pid, 10)
        run.wait_settled()
        assert run.status()["spend"]["today_usd"] >= spent
        assert run.command("stop").returncode == 0
        assert run.status()["spend"]["today_usd"] <= limit_usd


def shared_counts(run: PeakerRun) -> dict[str, int]:
    table = open_usage_table(run.state.usage)
    counts = read_usage(table).counters
    table.close()
    return counts


def test_a_stop_while_everything_starts_is_a_clean_one(tmp_path: Path) -> None:
    run = PeakerRun(project(tmp_path))
    run.start()
    try:
        until(lambda: len(run.pids()) == 3, 20)
        pids = run.pids()
        run.send(signal.SIGTERM)
        assert run.wait(20) == 0
        assert not any(is_alive(pid) for pid in pids.values())
    finally:
        run.stop()


def test_stop_ends_an_app_with_and_without_its_supervisor(tmp_path: Path) -> None:
    with PeakerRun(project(tmp_path)) as run:
        pids = run.pids()
        run.send(signal.SIGKILL)
        run.wait()
        assert run.command_json("stop")["stopped"] == len(pids)
        assert not any(is_alive(pid) for pid in pids.values())
        run.start()
        run.wait_ready()
        assert run.status()["generation"] == 2
        assert run.command("stop").returncode == 0
        assert run.wait() == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("in_flight_max = 4", "in_flight_max = 0", "peaker.toml:12: servers.in_flight_max = 0 is not allowed"),
        ("workers = 1", "worker = 1", "peaker.toml:11: unknown key 'worker' in [servers]. Did you mean 'workers'?"),
        ("workers = 1", 'workers = 1\ninstance_type = "c7g.mega"', "instance_type = 'c7g.mega': there is no price"),
        ("count_max = 3", "count_min = 4\ncount_max = 3", "servers.count_min = 4 is above servers.count_max = 3"),
        ("spill = true", 'spill = "yes"', "peaker.toml:5: app.spill = 'yes' is not true or false"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "check"])
def test_wrong_settings_stop_with_code_2_and_say_where(
    tmp_path: Path, command: str, old: str, new: str, message: str
) -> None:
    done = peaker(project(tmp_path, SETTINGS.replace(old, new)), command)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".peaker").exists()


def test_an_app_that_does_not_import_is_named_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    text = SETTINGS.replace("traced_app:app", "broken:app")
    for command in ("check", "run"):
        done = peaker(project(tmp_path, text), command)
        assert done.returncode == 2, done.stderr
        assert "'broken:app' does not import: ModuleNotFoundError: No module named 'no_such_package'" in done.stderr
        assert f"{tmp_path / 'broken.py'}:1 import no_such_package" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_handler_that_does_not_import_is_named_by_check_and_run(tmp_path: Path) -> None:
    text = SETTINGS + '\n[[function]]\nname = "thumbnail"\nhandler = "no_media:thumbnail"\n'
    for command in ("check", "run"):
        done = peaker(project(tmp_path, text), command)
        assert done.returncode == 2, done.stderr
        assert "'no_media:thumbnail' does not import: ModuleNotFoundError" in done.stderr


def test_an_app_that_does_not_start_ends_the_run_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "unlucky.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    done = peaker(project(tmp_path, SETTINGS.replace("traced_app:app", "unlucky:app")), "run")
    assert done.returncode == 2
    assert "no database" in done.stderr.splitlines()[-1]


def test_check_shows_each_route_with_its_placement_and_reason(tmp_path: Path) -> None:
    project(tmp_path)
    done = peaker(tmp_path, "check", "--json")
    assert done.returncode == 0, done.stderr
    routes = {route["route"]: route for route in json.loads(done.stdout)["routes"]}
    assert routes["/work"]["placement"] == "hybrid"
    assert "declared" in routes["/work"]["reason"]
    assert "/work" in peaker(tmp_path, "check").stdout


def test_a_directory_without_settings_says_what_to_do(tmp_path: Path) -> None:
    for command in ("run", "check", "status"):
        done = peaker(tmp_path, command)
        assert done.returncode == 2
        assert done.stderr.startswith("peaker: ")
        assert done.stderr.count("\n") == 1
