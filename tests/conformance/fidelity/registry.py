"""The fidelity table: behaviours of Lambda, each with its source at AWS and a check that runs on any Invoke endpoint.

A behaviour is one decorated function that is given an `Endpoint` and asserts. The modules beside this one register
theirs by being imported (`all_behaviours`); a new one is added to the list there. `test_lambda_fidelity.py` runs all of
them on Peaker, `benchmarks/fidelity` on other tools, and `page.py` writes docs/reference/lambda-fidelity.md.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

MODULES = ("context", "environment", "results", "errors", "logs", "invocations", "api_errors")
"""Where behaviours stand, in the order of the page."""


class Endpoint(Protocol):
    """Where the functions of `tests/apps/fidelity_functions` are deployed by the names in `functions.py`."""

    def call(self, function: str, **parameters: Any) -> Mapping[str, Any]:
        """boto3's `invoke` on one of them; raises botocore's ClientError."""
        ...

    def raw(
        self, function: str, headers: Mapping[str, str], body: bytes, *, signed: bool = True
    ) -> tuple[int, dict[str, str], bytes]:
        """One HTTP request of the Invoke operation: status, headers with lower-case names, body."""
        ...


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an invocation came to."""

    status: int
    body: bytes
    error: str | None
    request_id: str
    version: str | None
    log: list[str] = field(default_factory=list)
    """Lines of X-Amz-Log-Result."""

    @property
    def value(self) -> Any:
        """The payload."""
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """`what` is a sentence; `source` the page at AWS, or the code of its runtime, that says so.

    `differs` says what Peaker does instead, where it does: the check must then fail on it.
    """

    id: str
    area: str
    what: str
    source: str
    check: Callable[[Endpoint], None]
    differs: str = ""


BEHAVIOURS: list[Behaviour] = []


def behaviour(area: str, what: str, *, source: str, differs: str = "") -> Callable[..., Callable[[Endpoint], None]]:
    """Register the decorated check."""

    def register(check: Callable[[Endpoint], None]) -> Callable[[Endpoint], None]:
        BEHAVIOURS.append(
            Behaviour(
                id=check.__name__.replace("_", "-"), area=area, what=what, source=source, check=check, differs=differs
            )
        )
        return check

    return register


def all_behaviours() -> list[Behaviour]:
    """Import every module of the table."""
    for name in MODULES:
        importlib.import_module(f"fidelity.{name}")
    return BEHAVIOURS


def invoke(endpoint: Endpoint, function: str = "deeds", payload: bytes | None = None, **event: Any) -> Answer:
    """Run a deed, `invoke(endpoint, do="say", text="a")`, and take its log's tail with it.

    Parameters of the API are given with a capital letter, as boto3 names them.
    """
    parameters = {name: event.pop(name) for name in list(event) if name[0].isupper()}
    body = json.dumps(event).encode() if payload is None else payload
    reply = endpoint.call(function, Payload=body, LogType="Tail", **parameters)
    tail = base64.b64decode(reply.get("LogResult", "")).decode("utf-8", "replace")
    return Answer(
        status=reply["StatusCode"],
        body=reply["Payload"].read(),
        error=reply.get("FunctionError"),
        request_id=reply["ResponseMetadata"].get("RequestId", ""),
        version=reply.get("ExecutedVersion"),
        log=tail.splitlines(),
    )


def result(endpoint: Endpoint, function: str = "deeds", **event: Any) -> Any:
    """The value of a run that must succeed."""
    answer = invoke(endpoint, function, **event)
    assert answer.error is None, f"{event} failed: {answer.body[:300]!r}"
    return answer.value


def refused(endpoint: Endpoint, kind: str, status: int, function: str = "deeds", **parameters: Any) -> dict[str, Any]:
    """The call must be refused with this error; returns boto3's view of it."""
    from botocore.exceptions import ClientError

    try:
        reply = endpoint.call(function, **parameters)
    except ClientError as error:
        response: Any = error.response
        seen = (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"])
        assert seen == (kind, status), f"refused with {seen}"
        return dict(response)
    raise AssertionError(f"it was answered with {reply['StatusCode']}: {reply['Payload'].read()[:200]!r}")


def forget_instance(endpoint: Endpoint, function: str = "deeds") -> None:
    """End the idle instance: the next invocation is a cold start. How the end is answered is another check's."""
    from botocore.exceptions import ClientError

    with contextlib.suppress(ClientError):
        invoke(endpoint, function, do="leave at once", code=1)
