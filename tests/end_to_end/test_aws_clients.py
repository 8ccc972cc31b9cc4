"""The AWS CLI, boto3 and `peaker invoke` on a running app, each as a user starts it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peaker.testing.running import PeakerRun

APPS = Path(__file__).parents[1] / "apps"
AWS = str(Path(sys.executable).with_name("aws"))
DEADLINE_S = 60.0
SETTINGS = """
[app]
name = "shop"
web = "storefront:app"
listen = "127.0.0.1:0"

[servers]
workers = 1
drain_idle_s = 0.2

[functions]
memory_mb = 128
timeout_s = 2

[[function]]
name = "echo"
handler = "handlers:echo"

[[function]]
name = "bad"
handler = "handlers:misbehave"
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    directory = tmp_path_factory.mktemp("shop with a space")
    (directory / "peaker.toml").write_text(SETTINGS)
    (directory / "storefront.py").write_text("async def app(scope, receive, send):\n    pass\n")
    shutil.copy(APPS / "handlers.py", directory)
    with PeakerRun(directory) as run:
        yield run


def clean_environment(home: Path) -> dict[str, str]:
    """No AWS settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, "HOME": str(home), "AWS_PAGER": "", "AWS_EC2_METADATA_DISABLED": "true"}


def shell(run: PeakerRun, script: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'set -e\neval "$({sys.executable} -m peaker profile)"\n{script}'],
        cwd=run.directory,
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def peaker(
    run: PeakerRun, *arguments: str, text: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "peaker", *arguments],
        cwd=run.directory,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_the_aws_cli_invokes_with_the_profile_that_was_written(shop: PeakerRun, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = shell(
        shop,
        f"{AWS} --profile peaker lambda invoke --function-name echo --payload '{{\"a\": 1}}' --log-type Tail {out}",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["StatusCode"], told["ExecutedVersion"], "FunctionError" in told) == (200, "$LATEST", False)
    assert told["LogResult"]
    assert json.loads(out.read_text())["event"] == {"a": 1}


def test_the_aws_cli_lists_reads_and_meets_lambdas_errors(shop: PeakerRun, tmp_path: Path) -> None:
    aws = f"{AWS} --profile peaker lambda"
    script = f"""
        {aws} list-functions --query 'Functions[].FunctionName' --output text
        {aws} get-function --function-name echo --query Configuration.Handler
        {aws} invoke --function-name absent {tmp_path}/out || echo refused
    """
    done = shell(shop, script, tmp_path)
    assert done.stdout.split() == ["bad", "echo", '"handlers.echo"', "refused"]
    assert "(ResourceNotFoundException) when calling the Invoke operation: Function not found: arn:" in done.stderr


BY_BOTO3 = """
import boto3
client = boto3.Session(profile_name="peaker").client("lambda")
print(client.invoke(FunctionName="echo", InvocationType="Event")["StatusCode"])
print(client.invoke(FunctionName="bad", Payload='{"do": "raise"}')["FunctionError"])
"""


def test_boto3_finds_the_profile(shop: PeakerRun, tmp_path: Path) -> None:
    script = tmp_path / "call.py"
    script.write_text(BY_BOTO3)
    done = shell(shop, f"{sys.executable} {script}", tmp_path)
    assert done.stdout.split() == ["202", "Unhandled"], done.stderr


def test_status_and_the_start_say_where_the_profile_is(shop: PeakerRun) -> None:
    found = shop.command_json("status")
    assert found["app_url"].startswith("http://127.0.0.1:")
    assert found["ops_url"].startswith("http://127.0.0.1:")
    assert found["aws_profile"] == "peaker"
    assert f"endpoint_url = {found['lambda_endpoint']}\n" in Path(found["aws_config_file"]).read_text()
    assert f"export AWS_CONFIG_FILE='{shop.state.aws_config}'" in shop.errors


def test_the_profile_is_added_to_the_users_own_files_and_nothing_else_is_changed(
    shop: PeakerRun, tmp_path: Path
) -> None:
    theirs = "[default]\nregion = eu-west-1\n# a comment\n"
    config, credentials = tmp_path / ".aws" / "config", tmp_path / ".aws" / "credentials"
    config.parent.mkdir()
    config.write_text(theirs)
    environment = clean_environment(tmp_path)
    for _ in range(2):
        done = peaker(shop, "profile", "--write", "--name", "shop", environment=environment)
        assert done.returncode == 0, done.stderr
    assert config.read_text().startswith(theirs)
    assert config.read_text().count("[profile shop]") == 1
    assert credentials.stat().st_mode & 0o777 == 0o600
    called = subprocess.run(
        [AWS, "--profile", "shop", "lambda", "get-account-settings", "--query", "AccountUsage.FunctionCount"],
        env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert called.stdout.strip() == "2", called.stderr
    config.write_text("[profile mine]\nregion = x\n")
    refused = peaker(shop, "profile", "--write", "--name", "mine", environment=environment)
    assert refused.returncode == 1
    assert "[profile mine] that was not written by Peaker" in refused.stderr
    assert config.read_text() == "[profile mine]\nregion = x\n"


def test_peaker_invoke_takes_an_event_from_everywhere(shop: PeakerRun, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text('{"from": "file"}')
    for arguments, text, event in (
        ((), "", {}),
        (('{"a": "ü"}',), "", {"a": "ü"}),
        (("[1, 2]",), "", [1, 2]),
        (("-",), '{"from": "stdin"}', {"from": "stdin"}),
        ((str(file),), "", {"from": "file"}),
        ((f"@{file}",), "", {"from": "file"}),
    ):
        done = peaker(shop, "invoke", "echo", *arguments, text=text)
        assert (done.returncode, json.loads(done.stdout)["event"]) == (0, event), done.stderr
        assert done.stderr == ""


def test_peaker_invoke_shows_errors_logs_and_versions(shop: PeakerRun) -> None:
    failed = peaker(shop, "invoke", "bad", '{"do": "raise", "text": "no such seat"}', "--log")
    assert (failed.returncode, json.loads(failed.stdout)["errorMessage"]) == (1, "no such seat")
    assert failed.stderr.startswith("START RequestId: ")
    timed_out = json.loads(peaker(shop, "invoke", "bad", '{"do": "hang"}', "--json").stdout)
    assert (timed_out["status"], timed_out["function_error"]) == (200, "Unhandled")
    assert timed_out["result"]["errorType"] == "Sandbox.Timedout"
    context = peaker(
        shop, "invoke", "echo", "--client-context", '{"custom": {"tenant": "a"}}', "--qualifier", "1", "--json"
    )
    told = json.loads(context.stdout)
    assert (told["executed_version"], told["result"]["client_context"]) == ("1", {"tenant": "a"})
    assert peaker(shop, "invoke", "echo", "--dry-run").returncode == 0


def test_peaker_invoke_hands_an_event_over_and_does_not_wait(shop: PeakerRun) -> None:
    done = peaker(shop, "invoke", "bad", '{"do": "print", "text": "from an event"}', "--async", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["result"]) == (0, 202, None)
    log, deadline_s = shop.state.logs / "functions.log", time.monotonic() + DEADLINE_S
    while f"{told['request_id']} from an event" not in log.read_text():
        assert time.monotonic() < deadline_s


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("absent",), 2, "ResourceNotFoundException: Function not found: arn:aws:lambda:"),
        (("echo", "{no json"), 2, "is neither JSON"),
        (("echo", "@/no/such/file"), 2, "cannot be read"),
        (("echo", "--client-context", "[]"), 2, "not a JSON object"),
        (("echo", "--async", "--log"), 2, "--async waits for nothing"),
        (("echo", "--timeout", "0"), 2, "--timeout"),
        (("echo", "--qualifier", "7"), 2, "ResourceNotFoundException"),
        (("bad", '{"do": "sleep", "s": 1.5}', "--timeout", "0.3"), 1, "no answer within"),
    ],
)
def test_peaker_invoke_says_what_is_wrong(shop: PeakerRun, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = peaker(shop, "invoke", *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert words in done.stderr


def test_peaker_invoke_and_profile_say_what_to_do_where_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / ".peaker").mkdir()
    nowhere = PeakerRun(tmp_path)
    invoked = peaker(nowhere, "invoke", "echo")
    assert invoked.returncode == 1
    assert "Start the app with `peaker run`" in invoked.stderr
    assert "Start it with `peaker run`" in peaker(nowhere, "profile").stderr
