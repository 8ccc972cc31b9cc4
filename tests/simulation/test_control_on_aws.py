"""Control on AWS, minute by minute on moto: servers come and go, weights move, spend stops, and all is written down."""

import os
from collections.abc import Iterator

import pytest
from moto import mock_aws
from steered_on_aws import MIDNIGHT_S, REGION, SteeredApp, client, concurrency

from peaker.control_on_aws import handler
from peaker.control_on_aws.minute import Minute, newest_whole
from peaker.control_on_aws.task import Task
from peaker.errors import SettingsError


@pytest.fixture(autouse=True)
def aws() -> Iterator[None]:
    # Clients of one test do not outlive what stands in for AWS.
    client.cache_clear()
    with mock_aws():
        yield


def test_a_group_of_instances_is_asked_as_a_service_is() -> None:
    app = SteeredApp(on_instances=True)
    app.fleet.ask_for(3)
    assert (app.fleet.servers().asked, app.fleet.servers().ready) == (3, 1)
    entry = app.minute(60)
    assert entry is not None
    assert (entry["before"], entry["ready"]) == (3, 1)


def test_traffic_that_no_longer_fits_adds_servers_and_less_of_it_removes_them() -> None:
    app = SteeredApp()
    for _ in range(4):
        app.minute(60)
    assert app.fleet.servers().asked == 1
    for _ in range(9):
        app.minute(240)
    busy = app.fleet.servers()
    assert 2 <= busy.asked <= 4
    assert busy.ready == busy.asked
    entry = app.memory.journal(app.now_s, limit=1)[0]
    assert entry["demand_servers"] == pytest.approx(2.4, rel=0.25)
    assert entry["after"] == busy.asked
    for _ in range(30):
        app.minute(30)
        if app.fleet.servers().asked == 1:
            break
    assert app.fleet.servers().asked == 1


def test_at_zero_servers_all_requests_go_to_the_function_and_come_back_to_the_first_ready_one() -> None:
    app = SteeredApp(count_min=0)
    for _ in range(3):
        app.minute(150)
    for _ in range(30):
        app.minute(0.02)
        if app.fleet.servers().asked == 0:
            break
    assert app.fleet.servers().asked == 0
    assert app.weights() == {"servers": 0, "function": 1}
    seen = []
    for _ in range(15):
        app.minute(150)
        seen.append((app.fleet.servers().asked > 0, app.weights()["servers"]))
        if app.weights()["servers"]:
            break
    assert (True, 0) in seen, "asked for, and requests stay on the function until it is ready"
    assert seen[-1] == (True, 1)


def test_when_the_day_is_spent_the_function_stops_and_servers_come_until_the_next_day() -> None:
    app = SteeredApp(spend_usd_per_day_max=0.05)
    for _ in range(4):
        app.minute(300)
    assert concurrency() == 0
    entry = app.memory.journal(app.now_s, limit=1)[0]
    assert entry["function_stopped"]
    assert entry["spent_today_usd"] > 0.05
    assert app.fleet.servers().asked >= 2, "those that are needed come"
    app.now_s = MIDNIGHT_S + 86_400
    app.minute(50)
    assert concurrency() == app.task.concurrency_max


def test_without_a_server_the_function_goes_on_although_the_day_is_spent_until_one_is_ready() -> None:
    app = SteeredApp(servers=0, count_min=0, spend_usd_per_day_max=1e-6)
    for _ in range(3):
        app.minute(20)
    assert concurrency() is None
    assert app.fleet.servers().asked >= 1
    for _ in range(3):
        app.minute(20)
    assert app.weights() == {"servers": 1, "function": 0}
    assert concurrency() == 0


def test_a_minute_is_decided_once_and_late_figures_are_no_traffic_of_zero() -> None:
    app = SteeredApp()
    assert app.minute(60) is not None
    assert app.step() is None, "a schedule may come twice"
    late = app.minute(60, is_late=True)
    assert late is not None
    assert late["minute"] is None
    assert late["demand_servers"] is None
    assert late["after"] == 1


def test_what_was_learned_outlives_the_run_and_what_cannot_be_read_is_begun_anew() -> None:
    app = SteeredApp()
    for _ in range(4):
        app.minute(60)
    entry = app.minute(60)
    assert entry is not None
    assert entry["note"] == ""
    assert entry["server_per_s"] > 60, "by CPU and slots, before a server was full"
    app.memory.save({"course": {"version": 99}, "kept": {}})
    anew = app.minute(60)
    assert anew is not None
    assert anew["note"].startswith("begun anew: saved baseline: version 99")


def test_requests_sent_to_the_function_by_weight_are_not_taken_for_spilled_ones() -> None:
    minute = Minute(
        began_s=0.0, to_servers=600, to_function=90, invocations=150, duration_s=15, response_s=0.1, cpu_share=0.5
    )
    task = Task(table="", listener_arn="", balancer="", servers_target_arn="", server_usd_per_hour=0.1, vcpus=2)
    load = minute.load(task, 3)
    assert (minute.spilled, load.served, load.elsewhere) == (60, 540, 150)
    assert load.busy_s == pytest.approx(600 * 0.1 - 60 * 0.1)
    assert load.cpu_s == pytest.approx(0.5 * 2 * 60 * 3)
    assert newest_whole(MIDNIGHT_S + 125) == MIDNIGHT_S, "of 00:00, when all of it has been sent"


def test_the_function_reads_its_task_from_the_environment_and_says_what_is_wrong_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setitem(os.environ, name, "testing")
    monkeypatch.setitem(os.environ, "AWS_DEFAULT_REGION", REGION)
    app = SteeredApp()
    monkeypatch.setitem(os.environ, "PEAKER_CONTROL", app.task.to_json())
    done = handler({}, None)
    assert done is not None
    assert (done["before"], done["after"], done["note"]) == (1, 1, "begun anew: nothing was remembered")
    assert client("dynamodb").scan(TableName="shop-control")["Count"] == 3
    monkeypatch.setitem(os.environ, "PEAKER_CONTROL", "{}")
    with pytest.raises(SettingsError, match="no task of control"):
        handler({}, None)
