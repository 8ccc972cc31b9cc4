"""Jobs under kills: each ends once, no step is lost, and steps are done again only since the last checkpoint."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peaker.cli.status_text import status_text
from peaker.event_socket import EventClient
from peaker.jobs.folder import JobFolder
from peaker.messages import Event
from peaker.testing.running import PeakerRun, is_alive, until

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "studio"

[servers]
orphan_s_max = 2
drain_s_max = 5

[functions]
memory_mb = 256

[events]
retry_s = 0.1
lease_s = {lease_s}

[env]
PYTHONPATH = "{apps}"
LEDGER = "{ledger}"

[[job]]
name = "transcode"
handler = "job_work:steps"
concurrency_max = 3
stop_s_max = 3
retry_s = 0.1
on_success = "function:record"

[[job]]
name = "single"
handler = "job_work:steps"

[[job]]
name = "fails"
handler = "job_work:fails"
retries_max = 1
retry_s = 0.1
on_failure = "function:record"

[[job]]
name = "hangs"
handler = "job_work:hangs"
heartbeat_s = 1

[[job]]
name = "deaf"
handler = "job_work:deaf"
stop_s_max = 0.5

[[job]]
name = "grows"
handler = "job_work:grows"
memory_mb = 128
retries_max = 0

[[function]]
name = "record"
handler = "job_work:record"
"""


class Studio:
    """A run with these jobs, and its ledger."""

    def __init__(self, directory: Path, *, lease_s: float = 0.5) -> None:
        self.ledger = directory / "ledger"
        self.ledger.touch()
        self.begun: dict[str, str] = {}
        self.run = PeakerRun.with_settings(directory, SETTINGS.format(apps=APPS, ledger=self.ledger, lease_s=lease_s))

    def lines(self, job: str, what: str) -> list[list[str]]:
        found = (line.split(" ", 3) for line in self.ledger.read_text().splitlines())
        return [words[2:] for words in found if words[0] == job and words[1] == what]

    def start_job(self, name: str, event: dict[str, Any]) -> str:
        return asyncio.run(self._put(Event(id=str(uuid.uuid4()), function=name, payload=json.dumps(event).encode())))

    async def _put(self, event: Event) -> str:
        client = EventClient(self.run.state.intake_socket)
        try:
            return await client.put(event)
        finally:
            client.close()

    def state_of(self, job: str) -> str:
        record = JobFolder.of(self.run.state.jobs, job).record()
        return record.state if record is not None else ""

    def wait(self, job: str, state: str) -> None:
        until(lambda: self.state_of(job) == state, 120)

    def wait_steps(self, job: str, count: int) -> None:
        until(lambda: len(self.lines(job, "step")) >= count, 30)

    def wait_lines(self, more: int, jobs: list[str]) -> None:
        """Until the ledger has so many lines more, or there is nothing left to be done."""
        wanted = len(self.ledger.read_text().splitlines()) + more
        until(
            lambda: (
                len(self.ledger.read_text().splitlines()) >= wanted
                or all(self.state_of(job) == "finished" for job in jobs)
            ),
            60,
        )

    def newest_pid(self, job: str) -> int:
        until(lambda: self.lines(job, "begins") != [], 30)
        return int(self.lines(job, "begins")[-1][1])

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_alive(pid), 30)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    studio = Studio(tmp_path_factory.mktemp("studio"))
    with studio.run:
        # Those that take a while are looked at by the last tests.
        studio.begun = {name: studio.start_job(name, {}) for name in ("hangs", "grows")}
        yield studio


