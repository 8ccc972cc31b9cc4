"""The Invoke API over HTTP: a private unix socket for the gate, a signed port for boto3 and the AWS CLI."""

from __future__ import annotations

import json
import socket
import uuid

from peaker.clock import Clock
from peaker.functions.catalogue import Catalogue
from peaker.functions.service import InvokeService, error_answer, plain_refusal
from peaker.http1_server import HttpAnswer, HttpLimits, HttpRequest, HttpServer, StreamedAnswer
from peaker.meter.function_usage import Caller
from peaker.unix_socket import UnixListener
from peaker.wire.functions_api import parse_read
from peaker.wire.host_header import is_local_name
from peaker.wire.invoke_api import CALLER_HEADER, UNKNOWN_OPERATION, parse_call
from peaker.wire.lambda_errors import PAYLOAD_BYTES_MAX, InvokeApiError, refused, request_too_large
from peaker.wire.sigv4 import SignatureRefused, SigningKey, verify

_CALLERS = {"direct": Caller.DIRECT, "event": Caller.EVENT}


class Front:
    """Both doors of one service. Who can open the unix socket (mode 0600) is trusted; the port asks for a signature."""

    def __init__(
        self, service: InvokeService, catalogue: Catalogue, *, key: SigningKey, clock: Clock, limits: HttpLimits
    ) -> None:
        self._service = service
        self._catalogue = catalogue
        self._key = key
        self._clock = clock
        self._private = HttpServer(self._answer, limits=limits, refuse=_refuse)
        self._signed = HttpServer(self._answer_if_signed, limits=limits, refuse=_refuse)

    async def listen(self, private: UnixListener, signed: socket.socket) -> None:
        """Begin to serve; the sockets stay the caller's."""
        await self._private.listen(private.socket)
        await self._signed.listen(signed)

    async def drain(self, timeout_s: float, *, idle_s: float = 0.0) -> bool:
        """Take nothing more, answer what was begun; False if something was cut off.

        `idle_s` is how long idle connections of the signed port stay open.
        """
        # One after the other: only the gate's side has work that matters at a stop, and it gets all the time there is.
        whole = await self._private.drain(timeout_s)
        return await self._signed.drain(timeout_s, idle_s=idle_s) and whole

    async def _answer(self, request: HttpRequest, caller: Caller = Caller.GATE) -> HttpAnswer | StreamedAnswer:
        def set_on_gone(action: object) -> None:
            request.on_gone = action  # type: ignore[assignment]  # one attribute, no bound method a request

        try:
            call = parse_call(request.method, request.target, request.headers)
        except InvokeApiError as error:
            return self._read(request) if error.kind == UNKNOWN_OPERATION else error_answer(error)
        if caller is Caller.GATE and (told := request.headers.get(CALLER_HEADER)):  # others that use the gate's door
            caller = _CALLERS.get(told, caller)
        return await self._service.answer(call, request.body, caller=caller, set_on_gone=set_on_gone)

    def _read(self, request: HttpRequest) -> HttpAnswer:
        """Everything but invocations."""
        try:
            document = self._catalogue.answer(parse_read(request.method, request.target))
        except InvokeApiError as error:
            return error_answer(error)
        headers = [("content-type", "application/json"), ("x-amzn-requestid", str(uuid.uuid4()))]
        return HttpAnswer(status=200, headers=headers, body=json.dumps(document).encode())

    async def _answer_if_signed(self, request: HttpRequest) -> HttpAnswer | StreamedAnswer:
        try:
            check_caller(request.headers)
            verify(
                self._key,
                method=request.method,
                target=request.target,
                headers=request.header_list,
                body=request.body,
                epoch_s=self._clock.epoch_s(),
            )
        except SignatureRefused as error:
            return error_answer(refused(error.kind, error.what))
        except InvokeApiError as error:
            return error_answer(error)
        return await self._answer(request, Caller.DIRECT)


def check_caller(headers: dict[str, str]) -> None:
    """Keep web pages out: any page a developer opens can make the browser post to loopback.

    A page cannot set Host: it is the page's own name, or after DNS rebinding still that name. So Host must be an
    address or localhost, and an Origin, which browsers add, must be this very host.

    Raises:
        InvokeApiError: 403.
    """
    host = headers.get("host", "")
    if not is_local_name(host):
        raise refused("AccessDeniedException", f"Host {host[:200]!r} is neither an address nor localhost.")
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        raise refused("AccessDeniedException", f"Origin {origin[:200]!r} may not call this API.")


def _refuse(status: int, reason: str) -> HttpAnswer:
    return error_answer(request_too_large()) if status == 413 else plain_refusal(status, reason)


def invoke_limits(connections_max: int) -> HttpLimits:
    """Lambda's payload limit, and room for the headers of a signed call."""
    return HttpLimits(body_bytes_max=PAYLOAD_BYTES_MAX, connections_max=connections_max, idle_s_max=300.0)
