"""`peaker run --aws local` with boto3 as it is: what happens in S3, SQS, SNS, DynamoDB and a folder runs functions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest

from peaker.testing.running import PeakerRun, until

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "happenings"

[servers]
drain_s_max = 5

[functions]
timeout_s = 5

[env]
NOTES = "{notes}"
AWS_PROFILE = "prod"

[local_aws]
buckets = ["capitals"]
[local_aws.tables]
carts = "id"
idempotency = "id"
[local_aws.folders]
dropped = "drop"

[[function]]
name = "seen"
handler = "local_aws_light:seen"
[[function.on]]
object_created = "pictures/in/*.jpg"
[[function.on]]
object_removed = "pictures"
[[function.on]]
object_created = "dropped"
[[function.on]]
object_removed = "dropped"
[[function.on]]
topic = "signups"
[[function.on]]
table = "carts"

[[function]]
name = "fan-out"
handler = "local_aws_light:fan_out"
[[function.on]]
topic = "signups"

[[function]]
name = "parallel"
handler = "local_aws_light:parallel"
timeout_s = 30
[[function.on]]
queue = "slow"
batch_size = 1
maximum_concurrency = 15

[[function]]
name = "in-order"
handler = "local_aws_light:in_order"
[[function.on]]
queue = "steps.fifo"

[[function]]
name = "fails-first"
handler = "local_aws_light:fails_first"
timeout_s = 3
[[function.on]]
queue = "work"
window_s = 0.3
visibility_timeout_s = 3
dead_letter_queue = "work-dead"
receives_max = 2

[[function]]
name = "copy"
handler = "local_aws_clients:copy"
[[function.on]]
object_created = "texts"
[[function.on]]
object_created = "capitals/again"

[[function]]
name = "batch"
handler = "local_aws_clients:batch"
timeout_s = 2
[[function.on]]
queue = "orders"
window_s = 0.3
visibility_timeout_s = 2
dead_letter_queue = "orders-dead"
receives_max = 1

[[function]]
name = "charge"
handler = "local_aws_clients:charge"

[[function]]
name = "call"
handler = "local_aws_clients:call"
"""
REAL = {
    "AWS_ACCESS_KEY_ID": "AKIAREALREALREALREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_PROFILE": "prod",
    "AWS_REGION": "eu-west-9",
    "AWS_ENDPOINT_URL_S3": "https://s3.eu-west-9.amazonaws.com",
}


