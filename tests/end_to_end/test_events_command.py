"""`peaker events` on a running app, and on one that has stopped."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peaker.testing.running import PeakerRun, until

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "jobs"

[servers]
drain_s_max = 5

[functions]
memory_mb = 256

[events]
retry_s = 0.05

[env]
PYTHONPATH = "{apps}"
LEDGER = "{ledger}"

[[function]]
name = "note"
handler = "ledger:note"
on_failure = "function:told"

[[function]]
name = "told"
handler = "code:told"
retries_max = 0
"""
CODE = """
import json

VERSION = {version}

def told(event, context):
    with open({path!r}, "a") as file:
        file.write(json.dumps({{"version": VERSION, "event": event}}) + "\\n")
"""


class Project:
    def __init__(self, run: PeakerRun) -> None:
        self.run = run
        self.directory = run.directory

    def events(self, *arguments: str) -> Any:
        return self.run.command_json("events", *arguments)

    def put(self, function: str, *payloads: Any) -> list[str]:
        """By `peaker events replay`, which puts many at once."""
        file = self.directory / "put.jsonl"
        file.write_text("\n".join(json.dumps(payload) for payload in payloads))
        return self.events("replay", str(file), "--function", function)["ids"]

    def counts(self) -> dict[str, Any]:
        return self.run.status()["events"]["counts"]

    def settle(self) -> None:
        def is_idle() -> bool:
            counts = self.counts()
            return not counts["waiting"] + counts["running"]

        until(is_idle, 20)

    def notes(self) -> list[str]:
        return (self.directory / "ledger").read_text().splitlines()

    def told(self) -> list[dict[str, Any]]:
        path = self.directory / "told"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def write_code(self, version: int) -> None:
        (self.directory / "code.py").write_text(CODE.format(version=version, path=str(self.directory / "told")))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    directory = tmp_path_factory.mktemp("jobs")
    run = PeakerRun.with_settings(directory, SETTINGS.format(apps=APPS, ledger=directory / "ledger"))
    made = Project(run)
    made.write_code(1)
    with run:
        yield made


def test_dead_letters_are_listed_shown_run_again_and_discarded(project: Project) -> None:
    ids = project.put("note", {"n": 1}, {"n": 2, "fails": True}, {"n": 3, "fails": True})
    project.settle()
    listed = project.events("--function", "note", "--only", "dead")
    assert {event["id"] for event in listed["events"]} == set(ids[1:])
    assert {(event["reason"], event["attempts"]) for event in listed["events"]} == {("RetriesExhausted", 3)}

    shown = project.events("show", ids[1])
    assert json.loads(shown["payload"]) == {"n": 2, "fails": True}
    assert [attempt["outcome"] for attempt in shown["attempts_made"]] == ["failed"] * 3
    assert all("ValueError: event 2 fails" in attempt["error"] for attempt in shown["attempts_made"])
    assert sum("REPORT RequestId" in line for line in shown["log"]) == 3

    assert project.events("redrive", ids[1]) == {"redriven": 1, "not_found": []}
    project.settle()
    assert [line.split()[0] for line in project.notes()].count("2") == 6
    assert len(project.events("show", ids[1])["attempts_made"]) == 6

    refused = project.run.command("events", "discard", "--all")
    assert refused.returncode not in (0, 2)
    assert "They cannot be brought back." in refused.stderr
    assert project.events("discard", "--all", "--yes")["discarded"] == 2
    assert project.counts()["dead"] == 0


def test_a_destination_gets_lambdas_record_and_the_record_can_be_replayed(project: Project) -> None:
    before = len(project.told())
    (known,) = project.put("note", {"n": 4, "fails": True})
    project.settle()
    (record,) = [told["event"] for told in project.told()[before:]]
    assert record["requestContext"] == {
        "requestId": known,
        "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:note:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["requestPayload"] == {"n": 4, "fails": True}
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert record["responsePayload"]["errorMessage"] == "event 4 fails"
    (project.directory / "record.json").write_text(json.dumps(record))
    runs = len(project.notes())
    assert project.events("replay", str(project.directory / "record.json"))["put"] == 1
    project.settle()
    assert len(project.notes()) == runs + 3


def test_what_cannot_be_replayed_is_refused_before_anything_is_put(project: Project) -> None:
    accepted = project.run.status()["events"]["totals"]["accepted"]
    file = project.directory / "wrong.jsonl"
    for text, told in (
        ('{"function": "note", "payload": 1}\n{"function": "absent", "payload": 1}', "there is no function 'absent'"),
        ('{"n": 1}', "does not say which function it is for"),
        ('{"function": "note", "payload": 1}\n{not json', "wrong.jsonl:2 is not JSON"),
    ):
        file.write_text(text)
        refused = project.run.command("events", "replay", str(file))
        assert (refused.returncode, told in refused.stderr) == (2, True), refused.stderr
    assert project.run.status()["events"]["totals"]["accepted"] == accepted


def test_status_and_metrics_count_events(project: Project) -> None:
    status = project.run.status()
    counts, totals = status["events"]["counts"], status["events"]["totals"]
    assert counts["waiting"] == counts["running"] == 0
    assert totals["accepted"] > 0
    assert totals["started"] == totals["finished"] + totals["failed"] + totals["not_started"]
    with urllib.request.urlopen(f"{status['ops_url']}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    assert f"peaker_events_accepted_total {totals['accepted']}" in page
    assert "peaker_events_oldest_age_seconds 0" in page
    assert 'peaker_events_kept{function="note",state="waiting"} 0' in page
    by_caller = {one["caller"]: one["invocations"] for one in status["functions"] if one["name"] == "note"}
    assert by_caller["event"] == len(project.notes())


def test_an_event_that_waits_while_the_app_is_reloaded_runs_on_the_new_code(project: Project) -> None:
    project.write_code(2)
    before = len(project.told())
    pid = project.run.pids()["events"]
    assert project.run.command("reload").returncode == 0
    project.put("told", {"n": 5})
    project.settle()
    assert [told["version"] for told in project.told()[before:]] == [2]
    assert project.run.pids()["events"] != pid


def test_of_a_stopped_app_the_file_is_read_and_nothing_is_changed(project: Project) -> None:
    (known,) = project.put("note", {"n": 6, "fails": True})
    project.settle()
    project.run.stop()
    listed = project.run.command("events", "--only", "dead")
    assert known in listed.stdout
    assert "nothing runs here" in listed.stderr
    refused = project.run.command("events", "redrive", known)
    assert (refused.returncode, "no events process runs here" in refused.stderr) == (1, True)
