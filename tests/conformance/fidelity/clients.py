"""Endpoints the table is tried on: Peaker's function host, and what is common to all of them."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fidelity.functions import FUNCTIONS, lay_out

from peaker.settings import FunctionSection, FunctionsSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost
from peaker.wire.sigv4 import SigningKey, sign

ANSWER_S_MAX = 40.0
REGION = "eu-central-1"


def boto3_client(url: str, key: SigningKey) -> Any:
    """A Lambda client that never tries twice."""
    import boto3
    import botocore.config

    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=ANSWER_S_MAX, connect_timeout=5),
    )


class HttpEndpoint:
    """One Invoke endpoint by its URL; `name_of` gives the name a function goes by there."""

    def __init__(self, url: str, key: SigningKey) -> None:
        self._url = url
        self._key = key
        self._client = boto3_client(url, key)

    def call(self, function: str, **parameters: Any) -> Mapping[str, Any]:
        """As boto3's `invoke`."""
        reply: Mapping[str, Any] = self._client.invoke(FunctionName=function, **parameters)
        return reply

    def raw(
        self, function: str, headers: Mapping[str, str], body: bytes, *, signed: bool = True
    ) -> tuple[int, dict[str, str], bytes]:
        """One request, byte by byte."""
        address = urlsplit(self._url)
        target = f"/2015-03-31/functions/{function}/invocations"
        sent = {"Host": address.netloc, **headers}
        if signed:
            added = sign(
                self._key,
                method="POST",
                target=target,
                headers=sent.items(),
                body=body,
                region=REGION,
                epoch_s=time.time(),
            )
            sent |= dict(added)
        assert address.hostname is not None
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=ANSWER_S_MAX)
        try:
            connection.request("POST", target, body, sent)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()


class Peaker:
    """Two hosts, since the form of the log belongs to a whole host."""

    def __init__(self, hosts: Mapping[str, RunningHost]) -> None:
        self._ends = {form: HttpEndpoint(host.url, host.key) for form, host in hosts.items()}

    def _end(self, function: str) -> HttpEndpoint:
        return self._ends["json" if function.startswith("json_") else "text"]

    def call(self, function: str, **parameters: Any) -> Mapping[str, Any]:
        """As boto3's `invoke`."""
        return self._end(function).call(function, **parameters)

    def raw(
        self, function: str, headers: Mapping[str, str], body: bytes, *, signed: bool = True
    ) -> tuple[int, dict[str, str], bytes]:
        """One request, byte by byte."""
        return self._end(function).raw(function, headers, body, signed=signed)


def _settings(code: Path, log_format: str) -> Settings:
    return Settings(
        functions=FunctionsSection(like="lambda", log_format=log_format),
        servers=ServersSection(drain_s_max=5.0),
        function=tuple(
            FunctionSection(
                name=one.name,
                handler=one.handler,
                memory_mb=one.memory_mb,
                timeout_s=float(one.timeout_s),
                concurrency_max=one.concurrency,
            )
            for one in FUNCTIONS
            if one.log_format == log_format
        ),
        directory=str(code),
    )


@contextmanager
def peaker(directory: Path) -> Iterator[Peaker]:
    """Peaker with all functions deployed."""
    code = lay_out(directory)
    texts = RunningHost(_settings(code, "text"), with_events=True)
    with texts as text, RunningHost(_settings(code, "json")) as as_json:
        yield Peaker({"text": text, "json": as_json})
