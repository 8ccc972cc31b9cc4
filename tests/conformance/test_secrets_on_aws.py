"""Secrets of Secrets Manager and Parameter Store: read, signed, tried again, and never shown."""

import asyncio
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from provided_runtime import provided
from secret_service import KEY, PARAMETER, SECRET, SecretService

from peaker.errors import CredentialsError, SettingsError
from peaker.secrets_in_function import put_secrets
from peaker.secrets_on_aws import SecretsOnAws, key_of_function
from peaker.testing.running import PeakerRun

APP = """
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
async def end(request):
    return PlainTextResponse(os.environ["DB_URL"][-5:])
app = Starlette(routes=[Route("/", end)])
"""
SETTINGS = """
[app]
name = "shop"
web = "shop:app"
[servers]
workers = 1
[secrets]
DB_URL = "{arn}"
"""
RIC = (sys.executable, "-m", "awslambdaric", "peaker.aws.handler")


@pytest.fixture
def service() -> Iterator[SecretService]:
    with SecretService().running() as running:
        yield running


def reader(service: SecretService) -> SecretsOnAws:
    return SecretsOnAws(lambda: key_of_function(service.variables), service.variables, pause=lambda _: None)


def test_a_secret_is_asked_for_once_for_all_its_keys_and_parameters_ten_to_a_call(service: SecretService) -> None:
    service.secrets[SECRET] = json.dumps({"user": "shop", "port": 5432})
    service.secrets |= {f"{PARAMETER}{number}": f"value {number}" for number in range(12)}
    references = {f"P{number}": f"{PARAMETER}{number}" for number in range(12)}

    found = reader(service).read({"WHOLE": SECRET, "USER": f"{SECRET}:user", "PORT": f"{SECRET}:port::"} | references)

    assert (found["USER"], found["PORT"], found["WHOLE"]) == ("shop", "5432", service.secrets[SECRET])
    assert [found[f"P{number}"] for number in range(12)] == [f"value {number}" for number in range(12)]
    assert service.calls == ["GetParameters", "GetParameters", "GetSecretValue"]


def test_a_throttled_call_is_made_again(service: SecretService) -> None:
    service.secrets[SECRET] = "correct-horse"
    service.failures = [(400, "ThrottlingException"), (500, "InternalServiceError")]

    assert reader(service).read({"DB": SECRET}) == {"DB": "correct-horse"}
    assert len(service.calls) == 3


@pytest.mark.parametrize(
    ("reference", "content", "failures", "told"),
    [
        (SECRET, None, [], "ResourceNotFoundException from secretsmanager in eu-west-1. Make it, or correct the ARN"),
        (f"{PARAMETER}none", None, [], "there is no such parameter"),
        (SECRET, "x", [(400, "AccessDeniedException")], f"The role needs secretsmanager:GetSecretValue on {SECRET}"),
        (f"{PARAMETER}a", "x", [(400, "AccessDeniedException")], "The role needs ssm:GetParameters on"),
        (SECRET, "x", [(500, "InternalServiceError")] * 3, "InternalServiceError from secretsmanager"),
        (SECRET, "", [], "it is empty"),
        (f"{SECRET}:user", "correct-horse", [], "it is no JSON, so there is no key 'user' in it"),
        (f"{SECRET}:user", '{"User": "correct-horse"}', [], "there is no key 'user' in it. Keys are told apart by"),
        (f"{SECRET}:user", '{"user": ["correct-horse"]}', [], "neither text nor a number"),
    ],
)
def test_what_cannot_be_had_is_named_with_what_to_do_and_not_shown(
    service: SecretService, reference: str, content: str | None, failures: list[tuple[int, str]], told: str
) -> None:
    if content is not None:
        service.secrets[reference.removesuffix(":user")] = content
    service.failures = failures

    with pytest.raises(SettingsError, match=r"\[secrets\]: secrets\.DB_URL cannot be had: ") as refused:
        reader(service).read({"DB_URL": reference})

    assert told in str(refused.value)
    assert "horse" not in str(refused.value) + repr(refused.value.__cause__)


