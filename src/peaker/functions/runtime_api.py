"""Lambda's Runtime API, as one instance's runtime sees it: what may be said when, and what it is answered.

One `RuntimeApi` belongs to one instance, whose process is the only one that may speak to it. Paths, headers, states,
status codes and bodies are those of "Using the Lambda runtime API for custom runtimes" (AWS Lambda Developer Guide)
and, where that is silent, of AWS's own emulator (aws-lambda-runtime-interface-emulator, `rapi/`, `core/states.go`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from peaker.http1_server import BodySink, HttpAnswer, HttpRequest
from peaker.units import MIB

RESPONSE_BYTES_MAX = 6 * MIB + 100
"""What Lambda takes: 6 MB for the payload and a little for what stands around it."""

_ERROR_CAUSE_TYPE = "application/vnd.aws.lambda.error.cause+json"
_MODE = "lambda-runtime-function-response-mode"
_ERROR_TYPE = "lambda-runtime-function-error-type"
_ERROR_BODY = "lambda-runtime-function-error-body"


_RESPONSE = re.compile("/2018-06-01/runtime/invocation/([^/]+)/response")


class RuntimeState(Enum):
    """STARTED -> READY | INIT_ERROR; READY -> RUNNING -> [STREAMING ->] RESPONDED -> READY. The values are AWS's names.

    READY: it waits for an invocation. RUNNING: it has one and has not answered. STREAMING: its answer is on its way, in
    pieces. RESPONDED: it has answered and not asked for the next.
    """

    STARTED = "Started"
    INIT_ERROR = "InitError"
    READY = "Ready"
    RUNNING = "Running"
    STREAMING = "InvocationResponse"
    RESPONDED = "ResponseSent"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeInvocation:
    """One event for the runtime; `trace_id` and `client_context` (JSON) are "" where there is none."""

    request_id: str
    payload: bytes
    deadline_epoch_ms: int
    function_arn: str
    trace_id: str = ""
    client_context: str = ""

    def answer(self) -> HttpAnswer:
        """As the answer to `invocation/next`."""
        headers = [
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", self.request_id),
            ("lambda-runtime-deadline-ms", str(self.deadline_epoch_ms)),
            ("lambda-runtime-invoked-function-arn", self.function_arn),
            ("lambda-runtime-trace-id", self.trace_id),
            ("lambda-runtime-client-context", self.client_context),
        ]
        return HttpAnswer(status=200, headers=[(name, value) for name, value in headers if value], body=self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeResult:
    """What the runtime answered, b"" where it was streamed; `is_error` for what X-Amz-Function-Error tells."""

    payload: bytes
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told of what the runtime says."""

    on_ready: Callable[[], None]
    """It asks for an invocation and there is none: its start, or its work after an answer, is over."""
    on_begun: Callable[[], None]
    """It has got the invocation given last."""
    on_result: Callable[[RuntimeResult], None]
    on_init_error: Callable[[str, bytes], None]
    """Its start failed: the type it names, and the body it sent."""
    on_stream: Callable[[str, asyncio.Transport], bool]
    """Its answer, of this content type, begins to come over this connection; False has it collected first."""
    on_piece: Callable[[bytes], None]
    """The next of that answer; after the last comes `on_result`."""


