"""Functions over the Lambda Invoke API: the one client that the gate has for all of them."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

from peaker import http1
from peaker.errors import DeadlineExceeded, FunctionCrashed, InvokeError, Throttled, Unavailable
from peaker.gate.streamed_reply import EventStreamReply
from peaker.messages import Invocation, Reply
from peaker.wire.invoke_api import invoke_error

Headers = list[tuple[str, str]]
Sign = Callable[[str, str, Headers, bytes], Headers]
"""(method, target, headers, body) -> the headers to send, signed; `peaker.wire.sigv4` has the signature itself."""

_ERROR_BYTES_MAX = 64 * 1024


class InvokeClient:
    """AWS Lambda, or the function host of this machine (over its unix socket, unsigned).

    `qualifier` is the version of invocations that name none.
    """

    def __init__(
        self,
        address: http1.Address,
        *,
        host: str = "localhost",
        sign: Sign | None = None,
        qualifier: str = "",
        connections_max: int = 1000,
        idle_s_max: float = 30.0,
    ) -> None:
        self._pool = http1.Pool(address, connections_max=connections_max, idle_s_max=idle_s_max)
        self._host = host
        self._sign = sign
        self._qualifier = qualifier

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run once and return the reply; raises what `interfaces.Functions.invoke` lists."""
        head = self._head(invocation, f"/2015-03-31/functions/{quote(invocation.function, safe='')}/invocations")
        try:
            answer = await self._pool.exchange(head, invocation.payload, timeout_s=invocation.timeout_s)
        except (http1.NotSent, http1.EffectUnknown) as error:
            raise _in_our_terms(error) from error
        failure = invoke_error(answer.status, answer.headers, answer.body)
        if failure is not None:
            raise failure
        return Reply(
            payload=answer.body,
            function_error=answer.headers.get("x-amz-function-error", ""),
            headers=answer.headers,
        )

    async def invoke_streaming(self, invocation: Invocation) -> EventStreamReply:
        """As `interfaces.StreamingFunctions.invoke_streaming`."""
        path = f"/2021-11-15/functions/{quote(invocation.function, safe='')}/response-streaming-invocations"
        head = self._head(invocation, path)
        try:
            answer = await self._pool.open(head, invocation.payload, timeout_s=invocation.timeout_s)
            if answer.status == HTTPStatus.OK:
                return EventStreamReply(answer)
            try:
                body = await _read_error(answer)
            finally:
                answer.close()
        except (http1.NotSent, http1.EffectUnknown) as error:
            raise _in_our_terms(error) from error
        raise invoke_error(answer.status, answer.headers, body) or FunctionCrashed(f"HTTP {answer.status}.")

    async def warm(self, connections: int, *, timeout_s: float = 5.0) -> None:
        """Open connections ahead of need; raises Unavailable where that fails."""
        try:
            await self._pool.warm(connections, timeout_s=timeout_s)
        except http1.NotSent as error:
            raise Unavailable(str(error)) from error

    def close(self) -> None:
        """Close idle connections; those in use close with their exchange."""
        self._pool.close()

    def _head(self, invocation: Invocation, target: str) -> bytes:
        if qualifier := invocation.qualifier or self._qualifier:
            target += f"?Qualifier={quote(qualifier, safe='')}"
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


def _in_our_terms(error: http1.NotSent | http1.EffectUnknown) -> InvokeError:
    """What is known about the other side, as `interfaces.Functions` says it."""
    if isinstance(error, http1.NotSent):
        return (Throttled if isinstance(error, http1.NoConnectionFree) else Unavailable)(str(error))
    return (DeadlineExceeded if isinstance(error, http1.AnswerTimeout) else FunctionCrashed)(str(error))


async def _read_error(answer: http1.OpenAnswer) -> bytes:
    """The body of an error, as far as it is of use."""
    body = b""
    while len(body) < _ERROR_BYTES_MAX and (part := await answer.read()):
        body += part
    return body