def test_who_has_no_key_or_another_or_no_way_there_is_told(service: SecretService) -> None:
    with pytest.raises(CredentialsError, match="no AWS credentials to read"):
        SecretsOnAws(lambda: key_of_function({}), service.variables).read({"DB": SECRET})
    wrong = service.variables | {"AWS_SECRET_ACCESS_KEY": "guessed"}
    with pytest.raises(SettingsError, match="InvalidSignatureException"):
        SecretsOnAws(lambda: key_of_function(wrong), wrong).read({"DB": SECRET})
    nowhere = service.variables | {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:9"}
    with pytest.raises(SettingsError, match="needs an endpoint for the service"):
        SecretsOnAws(lambda: KEY, nowhere, pause=lambda _: None).read({"DB": SECRET})


def test_a_restored_snapshot_has_the_secrets_of_now_and_of_before_where_they_cannot_be_read(
    service: SecretService,
) -> None:
    """In a process of its own, as the hooks of a snapshot are the process's."""
    service.secrets[SECRET] = "before"
    variables = {
        "AWS_ENDPOINT_URL": service.variables["AWS_ENDPOINT_URL"],
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{service.port}/role",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a token",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    }
    code = (
        "import json, sys, snapshot_restore_py\n"
        "from peaker.secrets_in_function import put_secrets\n"
        f"variables = {variables!r}\n"
        f"put_secrets({json.dumps({'DB': SECRET})!r}, variables)\n"
        "for _ in range(3):\n"
        "    print(variables['DB'], flush=True)\n"
        "    sys.stdin.readline()\n"
        "    [hook(*a, **k) for hook, a, k in snapshot_restore_py.get_after_restore()]\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [process.stdout.readline()]
        for change in ("after", None):
            service.secrets = {SECRET: change} if change is not None else {}
            process.stdin.write("\n")
            process.stdin.flush()
            seen.append(process.stdout.readline())
        process.stdin.close()
        errors = process.stderr.read()
    assert seen == ["before\n", "after\n", "after\n"]
    assert "The values of the snapshot stay." in errors


def test_a_function_is_not_given_references_to_places_it_does_not_have() -> None:
    with pytest.raises(SettingsError, match="do not stand on AWS: KEY"):
        put_secrets('{"KEY": "file:/run/secrets/key"}', {})


def test_servers_are_started_with_secrets_from_aws_and_a_reload_rotates_them(
    tmp_path: Path, service: SecretService
) -> None:
    """botocore finds the supervisor's credentials."""
    service.secrets[f"{PARAMETER}db"] = "correct-horse"
    (tmp_path / "shop.py").write_text(APP)
    settings = SETTINGS.format(arn=f"{PARAMETER}db")
    with PeakerRun.with_settings(tmp_path, settings, environment=service.variables) as run:
        assert asked(run) == "horse"
        service.secrets[f"{PARAMETER}db"] = "battery-staple"
        assert run.command("reload").returncode == 0
        assert asked(run) == "taple"
        kept = "".join(path.read_text(errors="replace") for path in run.state.root.glob("*.json"))
        assert "correct-horse" not in kept + run.errors


def asked(run: PeakerRun) -> str:
    connection = http.client.HTTPConnection(*run.address, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_function_finds_its_secrets_before_the_app_is_imported(tmp_path: Path, moto_endpoint: str) -> None:
    """Under AWS's runtime interface client, with secrets made by boto3."""
    access = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1"}
    secrets = boto3.client("secretsmanager", endpoint_url=moto_endpoint, **access)
    made = secrets.create_secret(Name="shop/db", SecretString='{"url": "postgres://correct-horse"}')
    boto3.client("ssm", endpoint_url=moto_endpoint, **access).put_parameter(
        Name="/shop/key", Value="battery-staple", Type="SecureString"
    )
    (tmp_path / "jobs.py").write_text(
        "import os\nFOUND = [os.environ['DB_URL'][-5:], os.environ['KEY'][-6:]]\ndef entry(event, context):\n"
        "    return FOUND\n"
    )
    parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/shop/key"
    env = {
        "PEAKER_HANDLER": "jobs:entry",
        "PEAKER_SECRETS": json.dumps({"DB_URL": f"{made['ARN']}:url", "KEY": parameter}),
        "AWS_ENDPOINT_URL": moto_endpoint,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }

    async def scenario() -> None:
        async with provided(tmp_path, command=RIC, env=env) as bench:
            outcome = await bench.run({})
            assert json.loads(outcome.payload) == ["horse", "staple"]
            assert "correct-horse" not in str(bench.log)

    asyncio.run(scenario())