class RuntimeApi:
    """The state machine; `answer` is the handler of an `HttpServer`."""

    def __init__(self, listener: Listener) -> None:
        self.state = RuntimeState.STARTED
        self._listener = listener
        self._given: RuntimeInvocation | None = None
        self._current: RuntimeInvocation | None = None
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._streaming: HttpRequest | None = None

    def give(self, invocation: RuntimeInvocation) -> None:
        """The event to be run next; the one before must have been answered."""
        self._given = invocation
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(True)
                return

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer one request; `invocation/next` waits as long as there is nothing to run."""
        path = request.target.partition("?")[0]
        for method, pattern, handle in _ROUTES:
            if found := pattern.fullmatch(path):
                if request.method != method:
                    return HttpAnswer(status=405)
                return await handle(self, request, *found.groups())
        return HttpAnswer(
            status=404, headers=[("content-type", "text/plain; charset=utf-8")], body=b"404 page not found\n"
        )

    async def ping(self, _: HttpRequest) -> HttpAnswer:
        """In no documentation, but AWS answers it."""
        return HttpAnswer(status=200, headers=[("content-type", "text/plain")], body=b"pong")

    def refuse(self, status: int, reason: str) -> HttpAnswer:
        """What never reached `answer`; a body that is too large is taken for the response that is awaited."""
        if status != 413:
            return _refusal(status, "InvalidRequest", reason)
        if self.state is RuntimeState.RUNNING:
            self._finish(response_too_large())
        return _too_large()

    async def next(self, request: HttpRequest) -> HttpAnswer:
        """The next event, as soon as there is one."""
        if self.state in (RuntimeState.INIT_ERROR, RuntimeState.STREAMING):
            return self._forbidden(RuntimeState.READY.value)
        if self.state is RuntimeState.RUNNING and self._current is not None:
            return self._current.answer()  # Asked again before it has answered: the same event again.
        if self.state is not RuntimeState.READY:
            self.state, self._current = RuntimeState.READY, None
            self._listener.on_ready()
        while self._given is None:
            if not await self._is_given(request):
                return HttpAnswer(status=500)  # Nobody reads it.
        self._current, self._given = self._given, None
        self.state = RuntimeState.RUNNING
        self._listener.on_begun()
        return self._current.answer()

    async def _is_given(self, request: HttpRequest) -> bool:
        """Wait for `give`; False where the runtime has hung up."""
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        request.on_gone = lambda: None if waiting.done() else waiting.set_result(False)
        try:
            return await waiting
        finally:
            request.on_gone = None
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _check_id(self, request_id: str) -> HttpAnswer | None:
        """Before the state, so that a wrong id changes nothing."""
        if self._current is None or request_id != self._current.request_id:
            return _refusal(400, "InvalidRequestID", "Invalid request ID")
        return None

    async def response(self, request: HttpRequest, request_id: str) -> HttpAnswer:
        """What the function returned."""
        if wrong := self._check_id(request_id):
            return wrong
        if self.state is RuntimeState.STREAMING and request is self._streaming:
            self._finish(_result(request, is_streamed=True))
            return _accepted()
        if self.state is not RuntimeState.RUNNING:
            return self._forbidden("InvocationResponse")
        mode = request.headers.get(_MODE, "")
        if mode not in ("", "streaming"):
            message = f"Invalid function response mode: {mode}"
            self._finish(RuntimeResult(payload=_failure("Runtime.InvalidResponseModeHeader", message), is_error=True))
            return _refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")
        if len(request.body) > RESPONSE_BYTES_MAX:
            self._finish(response_too_large())
            return _too_large()
        self._finish(_result(request, is_streamed=bool(mode)))
        return _accepted()

    def open_body(self, request: HttpRequest, transport: asyncio.Transport) -> BodySink | None:
        """An `OpenBody`: a response that is streamed to one who reads it so."""
        found = _RESPONSE.fullmatch(request.target)
        is_now = self.state is RuntimeState.RUNNING and self._current is not None
        if not is_now or found is None or request.method != "POST" or request.headers.get(_MODE, "") != "streaming":
            return None
        if self._check_id(found[1]) is not None:
            return None
        if not self._listener.on_stream(request.headers.get("content-type", ""), transport):
            return None
        self.state, self._streaming = RuntimeState.STREAMING, request
        return _Streaming(self._listener.on_piece, self._broken)

    def _broken(self) -> None:
        if self.state is RuntimeState.STREAMING:
            message = "The connection ended before the response did."
            self._finish(RuntimeResult(payload=_failure("Runtime.TruncatedResponse", message), is_error=True))

    async def error(self, request: HttpRequest, request_id: str) -> HttpAnswer:
        """What the function failed with."""
        if wrong := self._check_id(request_id):
            return wrong
        if self.state is not RuntimeState.RUNNING:
            return self._forbidden("InvocationErrorResponse")
        self._finish(RuntimeResult(payload=_error_body(request), is_error=True))
        return _accepted()

    async def init_error(self, request: HttpRequest) -> HttpAnswer:
        """The runtime cannot start."""
        if self.state is not RuntimeState.STARTED:
            return self._forbidden("InitError")
        self.state = RuntimeState.INIT_ERROR
        self._listener.on_init_error(request.headers.get(_ERROR_TYPE, ""), request.body)
        return _accepted()

    def _finish(self, result: RuntimeResult) -> None:
        self.state = RuntimeState.RESPONDED
        self._listener.on_result(result)

    def _forbidden(self, wanted: str) -> HttpAnswer:
        return _refusal(
            403,
            "InvalidStateTransition",
            f"State transition from {self.state.value} to {wanted} failed for runtime. "
            "Error: State transition is not allowed",
        )


class _Streaming:
    """A `BodySink`."""

    def __init__(self, on_piece: Callable[[bytes], None], on_broken: Callable[[], None]) -> None:
        self.feed = on_piece
        self.broken = on_broken


def response_too_large() -> RuntimeResult:
    """What the caller gets for a response over the limit."""
    message = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes)."
    return RuntimeResult(payload=_failure("Function.ResponseSizeTooLarge", message), is_error=True)


def _result(request: HttpRequest, *, is_streamed: bool) -> RuntimeResult:
    """A streamed response may end in trailers that tell of an error in the middle of it."""
    trailers = dict(request.header_list) if is_streamed else {}
    if error_type := trailers.get(_ERROR_TYPE, ""):
        return RuntimeResult(payload=_trailing_error(trailers, error_type), is_error=True)
    return RuntimeResult(payload=request.body)


def _trailing_error(trailers: dict[str, str], error_type: str) -> bytes:
    """The error's JSON, which travels in base64; the type alone where that cannot be read."""
    try:
        return base64.b64decode(trailers.get(_ERROR_BODY, ""), validate=True) or _failure(error_type, "")
    except ValueError:
        return _failure(error_type, "")


