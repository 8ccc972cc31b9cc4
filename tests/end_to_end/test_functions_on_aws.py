"""`functions.arn`: servers without a function host spill over TLS, signed, to an Invoke API elsewhere."""

import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tls_front import TlsFront

from peaker.engines.local.state_dir import read_run
from peaker.settings import AppSection, FunctionsSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost
from peaker.testing.running import PeakerRun

ARN = "arn:aws:lambda:us-east-1:000000000000:function:shop-web"

APP = """
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
async def where(request):
    return PlainTextResponse(os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "no function"))
app = Starlette(routes=[Route("/{path:path}", where)])
"""
SETTINGS = """
[app]
name = "shop"
web = "shop:app"
spill = true
[objective]
spend_usd_per_day_max = 1.0
[servers]
workers = 1
[functions]
arn = "{arn}"
endpoint = "https://localhost:{port}"
connections_warm = 3
[[route]]
path = "/away/*"
placement = "functions"
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[RunningHost, TlsFront]]:
    """The Invoke API with the same app, signed, behind TLS."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    (home / "shop.py").write_text(APP)
    there = Settings(
        app=AppSection(name="shop", web="shop:app", spill=True),
        functions=FunctionsSection(),
        servers=ServersSection(),
        directory=str(home),
    )
    with RunningHost(there) as host, TlsFront(host.port, tmp_path).running() as front:
        yield host, front


def environment(host: RunningHost, front: TlsFront) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": host.key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": host.key.secret_access_key,
        "AWS_CA_BUNDLE": str(front.authority),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def ask(run: PeakerRun, path: str) -> tuple[int, str, str | None]:
    connection = http.client.HTTPConnection(*run.address, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.getheader("x-peaker-ran")
    finally:
        connection.close()


def test_requests_run_on_the_named_function_signed_over_warm_connections_and_are_paid_for(
    tmp_path: Path, elsewhere: tuple[RunningHost, TlsFront]
) -> None:
    host, front = elsewhere
    home = tmp_path / "servers"
    home.mkdir()
    (home / "shop.py").write_text(APP)
    settings = SETTINGS.format(arn=ARN, port=front.port)
    with PeakerRun.with_settings(home, settings, environment=environment(host, front)) as run:
        assert front.connections == 3, "opened before the first request"
        assert ask(run, "/here")[:2] == (200, "no function")
        for _ in range(5):
            assert ask(run, "/away/1")[:2] == (200, "shop-web")
        assert front.connections == 3, "and used again"
        run.settle(lambda found: found["spend"]["today_usd"] > 0)
        record = read_run(run.state)
        assert record is not None
        names = {process.name for process in record.processes}
        assert names == {"control", "worker-0"}, "there is no function host here"


@pytest.mark.parametrize("wrong", ["another certificate", "another key"])
def test_who_is_not_lambda_or_not_allowed_gets_nothing_and_servers_serve_on(
    tmp_path: Path, elsewhere: tuple[RunningHost, TlsFront], wrong: str
) -> None:
    host, front = elsewhere
    home = tmp_path / "servers"
    home.mkdir()
    (home / "shop.py").write_text(APP)
    given = environment(host, front)
    given.pop("AWS_CA_BUNDLE") if wrong == "another certificate" else given.update(AWS_SECRET_ACCESS_KEY="guessed")
    settings = SETTINGS.format(arn=ARN, port=front.port)
    with PeakerRun.with_settings(home, settings, environment=given) as run:
        assert ask(run, "/away/1")[0] == 503
        assert ask(run, "/here")[:2] == (200, "no function")
        assert ("no connection to AWS Lambda" in run.errors) == (wrong == "another certificate")


def test_without_credentials_the_start_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    nowhere = {name: "" for name in os.environ if name.startswith("AWS_")}
    nowhere |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
    }
    run = PeakerRun.with_settings(tmp_path, SETTINGS.format(arn=ARN, port=9), environment=nowhere)
    run.start()
    assert run.wait() != 0
    assert "there are no AWS credentials" in run.errors
    assert "give the servers a role" in run.errors