class Happenings:
    """The running app, clients of its stand-in, and what its functions have noted."""

    def __init__(self, run: PeakerRun) -> None:
        self.run = run
        self.variables: dict[str, str] = run.command_json("profile", "--aws")

    def client(self, service: str) -> Any:
        given = self.variables
        return boto3.client(
            service,
            endpoint_url=given["AWS_ENDPOINT_URL_LAMBDA" if service == "lambda" else "AWS_ENDPOINT_URL"],
            region_name=given["AWS_REGION"],
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        )

    def notes(self, kind: str) -> list[dict[str, Any]]:
        path = self.run.directory / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [note for note in map(json.loads, lines) if note["kind"] == kind]

    def wait(
        self, kind: str, count: int, which: Callable[[dict[str, Any]], bool] = lambda _: True, *, within_s: float = 30.0
    ) -> list[dict[str, Any]]:
        """At least so many notes of a kind."""
        until(lambda: sum(map(which, self.notes(kind))) >= count, within_s)
        return list(filter(which, self.notes(kind)))

    def queue_url(self, name: str) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])

    def send(self, name: str, bodies: Sequence[str]) -> None:
        sqs, url = self.client("sqs"), self.queue_url(name)
        for first in range(0, len(bodies), 10):
            entries = [{"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies[first : first + 10])]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)

    def dead(self, name: str) -> list[str]:
        received = self.client("sqs").receive_message(
            QueueUrl=self.queue_url(name), WaitTimeSeconds=20, MaxNumberOfMessages=10
        )
        return [message["Body"] for message in received.get("Messages", [])]


@pytest.fixture(scope="module")
def happenings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Happenings]:
    directory = tmp_path_factory.mktemp("happenings")
    for name in ("local_aws_light.py", "local_aws_clients.py"):
        (directory / name).write_bytes((APPS / name).read_bytes())
    (directory / "peaker.toml").write_text(SETTINGS.format(notes=directory / "notes"))
    with PeakerRun(directory, "--aws", "local", environment=REAL) as run:
        happenings = Happenings(run)
        # What takes its time is begun here; the tests see to its end.
        happenings.send("work", ["good-1", "once-2", "bad-3", "good-4"])
        happenings.send("orders", [json.dumps(payload) for payload in ({"n": 1}, {"n": 2, "bad": True}, {"n": 3})])
        slow = {"name": "slow", "kind": "parallel", "count": 29}  # It ends after all others, and so takes the longest.
        quick = [{"name": f"m{number}", "kind": "begun", "count": 15} for number in range(29)]
        happenings.send("slow", [json.dumps(body) for body in [slow, *quick]])
        yield happenings


def test_it_says_where_aws_is_and_that_nothing_there_is_durable(happenings: Happenings) -> None:
    assert f"AWS is {happenings.variables['AWS_ENDPOINT_URL']} for app and functions" in happenings.run.errors
    assert "kept in memory alone" in happenings.run.errors


def test_an_upload_runs_its_function_once_with_the_event_of_s3(happenings: Happenings) -> None:
    s3 = happenings.client("s3")
    s3.put_object(Bucket="pictures", Key="in/a b/ü.txt", Body=b"not meant")
    s3.put_object(Bucket="pictures", Key="in/a b/ü.jpg", Body=b"picture")
    s3.delete_object(Bucket="pictures", Key="in/a b/ü.jpg")
    created, removed = sorted(happenings.wait("aws:s3", 2), key=lambda note: note["record"]["eventName"])
    record = created["record"]
    assert (record["eventVersion"], record["eventSource"], record["awsRegion"]) == ("2.1", "aws:s3", "us-east-1")
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["bucket"] == {
        "name": "pictures",
        "ownerIdentity": {"principalId": "peaker"},
        "arn": "arn:aws:s3:::pictures",
    }
    described = record["s3"]["object"]
    assert described.pop("sequencer")
    etag = hashlib.md5(b"picture").hexdigest()
    assert described == {"key": "in/a+b/%C3%BC.jpg", "size": 7, "eTag": etag}
    assert removed["record"]["eventName"] == "ObjectRemoved:Delete"
    assert "size" not in removed["record"]["s3"]["object"]


def test_a_multipart_upload_is_told_once(happenings: Happenings) -> None:
    s3 = happenings.client("s3")
    upload = s3.create_multipart_upload(Bucket="pictures", Key="in/large.jpg")["UploadId"]
    part = s3.upload_part(Bucket="pictures", Key="in/large.jpg", PartNumber=1, UploadId=upload, Body=b"x" * 100)
    s3.complete_multipart_upload(
        Bucket="pictures", Key="in/large.jpg", UploadId=upload,
        MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]},
    )  # fmt: skip
    s3.put_object(Bucket="pictures", Key="in/after.jpg", Body=b"")

    def is_of(key: str) -> Callable[[dict[str, Any]], bool]:
        return lambda note: note["record"]["s3"]["object"]["key"] == key

    happenings.wait("aws:s3", 1, is_of("in/after.jpg"))
    told = happenings.wait("aws:s3", 1, is_of("in/large.jpg"))
    assert [note["record"]["eventName"] for note in told] == ["ObjectCreated:CompleteMultipartUpload"]


