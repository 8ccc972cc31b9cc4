"""`peaker deploy aws`, `destroy aws` and `aws policy` as a person runs them; with ministack where AWS is asked."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_servers import AwsServer, ministack
from terminal import Terminal

SETTINGS = """
[app]
name = "hello"
web = "hello:app"
[functions]
concurrency_max = {instances}
[[route]]
path = "/*"
placement = "functions"
[[function]]
name = "report"
handler = "hello:report"
[[function.on]]
queue = "orders"
"""
APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
def report(event, context):
    return 1
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    with ministack(tmp_path_factory.mktemp("ministack")) as found:
        yield found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "peaker.toml").write_text(SETTINGS.format(instances=20))
    (tmp_path / "hello.py").write_text(APP)
    return tmp_path


def peaker(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "peaker", *arguments],
        cwd=home,
        env=kept | {"HOME": str(home), "PIP_NO_INDEX": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_stack_is_deployed_found_unchanged_and_destroyed(server: AwsServer, project: Path) -> None:
    """1. A first deploy. 2. The same again. 3. Other code. 4. Destroyed by its name. 5. Nothing to destroy."""
    here = server.environment(70)
    first = answer(peaker(project, "deploy", "aws", "--yes", "--json", **here))
    assert first["status"] == "CREATE_COMPLETE"
    assert first["outputs"]["Address"].startswith("http")
    assert len(first["changes"]) == first["preview"]["resources"]

    again = peaker(project, "deploy", "aws", "--yes", **here)
    assert again.returncode == 0, again.stderr
    assert "nothing to change: it is deployed already" in again.stderr
    assert "already there: s3://peaker-100000000070-us-east-1/hello/" in again.stderr

    (project / "hello.py").write_text(APP + "# changed\n")
    changed = answer(peaker(project, "deploy", "aws", "--yes", "--json", **here))
    assert "AWS::Lambda::Version" in {each["kind"] for each in changed["changes"]}
    assert not [each for each in changed["changes"] if each["kind"] in ("AWS::SQS::Queue", "AWS::IAM::Role")]

    wrong = peaker(project, "destroy", "aws", "--confirm", "shop", **here)
    assert (wrong.returncode, "nothing was removed" in wrong.stderr) == (2, True)
    gone = answer(peaker(project, "destroy", "aws", "--confirm", "hello", "--json", **here))
    assert len(gone["kept"]) == 3
    assert server.client("lambda", 70).list_functions()["Functions"] == []
    assert "nothing to do" in peaker(project, "destroy", "aws", "--confirm", "hello", **here).stderr


def test_more_instances_than_the_account_may_reserve_are_refused_before_anything_is_made(
    server: AwsServer, project: Path
) -> None:
    (project / "peaker.toml").write_text(SETTINGS.format(instances=900))
    done = peaker(project, "deploy", "aws", "--yes", **server.environment(71))
    assert done.returncode == 1
    assert re.search(r"functions reserve 1,800 instances \(.*\), and the account has \d+ to reserve", done.stderr)
    assert server.client("cloudformation", 71).describe_stacks()["Stacks"] == []
    assert server.client("s3", 71).list_buckets()["Buckets"] == []


def test_a_stack_that_was_never_made_and_a_change_set_left_behind_are_cleared_away(
    server: AwsServer, project: Path
) -> None:
    """1. A first attempt failed. 2. A deploy was interrupted before it was agreed to. 3. The command does it all."""
    formation = server.client("cloudformation", 72)
    name = "{{resolve:ssm:/nobody/wrote/this}}"
    failing = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}}}
    formation.create_stack(StackName="hello", TemplateBody=json.dumps(failing))
    wait_for(lambda: formation.describe_stacks(StackName="hello")["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")
    here = server.environment(72)
    done = peaker(project, "deploy", "aws", "--yes", "--json", **here)
    assert "hello is ROLLBACK_COMPLETE: it was never made" in done.stderr
    assert answer(done)["status"] == "CREATE_COMPLETE"

    failing["Resources"]["Queue"]["Properties"] = {"QueueName": "other"}
    formation.create_change_set(
        StackName="hello", ChangeSetName="peaker-left", ChangeSetType="UPDATE", TemplateBody=json.dumps(failing)
    )
    again = peaker(project, "deploy", "aws", "--yes", **here)
    assert "dropped a change set that nobody executed: peaker-left" in again.stderr
    assert "nothing to change" in again.stderr


def test_a_person_is_asked_and_no_is_no(server: AwsServer, project: Path) -> None:
    """1. No to the change. 2. Yes to it. 3. Another name does not destroy it."""
    here = server.environment(73)
    formation = server.client("cloudformation", 73)
    deploy = ["-m", "peaker", "deploy", "aws"]
    with Terminal(project, deploy, here) as terminal:
        terminal.read_until("Do it? [y/N]")
        terminal.type("n\n")
        assert terminal.wait() == 130
    assert [each["StackStatus"] for each in formation.describe_stacks()["Stacks"]] in ([], ["REVIEW_IN_PROGRESS"])
    with Terminal(project, deploy, here) as terminal:
        terminal.read_until("Do it? [y/N]")
        terminal.type("y\n")
        terminal.read_until("hello stands.")
        assert terminal.wait() == 0
    with Terminal(project, ["-m", "peaker", "destroy", "aws"], here) as terminal:
        terminal.read_until("Stays, as it holds data: queue")
        terminal.read_until("Type the stack's name to remove it")
        terminal.type("shop\n")
        terminal.read_until("nothing was removed")
        assert terminal.wait() == 130
    (stack,) = formation.describe_stacks()["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"


def test_nothing_is_done_without_somebody_to_ask(project: Path) -> None:
    done = peaker(project, "deploy", "aws")
    assert (done.returncode, "--yes does not ask" in done.stderr) == (2, True)
    keyless = peaker(project, "destroy", "aws", AWS_EC2_METADATA_DISABLED="true")
    assert (keyless.returncode, "Log in as for the AWS CLI" in keyless.stderr) == (2, True)


def test_preview_and_template_need_neither_credentials_nor_network(project: Path) -> None:
    """Whatever they would connect to refuses."""
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    shown = answer(peaker(project, "deploy", "aws", "--preview", "--json", **nowhere))
    template = answer(peaker(project, "deploy", "aws", "--template", **nowhere))
    assert len(template["Resources"]) == shown["resources"]
    assert template["Metadata"]["Peaker"]["most_usd"] == shown["most_usd"]
    text = peaker(project, "deploy", "aws", "--preview").stdout
    assert "clients reach a function URL, TLS by AWS" in text
    assert "at the worst, all instances that reserved concurrency allows, without a pause: " in text
    assert f"${shown['worst_usd_per_month']:,.2f} a month" in text
    assert "kept when the stack is destroyed, as it holds data: queue" in text


def test_policies_are_printed_for_each_side(project: Path) -> None:
    functions = answer(peaker(project, "aws", "policy", "--for", "functions", "--account", "123456789012"))
    assert set(functions) == {"hello-web", "hello-report"}
    read = [each for each in functions["hello-report"]["Statement"] if "sqs:ReceiveMessage" in each["Action"]]
    assert [each["Resource"] for each in read] == ["arn:aws:sqs:us-east-1:123456789012:orders"]
    deployer = answer(peaker(project, "aws", "policy", "--for", "deployer", "--account", "123456789012"))
    queues = [each for each in deployer["Statement"] if "sqs:CreateQueue" in each["Action"]]
    assert all("arn:aws:sqs:us-east-1:123456789012:" in at for each in queues for at in each["Resource"])


@pytest.mark.parametrize("example", ["streaming", "uploads"])
def test_an_example_can_be_deployed(example: str, tmp_path: Path) -> None:
    home = Path(__file__).parents[2] / "examples" / example
    found = answer(peaker(home, "deploy", "aws", "--preview", "--json", "--stage", "aws", HOME=str(tmp_path)))
    assert found["resources"] > 25


def test_a_webhook_is_refused_by_name_since_nobody_would_check_its_signature(tmp_path: Path) -> None:
    home = Path(__file__).parents[2] / "examples" / "webhook"
    refused = peaker(home, "deploy", "aws", "--preview", "--stage", "aws", HOME=str(tmp_path))
    assert refused.returncode == 2
    assert "function.on.http = '/hooks/payments' is not deployed to AWS yet" in refused.stderr