def test_a_job_runs_to_its_end_and_its_record_reaches_a_function(studio: Studio) -> None:
    started = studio.run.command("jobs", "start", "transcode", "--event", '{"steps": 5}')
    assert started.returncode == 0, started.stderr
    job = started.stdout.strip()
    followed = studio.run.command("jobs", "logs", job, "-f")
    assert followed.stdout.splitlines() == [f"step {step}" for step in range(5)]
    studio.wait(job, "finished")
    assert [step for step, _ in studio.lines(job, "step")] == ["0", "1", "2", "3", "4"]
    until(lambda: studio.lines(job, "record") == [["Success", "{'steps': 5}"]], 30)
    folder = JobFolder.of(studio.run.state.jobs, job)
    assert folder.progress()["fraction"] == 1.0
    shown = studio.run.command("jobs").stdout
    assert f"transcode  {job}  finished" in shown
    assert "100 %" in shown


def test_what_cannot_be_started_is_said_at_once(studio: Studio) -> None:
    unknown = studio.run.command("jobs", "start", "encode")
    assert unknown.returncode == 2
    assert "there are: deaf, fails, grows, hangs, single, transcode" in unknown.stderr
    assert "it is not JSON" in studio.run.command("jobs", "start", "transcode", "--event", "{").stderr
    assert studio.run.command("jobs", "show", "nothing").returncode == 1


def test_a_killed_process_is_followed_by_one_that_goes_on_at_its_checkpoint(studio: Studio) -> None:
    job = studio.start_job("transcode", {"steps": 30, "every": 5, "step_s": 0.02})
    studio.wait_steps(job, 13)
    studio.kill(studio.newest_pid(job))
    studio.wait(job, "finished")
    done = Counter(int(step) for step, _ in studio.lines(job, "step"))
    assert sorted(done) == list(range(30))
    assert sum(done.values()) <= 30 + 5  # since the last checkpoint, and no more
    assert len(studio.lines(job, "ends")) == 1


@pytest.mark.long  # the studio example's test does the same in every run
def test_a_job_goes_on_while_the_events_process_is_killed_and_is_adopted_by_its_heir(studio: Studio) -> None:
    job = studio.start_job("transcode", {"steps": 40, "step_s": 0.03})
    studio.wait_steps(job, 5)
    studio.kill(studio.run.pids()["events"])
    studio.wait(job, "finished")
    assert len(studio.lines(job, "begins")) == 1
    assert [step for step, _ in studio.lines(job, "step")] == [str(step) for step in range(40)]


def test_a_job_and_everything_that_looks_after_it_are_killed_at_once(studio: Studio) -> None:
    job = studio.start_job("transcode", {"steps": 40, "step_s": 0.03})
    studio.wait_steps(job, 5)
    events, process = studio.run.pids()["events"], studio.newest_pid(job)
    studio.run.send(signal.SIGKILL)
    studio.run.wait()
    studio.kill(events)
    studio.kill(process)
    studio.run.start()
    studio.run.wait_ready()
    studio.wait(job, "finished")
    done = Counter(int(step) for step, _ in studio.lines(job, "step"))
    assert sorted(done) == list(range(40))
    assert sum(done.values()) <= 41
    assert len(studio.lines(job, "ends")) == 1


@pytest.mark.long
def test_one_that_waits_begins_when_the_one_before_it_has_ended_whatever_is_killed(tmp_path: Path) -> None:
    """The lease of the one that runs lasts longer than it takes to begin the events process anew."""
    studio = Studio(tmp_path, lease_s=5)
    with studio.run:
        first = studio.start_job("single", {"steps": 100, "step_s": 0.03})
        studio.wait_steps(first, 3)
        second = studio.start_job("single", {"steps": 3})
        studio.kill(studio.run.pids()["events"])
        studio.wait_steps(first, 70)
        assert studio.run.command("reload").returncode == 0
        for job in (first, second):
            studio.wait(job, "finished")
        marks = [line.split(" ")[:2] for line in studio.ledger.read_text().splitlines() if " step " not in line]
        assert marks == [[first, "begins"], [first, "ends"], [second, "begins"], [second, "ends"]]


