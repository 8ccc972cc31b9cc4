"""The control loop on a running app: load moves the servers, the journal tells why, and nothing depends on control."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peaker.cli.status_text import status_text
from peaker.cli.why_text import now_line, sentences
from peaker.engines.local.journal_file import read_journal
from peaker.testing.faults import Checker
from peaker.testing.running import PeakerRun

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "shop"
web = "traced_app:app"
spill = true

[servers]
count_max = 3
workers = 1
in_flight_max = 4
decide_every_s = 0.25
stay_s_min = 2
drain_s_max = 5
drain_idle_s = 0

[functions]
concurrency_max = 40
memory_mb = 2048

[env]
PYTHONPATH = "{apps}"
TRACE_FILE = "{trace}"

[[route]]
path = "/work"
placement = "hybrid"
"""
CHANGE_S_MAX = 60.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    directory = tmp_path_factory.mktemp("steered")
    with PeakerRun.with_settings(directory, SETTINGS.format(apps=APPS, trace=directory / "trace")) as run:
        yield run


def checker(run: PeakerRun, *, clients: int) -> Checker:
    return Checker(run.app_url, lambda name: f"/work?id={name}&ms=30", clients=clients, pause_s=0.005)


def servers_at(run: PeakerRun, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the servers are so, all of them ready; returns what the status says of them."""

    def is_there(status: dict[str, Any]) -> bool:
        ready = {worker["server"] for worker in status["workers"] if worker["status"] == "ready"}
        return condition(status["servers"]) and len(ready) == len(status["workers"]) == status["servers"]["count"]

    found: dict[str, Any] = run.settle(is_there, CHANGE_S_MAX)["servers"]
    return found


def under_load(run: PeakerRun, clients: int, during: Callable[[], Any]) -> None:
    """`during` runs in a thread while so many clients send; not one request may fail."""

    async def main() -> None:
        async with checker(run, clients=clients) as client:
            await asyncio.to_thread(during)
            await client.answers(20)
        assert client.failed == []

    asyncio.run(main())


def changes(run: PeakerRun) -> list[dict[str, Any]]:
    return [entry for entry in read_journal(run.state.decisions) if entry["kind"] == "changed"]


def test_more_load_adds_servers_less_takes_them_away_and_the_journal_tells_why(shop: PeakerRun) -> None:
    under_load(shop, 14, lambda: servers_at(shop, lambda servers: servers["count"] >= 2))
    under_load(shop, 1, lambda: servers_at(shop, lambda servers: servers["count"] == 1))
    up, down = changes(shop)[0], changes(shop)[-1]
    assert (up["before"], up["after"]) == (1, 2)
    assert up["functions_usd"] > 0
    assert up["demand_servers"] > 1
    assert down["after"] == 1
    assert down["demand_servers"] < 1
    told = shop.command("why").stdout
    assert "added 1 server (2 now): " in told
    assert "(1 now): " in told
    assert "a server was ready" in told
    assert "now: 1 server, demand" in told
    added = shop.status()["servers"]["loop"]["counts"]["added"]
    with urllib.request.urlopen(f"{shop.status()['ops_url']}/metrics", timeout=10) as page:
        samples = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines() if line[0] != "#")
    assert float(samples["peaker_baseline_servers_added_total"]) >= added >= 1
    assert 0 < float(samples["peaker_baseline_server_start_seconds"]) < CHANGE_S_MAX


def test_a_number_set_by_hand_holds_until_auto(shop: PeakerRun) -> None:
    assert shop.command_json("scale", "2")["servers"] == 2
    steps = shop.status()["servers"]["loop"]["counts"]["steps"]
    held = servers_at(shop, lambda servers: servers["loop"]["counts"]["steps"] >= steps + 4)
    assert (held["held"], held["count"], held["loop"]["held_by"]) == (2, 2, "paused")
    assert "held by hand (`peaker scale auto`" in status_text(shop.status())
    assert shop.command_json("scale", "auto")["held"] == 2
    assert servers_at(shop, lambda servers: servers["count"] == 1)["held"] is None
    told = "\n".join(sentences(read_journal(shop.state.decisions)))
    assert "2 servers set by hand; the policy pauses." in told
    assert "the policy decides again" in told


def test_killing_control_leaves_the_app_serving_and_the_next_one_goes_on(shop: PeakerRun) -> None:
    def kill_it() -> None:
        before = shop.status()["servers"]["loop"]["counts"]["steps"]
        pid = shop.pids()["control"]
        os.kill(pid, signal.SIGKILL)
        shop.settle(lambda _: shop.pids().get("control", pid) != pid, CHANGE_S_MAX)
        began = read_journal(shop.state.decisions)
        # Saved at each change and once a minute: less than that is lost.
        shop.settle(lambda status: bool(status["servers"]["loop"]["counts"]["steps"] > 1), CHANGE_S_MAX)
        assert before > 0
        assert began

    under_load(shop, 2, kill_it)
    shop.wait_settled()
    under_load(shop, 14, lambda: servers_at(shop, lambda servers: servers["count"] >= 2))
    starts = [entry for entry in read_journal(shop.state.decisions) if entry["kind"] == "began"]
    assert [entry["restored"] for entry in starts] == [False, True]
    assert shop.status()["servers"]["loop"]["counts"]["added"] >= 2
    asks = [change["number"] for change in changes(shop)]
    assert asks == sorted(set(asks))


def test_a_reload_takes_the_history_along_and_fixed_ends_the_deciding(shop: PeakerRun) -> None:
    settings = shop.directory / "peaker.toml"
    settings.write_text(settings.read_text().replace("stay_s_min = 2", 'stay_s_min = 2\npolicy = "fixed"'))
    shop.command_json("reload")
    found = servers_at(shop, lambda servers: servers["policy"] == "fixed")
    assert found["loop"] is None
    assert "servers.policy is fixed" in now_line(shop.state)
