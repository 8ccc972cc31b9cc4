"""examples/webhook as it stands: deliveries while the events process is killed, a schedule, samples of events."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peaker.testing.running import PeakerRun, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "webhook"
KEY = "whsec_of_this_test"

sys.path.insert(0, str(EXAMPLE))

from deliver import delivery, signed  # noqa: E402


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    """The example, with a schedule that is due at its first start and then for an hour not again."""
    directory = tmp_path_factory.mktemp("shop") / "webhook"
    shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("__pycache__", ".peaker", "orders.sqlite*"))
    settings = directory / "peaker.toml"
    settings.write_text(
        settings.read_text()
        + '\n[[function.on]]\nschedule = "rate(1 hour)"\n[servers]\nworkers = 2\n[events]\nlease_s = 1\n'
    )
    with PeakerRun(directory, "--listen", "127.0.0.1:0", environment=os.environ | {"PAYMENTS_KEY": KEY}) as run:
        yield run


def send(shop: PeakerRun, delivery_id: str, order: str, cents: int, key: str = KEY) -> tuple[int, dict[str, Any]]:
    body = delivery(delivery_id, order, cents)
    headers = {"content-type": "application/json", "stripe-signature": signed(body, key, time.time())}
    request = urllib.request.Request(f"{shop.app_url}/hooks/payments", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def page(shop: PeakerRun) -> dict[str, Any]:
    with urllib.request.urlopen(shop.app_url, timeout=30) as answer:
        return dict(json.load(answer))


def test_a_signed_delivery_runs_its_function_once_and_a_forged_one_never(shop: PeakerRun) -> None:
    first = send(shop, "evt_1", "order-1", 4200)
    again = send(shop, "evt_1", "order-1", 4200)
    forged = send(shop, "evt_2", "order-1", 1, key="guessed")

    assert (first[0], again) == (202, (202, {"event": first[1]["event"], "is_repeat": True}))
    assert forged == (401, {"message": "stripe-signature is not that of this body"})
    until(lambda: page(shop)["paid"] == {"order-1": 4200}, 20)
    assert page(shop)["runs"] == 1


def test_a_sample_event_runs_a_handler(shop: PeakerRun) -> None:
    shown = shop.command("invoke", "report", "--event", "eventbridge-scheduled")

    assert (shown.returncode, set(json.loads(shown.stdout))) == (0, {"at", "orders", "cents"}), shown.stderr


def events_of_schedule(shop: PeakerRun) -> list[dict[str, Any]]:
    found = shop.command_json("events", "--only", "finished", "--limit", "1000")
    return [one for one in found["events"] if one["source"] == "schedule/rate(1 hour)"]


def test_each_accepted_delivery_is_handled_though_the_events_process_is_killed(shop: PeakerRun) -> None:
    """Forty deliveries from four senders; the events process is SIGKILLed twice meanwhile and comes back by itself."""
    accepted: list[str] = []
    later: list[int] = []

    def sender(number: int) -> None:
        for count in range(10):
            name = f"evt_kill_{number}_{count}"
            status = 0
            while status != 202:  # As a provider does: until it is taken.
                status, _ = send(shop, name, f"kill-{number}", 1)
                if status != 202:
                    later.append(status)
            accepted.append(name)

    senders = [threading.Thread(target=sender, args=(number,)) for number in range(4)]
    for each in senders:
        each.start()
    for accepted_before in (5, 20):
        until(lambda at_least=accepted_before: len(accepted) >= at_least, 40)  # type: ignore[misc]
        before = shop.pids()["events"]
        os.kill(before, signal.SIGKILL)
        until(lambda pid=before: shop.pids().get("events", pid) != pid, 40)  # type: ignore[misc]
    for each in senders:
        each.join(60)

    assert len(accepted) == 40
    assert set(later) <= {429, 503}
    wanted = {f"kill-{number}": 10 for number in range(4)}
    until(lambda: {name: cents for name, cents in page(shop)["paid"].items() if name in wanted} == wanted, 40)


def test_a_schedule_does_not_run_again_because_its_process_was_killed(shop: PeakerRun) -> None:
    remembered = json.loads(shop.state.schedules.read_text())["schedules"]
    rate = next(each for key, each in remembered.items() if "rate(1 hour)" in key)

    assert rate["anchor_s"] == rate["done_s"]
    assert len(events_of_schedule(shop)) == 1


@pytest.mark.long
def test_a_delivery_that_cannot_be_kept_is_asked_for_again_and_known_by_its_id(shop: PeakerRun) -> None:
    """The events process stands still; whether it has kept the delivery all the same, the second one tells."""
    pid = shop.pids()["events"]
    os.kill(pid, signal.SIGSTOP)
    try:
        refused = send(shop, "evt_stopped", "stopped", 7)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert refused == (503, {"message": "the event could not be kept"})
    assert send(shop, "evt_stopped", "stopped", 7)[0] == 202
    until(lambda: page(shop)["paid"].get("stopped") == 7, 20)