def _error_body(request: HttpRequest) -> bytes:
    """As it came; of the form that carries a cause for X-Ray only the members that are for the caller."""
    if request.headers.get("content-type", "") != _ERROR_CAUSE_TYPE:
        return request.body
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return b'"Invalid error body"'
    members = ("errorMessage", "errorType", "stackTrace")
    return json.dumps({name: document[name] for name in members if name in document}).encode()


def _failure(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


def _accepted() -> HttpAnswer:
    return _json(202, {"status": "OK"})


def _too_large() -> HttpAnswer:
    reason = f"Exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes)."
    return _refusal(413, "RequestEntityTooLarge", reason)


def _refusal(status: int, error_type: str, message: str) -> HttpAnswer:
    return _json(status, {"errorMessage": message, "errorType": error_type})


def _json(status: int, document: dict[str, str]) -> HttpAnswer:
    body = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    return HttpAnswer(status=status, headers=[("content-type", "application/json")], body=body)


_Handle = Callable[..., Awaitable[HttpAnswer]]
_ROUTES: list[tuple[str, re.Pattern[str], _Handle]] = [
    ("GET", re.compile("/2018-06-01/ping"), RuntimeApi.ping),
    ("GET", re.compile("/2018-06-01/runtime/invocation/next"), RuntimeApi.next),
    ("POST", _RESPONSE, RuntimeApi.response),
    ("POST", re.compile("/2018-06-01/runtime/invocation/([^/]+)/error"), RuntimeApi.error),
    ("POST", re.compile("/2018-06-01/runtime/init/error"), RuntimeApi.init_error),
]
