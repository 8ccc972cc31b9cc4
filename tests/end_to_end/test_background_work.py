"""Work after the response: as a background task it stays on the servers, as an event it survives them."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

from peaker.testing.running import PeakerRun, is_alive, until

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "mailing"
web = "background_app:app"
spill = true

[servers]
workers = 1
in_flight_max = 16

[functions]
memory_mb = 256
spill_after_seen = 2

[env]
PYTHONPATH = "{apps}"
LEDGER = "{directory}/ledger"
AWS_PROFILE = "peaker"
AWS_CONFIG_FILE = "{directory}/.peaker/aws-config"
AWS_SHARED_CREDENTIALS_FILE = "{directory}/.peaker/credentials"
AWS_REGION = "us-east-1"

[[function]]
name = "send"
handler = "background_app:send"
"""


def post(run: PeakerRun, path: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(run.app_url + path, b"", method="POST"), timeout=30) as answer:
        assert answer.status == 200


def test_a_background_task_keeps_its_route_on_servers_and_an_event_survives_the_worker(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    with PeakerRun.with_settings(tmp_path, SETTINGS.format(apps=APPS, directory=tmp_path)) as run:
        for number in range(4):
            post(run, f"/task/{number}")
            post(run, f"/event/{number}")
        until(lambda: len(ledger.read_text().splitlines()) == 8, 30)
        routes = {line["route"]: line["stays_because"] for line in run.status()["routes"]}
        by_task = next(why for route, why in routes.items() if "task" in route)
        by_event = next(why for route, why in routes.items() if "event" in route)
        assert "after" in by_task, by_task
        assert by_event == "", "answered at once: such a route may spill"

        worker = next(pid for name, pid in run.pids().items() if name.startswith("worker"))
        post(run, "/event/77")
        post(run, "/task/77")
        os.kill(worker, signal.SIGKILL)
        until(lambda: not is_alive(worker), 30)
        until(lambda: "event sent 77" in ledger.read_text(), 30)
        run.wait_settled()
        assert "task sent 77" not in ledger.read_text(), "it died with its worker, before its end"
