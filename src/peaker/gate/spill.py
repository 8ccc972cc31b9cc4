"""Functions over the Lambda Invoke API: the one client that the gate has for all of them."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from peaker import http1
from peaker.errors import DeadlineExceeded, FunctionCrashed, Throttled, Unavailable
from peaker.messages import Invocation, Reply
from peaker.wire.invoke_api import invoke_error

Headers = list[tuple[str, str]]
Sign = Callable[[str, str, Headers, bytes], Headers]
"""(method, target, headers, body) -> the headers to send, signed; `peaker.wire.sigv4` has the signature itself."""


class InvokeClient:
    """AWS Lambda, or the function host of this machine (over its unix socket, unsigned)."""

    def __init__(
        self,
        address: http1.Address,
        *,
        host: str = "localhost",
        sign: Sign | None = None,
        connections_max: int = 1000,
    ) -> None:
        self._pool = http1.Pool(address, connections_max=connections_max)
        self._host = host
        self._sign = sign

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run once and return the reply; raises what `interfaces.Functions.invoke` lists."""
        head = self._head(invocation)
        try:
            answer = await self._pool.exchange(head, invocation.payload, timeout_s=invocation.timeout_s)
        except http1.NoConnectionFree as error:
            raise Throttled(str(error)) from error
        except http1.NotSent as error:
            raise Unavailable(str(error)) from error
        except http1.AnswerTimeout as error:
            raise DeadlineExceeded(str(error)) from error
        except http1.EffectUnknown as error:
            raise FunctionCrashed(str(error)) from error
        failure = invoke_error(answer.status, answer.headers, answer.body)
        if failure is not None:
            raise failure
        return Reply(
            payload=answer.body,
            function_error=answer.headers.get("x-amz-function-error", ""),
            headers=answer.headers,
        )

    async def warm(self, connections: int) -> None:
        """Open connections ahead of need; raises Unavailable where that fails."""
        try:
            await self._pool.warm(connections)
        except http1.NotSent as error:
            raise Unavailable(str(error)) from error

    def close(self) -> None:
        """Close idle connections; those in use close with their exchange."""
        self._pool.close()

    def _head(self, invocation: Invocation) -> bytes:
        target = f"/2015-03-31/functions/{quote(invocation.function, safe='')}/invocations"
        if invocation.qualifier:
            target += f"?Qualifier={quote(invocation.qualifier, safe='')}"
        headers = [
            ("host", self._host),
            ("content-type", "application/json"),
            ("x-request-id", invocation.request_id),
            ("x-peaker-deadline-ms", str(max(1, int(invocation.timeout_s * 1000)))),
        ]
        headers += [(name.decode("latin-1"), value.decode("latin-1")) for name, value in invocation.headers]
        if self._sign is not None:
            headers = self._sign("POST", target, headers, invocation.payload)
        return http1.request_head("POST", target, headers, len(invocation.payload))
