"""Calls to S3, SQS, SNS and DynamoDB at one endpoint: a stand-in, whichever it is.

Three protocols (AWS's service models): JSON 1.0 with the operation in X-Amz-Target (SQS, DynamoDB), a form with XML
answers (SNS), and plain HTTP (S3).
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import urlencode, urlsplit

from peaker.clock import Clock
from peaker.errors import PeakerError
from peaker.http1 import Address, Answer, EffectUnknown, NotSent, Pool, request_head
from peaker.wire.sigv4 import SigningKey, sign

CONNECTIONS_MAX = 256
TIMEOUT_S = 10.0
_TARGETS = {"sqs": "AmazonSQS", "dynamodb": "DynamoDB_20120810", "streams": "DynamoDBStreams_20120810"}
_SNS_VERSION = "2010-03-31"


class AwsUnreachable(PeakerError):  # noqa: N818 - named for what is known
    """No whole answer came from the endpoint; whether the call had an effect is not known."""


class AwsRefused(PeakerError):  # noqa: N818
    """The service answered with an error: `code` is its name for it, `status` the HTTP status."""

    def __init__(self, code: str, message: str, *, status: int, where: str) -> None:
        super().__init__(f"{code}: {message or 'no more was said.'}", where=where)
        self.code = code
        self.status = status


class AwsClient:
    """Calls one endpoint in one region.

    Args:
        endpoint_url: http or https, without a path.
        region: that all is in.
        key: that calls are signed with; a stand-in takes any.
        clock: for the time in signatures.
    """

    def __init__(self, endpoint_url: str, *, region: str, key: SigningKey, clock: Clock) -> None:
        parts = urlsplit(endpoint_url)
        is_tls = parts.scheme == "https"
        tls = ssl.create_default_context() if is_tls else None
        address = Address(host=parts.hostname or "", port=parts.port or (443 if is_tls else 80), tls=tls)
        self.endpoint_url = endpoint_url.rstrip("/")
        self.region = region
        self._host = parts.netloc
        self._key = key
        self._clock = clock
        self._pool = Pool(address, connections_max=CONNECTIONS_MAX)

    async def json(
        self,
        service: str,
        operation: str,
        fields: Mapping[str, Any],
        *,
        timeout_s: float = TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Call an operation of `sqs`, `dynamodb` or (DynamoDB) `streams`.

        Raises:
            AwsUnreachable: no whole answer came within `timeout_s`.
            AwsRefused: the service answered with an error.
        """
        own = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"{_TARGETS[service]}.{operation}"}
        signed_for = "dynamodb" if service == "streams" else service
        body = json.dumps(fields).encode()
        answer = await self._send(signed_for, "POST", "/", own | dict(headers or {}), body, timeout_s, operation)
        if answer.status >= 300:
            raise _json_refusal(answer, operation)
        try:
            found = json.loads(answer.body or b"{}")
        except ValueError as error:
            raise AwsUnreachable(f"the answer to {operation} is no JSON: {error}.", where=self.endpoint_url) from error
        return found if isinstance(found, dict) else {}

    async def sns(self, action: str, fields: Mapping[str, str], *, wanted: str) -> str:
        """Call an action of SNS and return the text of the element `wanted` of its answer; errors as `json`."""
        body = urlencode({"Action": action, "Version": _SNS_VERSION, **fields}).encode()
        own = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        answer = await self._send("sns", "POST", "/", own, body, TIMEOUT_S, action)
        text = answer.body.decode("utf-8", "replace")
        if answer.status >= 300:
            raise _xml_refusal(answer, action)
        return element(text, wanted)

    async def s3(
        self, method: str, target: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Call S3 with a path and query that are encoded already; errors as `json`."""
        own = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest(), **(headers or {})}
        answer = await self._send("s3", method, target, own, body, TIMEOUT_S, f"{method} {target}")
        if answer.status >= 300:
            raise _xml_refusal(answer, f"{method} {target}")
        return answer

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    async def _send(  # noqa: PLR0917 - three callers, all here
        self, service: str, method: str, target: str, own: dict[str, str], body: bytes, timeout_s: float, name: str
    ) -> Answer:
        headers = [("host", self._host), *own.items()]
        signed = sign(
            self._key,
            method=method,
            target=target,
            headers=headers,
            body=body,
            region=self.region,
            epoch_s=self._clock.epoch_s(),
            service=service,
        )
        head = request_head(method, target, [*headers, *signed], len(body))
        try:
            return await self._pool.exchange(head, body, timeout_s=timeout_s, is_head=method == "HEAD")
        except (NotSent, EffectUnknown) as error:
            raise AwsUnreachable(f"{name}: {error.what}", where=self.endpoint_url) from error


def element(text: str, name: str) -> str:
    """The text of the first XML element of this name, "" without one."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return unescape(found[1]) if found is not None else ""


def _json_refusal(answer: Answer, operation: str) -> AwsRefused:
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = {}
    fields: dict[str, Any] = found if isinstance(found, dict) else {}
    # As `com.amazonaws.sqs#QueueDoesNotExist`.
    code = str(fields.get("__type") or fields.get("code") or f"HTTP {answer.status}").rpartition("#")[2]
    message = str(fields.get("message") or fields.get("Message") or "")
    return AwsRefused(code, message, status=answer.status, where=operation)


def _xml_refusal(answer: Answer, operation: str) -> AwsRefused:
    text = answer.body.decode("utf-8", "replace")
    code = element(text, "Code") or f"HTTP {answer.status}"
    return AwsRefused(code, element(text, "Message"), status=answer.status, where=operation)