def test_handlers_reach_the_stand_in_with_boto3_and_no_key_of_the_users(happenings: Happenings) -> None:
    happenings.client("s3").put_object(Bucket="texts", Key="hello.txt", Body=b"hello")
    [copied] = happenings.wait("copied", 1)
    assert happenings.client("s3").get_object(Bucket="capitals", Key="hello.txt")["Body"].read() == b"HELLO"
    named = copied["named"]
    assert named["AWS_ACCESS_KEY_ID"].startswith("PEAKER")
    assert named["AWS_ENDPOINT_URL"] == happenings.variables["AWS_ENDPOINT_URL"]
    assert named["AWS_REGION"] == "us-east-1"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} & named.keys()


def test_powertools_idempotency_runs_an_order_once(happenings: Happenings) -> None:
    client = happenings.client("lambda")
    answers = []
    for name in ("charge", "call", "charge"):
        answer = client.invoke(FunctionName=name, Payload=json.dumps({"order": "o-1"}))
        assert "FunctionError" not in answer, answer["Payload"].read()
        answers.append(json.loads(answer["Payload"].read()))
    assert answers == [{"charged": "o-1"}] * 3
    assert len(happenings.notes("charged")) == 1


def test_messages_of_a_fifo_group_keep_their_order_and_groups_go_beside_each_other(happenings: Happenings) -> None:
    sqs, url = happenings.client("sqs"), happenings.queue_url("steps.fifo")
    for number in range(8):
        for group in "ab":
            sqs.send_message(
                QueueUrl=url, MessageBody=f"{group}{number}", MessageGroupId=group,
                MessageDeduplicationId=f"{group}{number}",
            )  # fmt: skip

    def done() -> list[str]:
        return [body for note in happenings.notes("fifo") for body in note["bodies"]]

    until(lambda: len(done()) >= 16, 30)
    for group in "ab":
        assert [body for body in done() if body.startswith(group)] == [f"{group}{number}" for number in range(8)]
    assert all(len(set(note["groups"])) == 1 for note in happenings.notes("fifo"))


def test_a_message_to_a_topic_runs_every_function_that_listens_to_it(happenings: Happenings) -> None:
    sns = happenings.client("sns")
    topic = sns.create_topic(Name="signups")["TopicArn"]
    sns.publish(
        TopicArn=topic, Subject="welcome", Message="ada",
        MessageAttributes={"plan": {"DataType": "String", "StringValue": "free"}},
    )  # fmt: skip
    [note] = happenings.wait("aws:sns", 1)
    [second] = happenings.wait("second", 1)
    assert second["message"] == "ada"
    told = note["record"]["Sns"]
    assert (told["Message"], told["Subject"], told["TopicArn"], told["Type"]) == (
        "ada",
        "welcome",
        topic,
        "Notification",
    )
    assert told["MessageAttributes"] == {"plan": {"Type": "String", "Value": "free"}}
    assert note["record"]["EventSubscriptionArn"].startswith(topic + ":")


def test_changes_of_a_table_come_in_order_for_each_key(happenings: Happenings) -> None:
    table = happenings.client("dynamodb")
    for number in range(6):
        for key in "xyz":
            table.put_item(TableName="carts", Item={"id": {"S": key}, "n": {"N": str(number)}})
    for key in "xyz":
        table.delete_item(TableName="carts", Key={"id": {"S": key}})
    records = [note["record"] for note in happenings.wait("table", 21)]
    for key in "xyz":
        own = [record for record in records if record["dynamodb"]["Keys"] == {"id": {"S": key}}]
        assert [record["eventName"] for record in own] == ["INSERT"] + ["MODIFY"] * 5 + ["REMOVE"]
        assert [record["dynamodb"]["NewImage"]["n"]["N"] for record in own[:-1]] == list("012345")
        assert own[-1]["dynamodb"]["OldImage"]["n"] == {"N": "5"}
    assert records[0]["eventSourceARN"].startswith("arn:aws:dynamodb:us-east-1:")


