"""Two stand-ins for CloudFormation, each a process of its own: ministack and moto's server.

Neither knows everything. `without` takes out of a template what one of them does not know, and says what went.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3

REGION = "us-east-1"
START_S_MAX = 60.0

MINISTACK_REFUSES = (
    "AWS::Budgets::Budget",
    "AWS::CloudFront::VpcOrigin",
    "AWS::EC2::Instance",
    "AWS::ECS::CapacityProvider",
    "AWS::ECS::ClusterCapacityProviderAssociations",
)
"""Types that ministack 1.5 calls unrecognized."""

MOTO_FAILS_ON = (
    "AWS::EC2::Instance",  # whose image stands in its launch template
    "AWS::ElasticLoadBalancingV2::Listener",  # one with weights is answered with 500
    "AWS::Lambda::EventInvokeConfig",  # what names an alias is, since moto makes none
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission",
)
"""Types that moto 5.2 cannot make as these templates have them."""

MOTO_PASSES_OVER = (
    "AWS::EC2::SecurityGroup",  # made, but for rules by prefix list
    "AWS::ElasticLoadBalancingV2::TargetGroup",  # made, but for some of their attributes
    "AWS::ApiGatewayV2::Api",
    "AWS::CloudWatch::Alarm",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Url",
    "AWS::Scheduler::Schedule",
)
"""Types that moto says stand, and does not make, or not whole: its log says so, its answers do not."""


@cache
def _client(url: str, service: str, account: int) -> Any:
    # One session each: sessions share what they have read of botocore's data, and making them takes long.
    return boto3.client(
        service,
        endpoint_url=url,
        aws_access_key_id=f"{100_000_000_000 + account}",
        aws_secret_access_key="none",
        region_name=REGION,
    )


@dataclass(frozen=True)
class AwsServer:
    """A running stand-in; each `account` has nothing of another's where the stand-in knows accounts."""

    url: str

    def client(self, service: str, account: int = 1) -> Any:
        return _client(self.url, service, account)

    def environment(self, account: int = 1) -> dict[str, str]:
        """For a command that deploys there."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": f"{100_000_000_000 + account}",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def put_code(self, account: int, build: str) -> dict[str, str]:
        """The zip of a build in a bucket, as parameters of a stack."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as package:
            package.writestr("shop.py", f"def handler(event, context):\n    return {build!r}\n")
        s3, bucket = self.client("s3", account), f"code-{account}"
        if bucket not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
            s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=f"{build}.zip", Body=content.getvalue())
        return {"CodeBucket": bucket, "CodeKey": f"{build}.zip"}


@contextmanager
def ministack(folder: Path) -> Iterator[AwsServer]:
    port = _free_port()
    arguments = ["hypercorn", "ministack.app:app", "--bind", f"127.0.0.1:{port}", "--log-level", "ERROR"]
    with _running(arguments, port, folder, {"GATEWAY_PORT": str(port), "LOG_LEVEL": "ERROR"}) as url:
        yield AwsServer(url)


@contextmanager
def moto(folder: Path) -> Iterator[AwsServer]:
    port = _free_port()
    with _running(["moto.server", "-H", "127.0.0.1", "-p", str(port)], port, folder, {}) as url:
        yield AwsServer(url)


def reset_moto(server: AwsServer) -> None:
    """Everything of all accounts is gone."""
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/moto-api/reset", method="POST"), timeout=10).close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def _running(arguments: list[str], port: int, folder: Path, more: dict[str, str]) -> Iterator[str]:
    with (folder / "stand-in.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *arguments],
            cwd=folder,
            env=os.environ | more | {"TMPDIR": str(folder)},
            stdout=log,
            stderr=log,
        )
        try:
            _await_port(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S_MAX
    while True:
        assert process.poll() is None, f"it ended with {process.returncode}"
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.02)


def without(document: dict[str, Any], kinds: Sequence[str]) -> tuple[dict[str, Any], set[str]]:
    """A template without these types and what is made of them, and the logical ids that went."""
    resources = dict(document["Resources"])
    gone: set[str] = set()
    fresh = {name for name, each in resources.items() if each["Type"] in kinds}
    while fresh:
        gone |= fresh
        for name in fresh:
            del resources[name]
        fresh = {name for name, each in resources.items() if _refers(each.get("Properties", {}), gone)}
    for name, each in resources.items():
        waits = each.get("DependsOn", [])
        left = [other for other in ([waits] if isinstance(waits, str) else waits) if other not in gone]
        resources[name] = {key: value for key, value in each.items() if key != "DependsOn"}
        if left:
            resources[name]["DependsOn"] = left
    outputs = {name: each for name, each in document.get("Outputs", {}).items() if not _refers(each, gone)}
    return {**document, "Resources": resources, "Outputs": outputs}, gone


def _refers(value: Any, names: set[str]) -> bool:
    if isinstance(value, list):
        return any(_refers(each, names) for each in value)
    if not isinstance(value, dict):
        return isinstance(value, str) and any(f"${{{name}}}" in value or f"${{{name}." in value for name in names)
    if value.get("Ref") in names:
        return True
    got = value.get("Fn::GetAtt", [""])
    return (got if isinstance(got, str) else got[0]).partition(".")[0] in names or any(
        _refers(each, names) for each in value.values()
    )


def with_image_ids(document: dict[str, Any]) -> dict[str, Any]:
    """The parameters of AWS's that name system images stand in no stand-in's Systems Manager."""
    found: dict[str, Any] = json.loads(
        re.sub(r"\{\{resolve:ssm:/aws/service/[^}]+\}\}", "ami-0123456789abcdef0", json.dumps(document))
    )
    return found
