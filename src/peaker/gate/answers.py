"""What the gate itself answers, and how a whole response is sent."""

from __future__ import annotations

import math
from http import HTTPStatus

from peaker.errors import DeadlineExceeded, InvokeError
from peaker.gate.exchange import Exchange
from peaker.messages import Response

REFUSED_HEADER = b"x-peaker-refused"
RAN_HEADER = b"x-peaker-ran"


def refusal(reason: str, retry_after_s: float) -> Response:
    """503: nothing was done with this request, it may be sent again after `retry_after_s`."""
    seconds = max(1, math.ceil(retry_after_s))
    return _plain(
        HTTPStatus.SERVICE_UNAVAILABLE,
        reason,
        (b"retry-after", str(seconds).encode()),
        (REFUSED_HEADER, reason.encode("latin-1", "replace")),
    )


def failure(error: InvokeError) -> Response:
    """504 or 502: the request was sent to a function, and nobody knows what it has done there."""
    late = isinstance(error, DeadlineExceeded)
    return _plain(
        HTTPStatus.GATEWAY_TIMEOUT if late else HTTPStatus.BAD_GATEWAY,
        "the function did not answer in time" if late else "the function did not answer",
    )


def _plain(status: HTTPStatus, text: str, *headers: tuple[bytes, bytes]) -> Response:
    body = f"{status.value} {status.phrase}: {text}\n".encode()
    return Response(
        status=status.value,
        headers=(
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            *headers,
        ),
        body=body,
    )


async def send_response(exchange: Exchange, response: Response) -> None:
    """Send a whole response through the exchange, so that it is counted like any other."""
    await exchange.send({"type": "http.response.start", "status": response.status, "headers": list(response.headers)})
    await exchange.send({"type": "http.response.body", "body": response.body, "more_body": False})