def test_a_file_in_a_folder_is_an_object_once_it_is_whole(happenings: Happenings) -> None:
    folder = happenings.run.directory / "drop"
    name = "below/whole.txt"
    (folder / "below").mkdir(parents=True)

    def told() -> list[tuple[str, str]]:
        records = [note["record"] for note in happenings.notes("aws:s3")]
        mine = [record for record in records if record["s3"]["bucket"]["name"] == "dropped"]
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in mine]

    with (folder / name).open("w") as file:
        file.write("half")
        file.flush()
        (folder / ".hidden").write_text("no object")
        (folder / "moved.part").write_text("whole")
        os.rename(folder / "moved.part", folder / "moved.txt")  # noqa: PTH104 - the very call that writers use
        until(lambda: ("ObjectCreated:Put", "moved.txt") in told(), 30)
        assert ("ObjectCreated:Put", name) not in told()
        file.write(" and half")
    until(lambda: ("ObjectCreated:Put", name) in told(), 30)
    body = happenings.client("s3").get_object(Bucket="dropped", Key=name)["Body"].read()
    assert body == b"half and half"
    (folder / name).unlink()
    until(lambda: ("ObjectRemoved:Delete", name) in told(), 30)
    assert not any(".hidden" in key for _, key in told())
    assert told().count(("ObjectCreated:Put", name)) == 1


def test_a_shell_is_led_to_the_stand_in(happenings: Happenings) -> None:
    lines = happenings.run.command("profile", "--aws").stdout
    asked = f"{lines}\n{sys.executable} -m awscli s3 ls"
    environment = {**os.environ, **REAL}
    done = subprocess.run(
        ["bash", "-c", asked], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert " capitals\n" in done.stdout


def test_a_function_that_starts_itself_by_what_it_writes_is_ended(happenings: Happenings) -> None:
    happenings.client("s3").put_object(Bucket="texts", Key="again.txt", Body=b"over and over")
    until(lambda: happenings.run.command_json("status")["events"]["counts"]["dead"] == 1, 30)
    assert len([note for note in happenings.notes("copied") if note["key"] == "again.txt"]) == 16
    assert "RecursiveInvocation: 16 runs in a row" in happenings.run.errors


def test_a_failed_message_of_a_batch_comes_back_and_a_bad_one_ends_in_the_dead_letter_queue(
    happenings: Happenings,
) -> None:
    assert happenings.dead("work-dead") == ["bad-3"]
    tried = sorted((note["body"], note["receives"]) for note in happenings.notes("tried"))
    assert tried == [("bad-3", 1), ("bad-3", 2), ("good-1", 1), ("good-4", 1), ("once-2", 1), ("once-2", 2)]


def test_powertools_batch_processor_works_unchanged(happenings: Happenings) -> None:
    happenings.wait("powertools", 3)
    assert [json.loads(body) for body in happenings.dead("orders-dead")] == [{"n": 2, "bad": True}]
    assert sorted(note["payload"]["n"] for note in happenings.notes("powertools")) == [1, 2, 3]


def test_fifteen_batches_run_at_once_and_a_slow_one_holds_up_nobody(happenings: Happenings) -> None:
    ran = happenings.wait("parallel", 30)
    at_once = [sum(other["began"] <= one["began"] < other["ended"] for other in ran) for one in ran]
    assert max(at_once) == 15
    assert [one["name"] for one in ran if not one["saw"]] == []
    assert ran[-1]["name"] == "slow"


def test_the_sources_tell_how_they_do(happenings: Happenings) -> None:
    assert "queue/orders: listening" in happenings.run.errors
    assert "Traceback" not in happenings.run.errors
    sources = happenings.run.command_json("status")["events"]["sources"]
    assert {source["condition"] for source in sources} == {"listening"}
    assert f"  sources: {len(sources)} of {len(sources)} listening; " in happenings.run.command("status").stdout
