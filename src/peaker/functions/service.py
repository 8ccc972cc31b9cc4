"""What the Invoke API does, apart from HTTP: find the function, get an instance, run, report."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from peaker.clock import Clock
from peaker.errors import AppImportError, AppStartError, PeakerError, Throttled, Unavailable
from peaker.functions.function_log import Report
from peaker.functions.launcher import InstanceDied, Outcome
from peaker.functions.pool import Lease, Pool
from peaker.http1_server import HttpAnswer
from peaker.wire.invoke_api import (
    LATEST,
    PAYLOAD_BYTES_MAX,
    InvocationType,
    InvokeApiError,
    InvokeCall,
    error_headers,
    events_not_taken,
    function_not_found,
    invalid_content,
    request_too_large,
    result_headers,
    service_error,
    start_failed,
    too_many_requests,
)

WAIT_S_MAX = 60.0
"""How long a call that does not say so waits for an instance: as long as boto3 waits for an answer."""

SetOnGone = Callable[[Callable[[], object] | None], None]
"""Says what to do if the caller goes away; None for nothing."""


def _no_caller(_: Callable[[], object] | None) -> None:
    """For callers that do not go away."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


_json = json.JSONDecoder(parse_constant=_refuse_constant)


class InvocationLog(Protocol):
    """What is written of each invocation (functions/function_log.py: FunctionLog)."""

    def start(self, function: str, request_id: str, *, with_tail: bool = False) -> None:
        """It begins."""
        ...

    def write(self, function: str, request_id: str, line: str) -> None:
        """One line about it."""
        ...

    def end(self, function: str, report: Report) -> bytes | None:
        """It has ended; returns its last lines where they were asked for."""
        ...


class InvokeService:
    """The functions of one host by name."""

    def __init__(self, pools: Mapping[str, Pool], *, log: InvocationLog, clock: Clock) -> None:
        self._pools = pools
        self._log = log
        self._clock = clock

    async def answer(self, call: InvokeCall, payload: bytes, *, set_on_gone: SetOnGone = _no_caller) -> HttpAnswer:
        """Run one call; every outcome is an answer.

        A caller that goes away while its call waits for an instance takes the call with it (`set_on_gone` is given
        what ends the wait); once it runs, it runs to its end, is reported and billed.
        """
        request_id = call.request_id or str(uuid.uuid4())
        try:
            return await self._run(call, payload, request_id, set_on_gone)
        except InvokeApiError as error:
            return error_answer(error, request_id)

    async def _run(self, call: InvokeCall, payload: bytes, request_id: str, set_on_gone: SetOnGone) -> HttpAnswer:
        pool = self._pools.get(call.function)
        if pool is None or call.qualifier not in ("", LATEST):
            raise function_not_found(call.function + (f":{call.qualifier}" if call.qualifier else ""))
        if call.kind is InvocationType.EVENT:
            raise events_not_taken()
        if call.kind is InvocationType.DRY_RUN:
            return HttpAnswer(status=204, headers=[("x-amzn-requestid", request_id)])
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise request_too_large()
        event = payload or b"{}"
        _check_json(event)
        headers = _headers_for_function(call)
        try:
            lease = await _acquire(pool, call.deadline_s or WAIT_S_MAX, set_on_gone)
        except (Throttled, Unavailable) as error:
            raise too_many_requests(str(error)) from error
        except (AppImportError, AppStartError) as error:
            return self._not_started(pool, request_id, error, call)
        self._log.start(pool.spec.name, request_id, with_tail=call.log_tail)
        return await self._run_on(lease, pool, event, request_id, headers)

    async def _run_on(
        self, lease: Lease, pool: Pool, event: bytes, request_id: str, headers: dict[str, str]
    ) -> HttpAnswer:
        begun_s = self._clock.now_s()
        try:
            outcome = await lease.run(event, request_id=request_id, headers=headers)
        except InstanceDied as death:
            duration_ms = (self._clock.now_s() - begun_s) * 1000
            return self._died(pool, request_id, death, duration_ms)
        if outcome.log_lines_dropped:
            text = f"{outcome.log_lines_dropped} lines were dropped: the invocation printed too much."
            self._log.write(pool.spec.name, request_id, text)
        tail = self._log.end(pool.spec.name, _report(pool, request_id, outcome))
        return HttpAnswer(
            status=200, headers=result_headers(request_id, outcome.function_error, tail), body=outcome.payload
        )

    def _died(self, pool: Pool, request_id: str, death: InstanceDied, duration_ms: float) -> HttpAnswer:
        self._log.write(pool.spec.name, request_id, f"RequestId: {request_id} Error: {death.message}")
        report = Report(
            request_id=request_id,
            duration_ms=duration_ms,
            memory_mb=pool.spec.memory_mb,
            max_memory_mb=pool.spec.memory_mb if death.error_type == "Runtime.OutOfMemory" else 0,
            status="timeout" if death.timed_out else "error",
            error_type="" if death.timed_out else death.error_type,
        )
        tail = self._log.end(pool.spec.name, report)
        return HttpAnswer(
            status=200, headers=result_headers(request_id, "Unhandled", tail), body=death.payload(request_id)
        )

    def _not_started(self, pool: Pool, request_id: str, error: PeakerError, call: InvokeCall) -> HttpAnswer:
        kind = "Runtime.ImportModuleError" if isinstance(error, AppImportError) else "Runtime.ExitError"
        self._log.write(pool.spec.name, request_id, f"INIT_REPORT Status: error Error Type: {kind} {error}")
        tail = f"{error}\n".encode() if call.log_tail else None
        return HttpAnswer(
            status=200,
            headers=result_headers(request_id, "Unhandled", tail),
            body=start_failed(request_id, kind, str(error)),
        )


