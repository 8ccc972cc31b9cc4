"""A small app deployed to a real AWS account, asked over the internet, and destroyed.

Nobody has run this yet: it was written without an account. Expect to mend it.

    PEAKER_AWS_LIVE=1 scripts/test tests/aws_live

takes the credentials and the region that the AWS CLI would take. The first test costs well under a cent. The second
needs PEAKER_AWS_LIVE_CERTIFICATE (an ACM certificate) and PEAKER_AWS_LIVE_IMAGE (the image of examples like the app
below, in ECR, by its digest); a load balancer, its addresses and one Fargate task of 0.25 vCPU for about 15 minutes
cost about one cent by list prices of us-east-1 (2026-09), and ten if somebody forgets it for two hours.

Each test destroys its stack at its end, also when it fails; the bucket peaker-ACCOUNT-REGION with the zips stays, as
do the queues that hold data (none here). If a run is killed: `aws cloudformation delete-stack --stack-name
peaker-live-functions` (or `peaker-live-hybrid`).
"""

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WAIT_S_MAX = 300.0
COMMAND_S_MAX = 2400.0

APP = """
import os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    where = b"function" if os.environ.get("AWS_LAMBDA_FUNCTION_NAME") else b"server"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": where + b" " + scope["path"].encode()})
"""
FUNCTIONS = """
[app]
name = "peaker-live-functions"
web = "hello:app"
[functions]
memory_mb = 256
concurrency_max = 2
[[route]]
path = "/*"
placement = "functions"
[aws]
region = "{region}"
log_retention_days = 1
"""
HYBRID = """
[app]
name = "peaker-live-hybrid"
web = "hello:app"
spill = true
[servers]
count_min = 1
count_max = 1
instance_type = "t4g.nano"
keep_alive_s = 75
[functions]
memory_mb = 256
concurrency_max = 2
[aws]
region = "{region}"
certificate_arn = "{certificate}"
image = "{image}"
log_retention_days = 1
"""


@pytest.fixture(scope="module")
def region() -> str:
    found = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not found:
        pytest.skip("AWS_REGION is not set")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project whose stack is destroyed at the end, whatever happened."""
    (tmp_path / "hello.py").write_text(APP)
    yield tmp_path
    settings = (tmp_path / "peaker.toml").read_text()
    name = settings.partition('name = "')[2].partition('"')[0]
    done = peaker(tmp_path, "destroy", "aws", "--confirm", name)
    assert done.returncode == 0, f"{name} STILL STANDS AND COSTS MONEY: {done.stderr}"


def peaker(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "peaker", *arguments],
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )


def deploy(home: Path) -> Any:
    done = peaker(home, "deploy", "aws", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(url: str, *, trusts_any_name: bool = False) -> tuple[int, str]:
    """Status and body; a new address is asked again until it answers, for WAIT_S_MAX."""
    trust = ssl.create_default_context()
    if trusts_any_name:  # The certificate is for the domain, and the balancer is asked by its own name.
        trust.check_hostname = False
    deadline = time.monotonic() + WAIT_S_MAX
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30, context=trust) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(5)  # DNS of a new address: there is nothing here to be told by.


def test_functions_behind_a_url_answer_change_and_go(project: Path, region: str) -> None:
    (project / "peaker.toml").write_text(FUNCTIONS.format(region=region))
    first = deploy(project)
    assert first["status"] == "CREATE_COMPLETE"
    assert asked(first["outputs"]["Address"] + "a%2Fb") == (200, "function /a/b")
    assert deploy(project)["changes"] == []
    (project / "hello.py").write_text(APP.replace('b"function"', 'b"changed"'))
    assert deploy(project)["status"] == "UPDATE_COMPLETE"
    assert asked(first["outputs"]["Address"]) == (200, "changed /")


def test_servers_on_fargate_keep_their_count_over_new_code(project: Path, region: str) -> None:
    import boto3

    certificate, image = (os.environ.get(f"PEAKER_AWS_LIVE_{name}") for name in ("CERTIFICATE", "IMAGE"))
    if not certificate or not image:
        (project / "peaker.toml").write_text(HYBRID.format(region=region, certificate="", image=""))
        pytest.skip("PEAKER_AWS_LIVE_CERTIFICATE and PEAKER_AWS_LIVE_IMAGE are not set")
    (project / "peaker.toml").write_text(HYBRID.format(region=region, certificate=certificate, image=image))
    address = deploy(project)["outputs"]["Address"]
    assert asked(f"https://{address}/", trusts_any_name=True) == (200, "server /")
    service = {"cluster": "peaker-live-hybrid", "service": "peaker-live-hybrid"}
    ecs = boto3.client("ecs", region_name=region)
    ecs.update_service(**service, desiredCount=2)
    (project / "hello.py").write_text(APP + "# changed\n")
    assert deploy(project)["status"] == "UPDATE_COMPLETE"
    (found,) = ecs.describe_services(cluster=service["cluster"], services=[service["service"]])["services"]
    assert found["desiredCount"] == 2
