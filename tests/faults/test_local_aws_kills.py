"""What happens in a stand-in while processes are killed: nothing is missed, but what was in a stand-in that died."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from peaker.testing.running import PeakerRun, is_alive, until

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "kills"

[servers]
drain_s_max = 5

[functions]
timeout_s = 2

[events]
lease_s = 1

[env]
NOTES = "{notes}"

[local_aws.tables]
carts = "id"

[[function]]
name = "seen"
handler = "local_aws_light:seen"
concurrency_max = 8
[[function.on]]
object_created = "pictures"
[[function.on]]
table = "carts"
[[function.on]]
queue = "work"
visibility_timeout_s = 2
"""
OTHER = """
[app]
name = "other"

[env]
NOTES = "{notes}"

[local_aws]
buckets = ["others-own"]

[[function]]
name = "seen"
handler = "local_aws_light:seen"
[[function.on]]
object_created = "others-uploads"
"""


class Watched:
    """The run, and what its function has noted."""

    def __init__(self, run: PeakerRun) -> None:
        self.run = run

    def client(self, service: str) -> Any:
        given = self.run.command_json("profile", "--aws")
        return boto3.client(
            service,
            endpoint_url=given["AWS_ENDPOINT_URL"],
            region_name=given["AWS_REGION"],
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )

    def notes(self, kind: str) -> list[dict[str, Any]]:
        path = self.run.directory / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [note for note in map(json.loads, lines) if note["kind"] == kind]

    def keys(self, bucket: str) -> list[tuple[str, str]]:
        records = [note["record"] for note in self.notes("aws:s3")]
        mine = [record for record in records if record["s3"]["bucket"]["name"] == bucket]
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in mine]

    def kill(self, name: str) -> None:
        pid = self.run.pids()[name]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_alive(pid), 30)
        until(lambda: self.run.pids().get(name, pid) != pid, 30)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("kills")
    (directory / "local_aws_light.py").write_bytes((APPS / "local_aws_light.py").read_bytes())
    (directory / "peaker.toml").write_text(SETTINGS.format(notes=directory / "notes"))
    with PeakerRun(directory, "--aws", "local") as run:
        yield Watched(run)


@pytest.mark.parametrize(("things", "kills"), [(40, 1), pytest.param(600, 5, marks=pytest.mark.long)])
def test_nothing_is_missed_while_the_events_process_is_killed(watched: Watched, things: int, kills: int) -> None:
    """1. messages, uploads and changes come, 2. it is killed among them, 3. each is seen, changes of a key in order."""
    sqs, s3, table = (watched.client(name) for name in ("sqs", "s3", "dynamodb"))
    url = sqs.get_queue_url(QueueName="work")["QueueUrl"]
    keys = [f"c{things}-even", f"c{things}-odd"]
    kill_at = {things * turn // (kills + 1) for turn in range(1, kills + 1)}
    for number in range(things):
        sqs.send_message(QueueUrl=url, MessageBody=f"m{things}-{number}")
        s3.put_object(Bucket="pictures", Key=f"k{things}-{number}", Body=b"x")
        table.put_item(TableName="carts", Item={"id": {"S": keys[number % 2]}, "n": {"N": str(number)}})
        if number in kill_at:
            watched.kill("events")

    def changes() -> list[tuple[str, int]]:
        records = [note["record"]["dynamodb"] for note in watched.notes("table")]
        return [(record["Keys"]["id"]["S"], int(record["NewImage"]["n"]["N"])) for record in records]

    def missing() -> set[str]:
        seen = {note["record"]["body"] for note in watched.notes("aws:sqs")}
        seen |= {key for _, key in watched.keys("pictures")}
        seen |= {f"n{number}" for key, number in changes() if key in keys}
        numbers = range(things)
        wanted = {f"{kind}{things}-{number}" for kind in ("m", "k") for number in numbers}
        return (wanted | {f"n{number}" for number in numbers}) - seen

    try:
        until(lambda: not missing(), 60)
    except TimeoutError:
        pytest.fail(f"never seen: {sorted(missing())}; {watched.run.errors}")
    for key in keys:
        own = [number for of, number in changes() if of == key]
        assert own == sorted(own)  # One that ran twice, for its run was cut off, ran twice in its place.


@pytest.mark.long
def test_a_reload_keeps_what_is_in_the_stand_in(watched: Watched) -> None:
    before = watched.run.pids()["aws"]
    watched.client("s3").put_object(Bucket="pictures", Key="kept", Body=b"kept")
    assert watched.run.command("reload").returncode == 0
    watched.run.wait_settled()
    assert watched.run.pids()["aws"] == before
    assert watched.client("s3").get_object(Bucket="pictures", Key="kept")["Body"].read() == b"kept"


def test_a_stand_in_that_dies_begins_anew_at_its_address_with_what_is_declared(watched: Watched) -> None:
    address = watched.run.command_json("profile", "--aws")["AWS_ENDPOINT_URL"]
    watched.kill("aws")
    s3 = watched.client("s3")
    assert watched.run.command_json("profile", "--aws")["AWS_ENDPOINT_URL"] == address
    assert "Contents" not in s3.list_objects_v2(Bucket="pictures")
    s3.put_object(Bucket="pictures", Key="after", Body=b"x")
    until(lambda: ("ObjectCreated:Put", "after") in watched.keys("pictures"), 30)
    table = watched.client("dynamodb")
    table.put_item(TableName="carts", Item={"id": {"S": "after"}, "n": {"N": "1000"}})
    until(lambda: any(note["record"]["dynamodb"]["Keys"]["id"]["S"] == "after" for note in watched.notes("table")), 30)
    assert "died by SIGKILL" in watched.run.errors
    assert "what is made here is gone when this process ends" in watched.run.errors


@pytest.mark.long
def test_another_stand_in_is_used_as_it_is_and_what_is_declared_is_made_there(watched: Watched, tmp_path: Path) -> None:
    """The other stand-in is the one of the module's run."""
    address = watched.run.command_json("profile", "--aws")["AWS_ENDPOINT_URL"]
    (tmp_path / "local_aws_light.py").write_bytes((APPS / "local_aws_light.py").read_bytes())
    (tmp_path / "peaker.toml").write_text(OTHER.format(notes=tmp_path / "notes"))
    with PeakerRun(tmp_path, "--aws", address) as run:
        other = Watched(run)
        assert "aws" not in run.pids()
        s3 = other.client("s3")
        assert {"others-own", "others-uploads"} <= {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        s3.put_object(Bucket="others-uploads", Key="a", Body=b"x")
        until(lambda: other.keys("others-uploads") == [("ObjectCreated:Put", "a")], 30)
        assert "memory alone" not in run.errors
    nobody = PeakerRun(tmp_path, "--aws", "http://127.0.0.1:1")
    done = nobody.command("run", "--aws", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "http://127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