async def _acquire(pool: Pool, wait_s: float, set_on_gone: SetOnGone) -> Lease:
    """The part of a call that ends with its caller."""
    task = asyncio.current_task()
    set_on_gone(task.cancel if task is not None else None)
    try:
        return await pool.acquire(wait_s)
    finally:
        set_on_gone(None)


def _check_json(payload: bytes) -> None:
    try:
        _json.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise invalid_content(str(error)[:300]) from error


def _headers_for_function(call: InvokeCall) -> dict[str, str]:
    """What travels on to the instance, in the form it expects."""
    headers = {}
    if call.traceparent:
        headers["traceparent"] = call.traceparent
    if call.trace_id:
        headers["x-amzn-trace-id"] = call.trace_id
    if call.client_context:
        headers["x-amz-client-context"] = _client_context(call.client_context)
    return headers


def _client_context(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        is_object = isinstance(_json.decode(text), dict)
    except (ValueError, RecursionError):  # binascii.Error is a ValueError
        is_object = False
    if not is_object:
        raise InvokeApiError(
            400,
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
            Type="User",
        )
    return text


def _report(pool: Pool, request_id: str, outcome: Outcome) -> Report:
    return Report(
        request_id=request_id,
        duration_ms=outcome.duration_ms,
        memory_mb=pool.spec.memory_mb,
        max_memory_mb=outcome.max_memory_mb,
        init_ms=outcome.init_ms if outcome.cold else None,
        status="error" if outcome.function_error else "",
    )


def error_answer(error: InvokeApiError, request_id: str = "") -> HttpAnswer:
    """An error of the Invoke API as HTTP."""
    return HttpAnswer(
        status=error.status, headers=error_headers(error, request_id or str(uuid.uuid4())), body=error.body()
    )


def plain_refusal(status: int, reason: str) -> HttpAnswer:
    """What never became a call, in the same form."""
    return error_answer(
        service_error(reason) if status >= 500 else InvokeApiError(status, "InvalidRequestContentException", reason)
    )