def test_a_job_that_fails_is_started_again_and_then_given_up_with_its_reason(studio: Studio) -> None:
    job = studio.start_job("fails", {"film": "dune"})
    studio.wait(job, "failed")
    assert len(studio.lines(job, "begins")) == 2
    until(lambda: [line[0] for line in studio.lines(job, "record")] == ["RetriesExhausted"], 30)
    shown = studio.run.command("jobs", "show", job)
    assert "ValueError: no such film: dune" in shown.stdout
    assert "Traceback" in shown.stdout  # of its log


def test_a_job_that_hangs_is_killed_and_begins_again_at_its_checkpoint(studio: Studio) -> None:
    job = studio.begun["hangs"]
    studio.wait(job, "finished")
    assert len(studio.lines(job, "begins")) == 2
    history = JobFolder.of(studio.run.state.jobs, job).history()
    assert any("no sign of life" in each.get("error", "") for each in history)


def test_a_job_that_takes_too_much_memory_is_killed_and_says_so(studio: Studio) -> None:
    job = studio.begun["grows"]
    studio.wait(job, "failed")
    assert "job.memory_mb = 128" in studio.run.command("jobs", "show", job).stdout


def test_a_cancelled_job_ends_with_its_children_even_if_it_hears_nothing(studio: Studio) -> None:
    job = studio.start_job("deaf", {})
    until(lambda: studio.lines(job, "child") != [], 30)
    child = int(studio.lines(job, "child")[0][0])
    cancelled = studio.run.command("jobs", "cancel", job[:8])
    assert cancelled.returncode == 0, cancelled.stderr
    studio.wait(job, "cancelled")
    assert not is_alive(child)
    assert studio.run.command("jobs", "cancel", job).returncode == 1


@pytest.mark.long
def test_a_job_that_waits_is_cancelled_before_it_begins(studio: Studio) -> None:
    first = studio.start_job("deaf", {})
    until(lambda: studio.lines(first, "child") != [], 30)
    second = studio.start_job("deaf", {})
    listed = json.loads(studio.run.command("jobs", "--name", "deaf", "--json").stdout)["jobs"]
    assert {job["id"]: job["state"] for job in listed}[second] == "waiting"
    assert "is cancelled" in studio.run.command("jobs", "cancel", second).stdout
    assert studio.run.command("jobs", "cancel", first).returncode == 0
    studio.wait(first, "cancelled")
    assert studio.run.command("events", "redrive", first).returncode == 0
    until(lambda: len(studio.lines(first, "child")) == 2, 30)
    assert studio.run.command("jobs", "cancel", first).returncode == 0
    studio.wait(first, "cancelled")
    assert studio.lines(second, "child") == []


@pytest.mark.long
def test_a_reload_lets_a_running_job_go_on(studio: Studio) -> None:
    job = studio.start_job("transcode", {"steps": 40, "step_s": 0.05})
    studio.wait_steps(job, 5)
    reloaded = studio.run.command("reload")
    assert reloaded.returncode == 0, reloaded.stderr
    studio.wait(job, "finished")
    assert len(studio.lines(job, "begins")) == 1


BY_BOTO3 = """
import sys
import boto3
client = boto3.Session(profile_name="peaker").client("lambda")
asked = {"FunctionName": "transcode", "Payload": '{"steps": 120, "step_s": 0.02}'}
started = client.invoke(InvocationType="Event", **asked)
print(started["StatusCode"], started["ResponseMetadata"]["RequestId"])
try:
    client.invoke(**asked)
except client.exceptions.InvalidParameterValueException as error:
    print("is a job" in str(error))
"""


def test_boto3_starts_a_job_which_stops_with_the_app_and_goes_on_with_the_next_start(studio: Studio) -> None:
    found = studio.run.command_json("status")
    variables = {"AWS_CONFIG_FILE": "aws_config_file", "AWS_SHARED_CREDENTIALS_FILE": "aws_shared_credentials_file"}
    done = subprocess.run(
        [sys.executable, "-c", BY_BOTO3],
        env={**os.environ, **{name: found[key] for name, key in variables.items()}},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    status, job, is_refused_at_once = done.stdout.split()
    assert (status, is_refused_at_once) == ("202", "True")
    studio.wait_steps(job, 15)
    assert re.search(r"jobs: \d running \(.*transcode \d+ %", status_text(studio.run.status()))
    studio.run.stop()
    before = len(studio.lines(job, "step"))
    assert studio.lines(job, "ends") == []
    assert "waiting" in studio.run.command("jobs", "--name", "transcode").stdout  # nothing runs: the files are read
    studio.run.start()
    studio.run.wait_ready()
    studio.wait(job, "finished")
    done_steps = Counter(int(step) for step, _ in studio.lines(job, "step"))
    assert sorted(done_steps) == list(range(120))
    assert sum(done_steps.values()) == 120, "it was told to stop, so it did no step twice"
    assert 0 < before < 120
    assert len(studio.lines(job, "begins")) == 2


@pytest.mark.long
def test_a_job_that_nobody_looks_after_stops_by_itself_at_its_checkpoint(studio: Studio) -> None:
    job = studio.start_job("transcode", {"steps": 250, "step_s": 0.02})
    studio.wait_steps(job, 3)
    pids = studio.run.pids()
    process = studio.newest_pid(job)
    studio.run.send(signal.SIGKILL)
    studio.run.wait()
    studio.kill(pids["events"])
    until(lambda: not is_alive(process), 30)
    assert "interrupted" in studio.run.command("jobs", "--name", "transcode").stdout
    studio.run.start()
    studio.run.wait_ready()
    studio.wait(job, "finished")
    assert Counter(step for step, _ in studio.lines(job, "step")).total() == 250


@pytest.mark.long
def test_jobs_end_once_through_fifty_kills_at_random(studio: Studio) -> None:
    chance = random.Random(6)
    jobs = [studio.start_job("transcode", {"steps": 400, "every": 4, "step_s": 0.03}) for _ in range(6)]
    killed: Counter[str] = Counter()
    for _ in range(50):
        target = chance.choice(["job", "job", "events", "host", "supervisor"])
        live = [job for job in jobs if studio.state_of(job) == "running" and studio.lines(job, "begins")]
        if target == "job" and live:
            pid = studio.newest_pid(chance.choice(live))
            if is_alive(pid):
                studio.kill(pid)
        elif target == "supervisor":
            studio.run.send(signal.SIGKILL)
            studio.run.wait()
            studio.run.start()
            studio.run.wait_ready()
        elif (pid_of := studio.run.pids().get(target)) is not None and is_alive(pid_of):
            studio.kill(pid_of)
        killed[target] += 1
        studio.wait_lines(chance.randrange(20, 60), jobs)
    for job in jobs:
        studio.wait(job, "finished")
        done = Counter(int(step) for step, _ in studio.lines(job, "step"))
        begun = len(studio.lines(job, "begins"))
        assert sorted(done) == list(range(400))
        assert sum(done.values()) <= 400 + 4 * (begun - 1), "only since the last checkpoint"
        assert len(studio.lines(job, "ends")) == 1
    assert killed["job"] > 0
    assert killed["events"] > 0


@pytest.mark.long
def test_a_job_that_is_no_longer_in_the_settings_is_told_to_stop_and_can_be_revived(studio: Studio) -> None:
    job = studio.start_job("transcode", {"steps": 300, "step_s": 0.02})
    studio.wait_steps(job, 5)
    process = studio.newest_pid(job)
    settings = studio.run.directory / "peaker.toml"
    text = settings.read_text()
    settings.write_text(text.replace('name = "transcode"', 'name = "other"'))
    assert studio.run.command("reload").returncode == 0
    until(lambda: not is_alive(process), 30)
    studio.wait(job, "failed")
    settings.write_text(text)
    assert studio.run.command("reload").returncode == 0
    assert studio.run.command("events", "redrive", job).returncode == 0
    studio.wait(job, "finished")
    assert Counter(step for step, _ in studio.lines(job, "step")).total() == 300
