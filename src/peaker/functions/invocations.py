"""Running one prepared invocation: get an instance, run, write its log, count what it is billed for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from peaker.clock import Clock
from peaker.errors import AppImportError, AppStartError, PeakerError, Throttled, Unavailable
from peaker.functions.function_log import Report
from peaker.functions.launcher import InstanceDied, Outcome
from peaker.functions.lease import Lease
from peaker.functions.load_handler import HandlerImportError, start_failure
from peaker.functions.pool import Pool
from peaker.functions.prepared import Prepared
from peaker.functions.stream import ResponseStream
from peaker.meter.function_usage import FunctionMeter
from peaker.policy.starts import admits
from peaker.wire.lambda_errors import FUNCTION_CONCURRENCY, HOST_CONCURRENCY, InvokeApiError, too_many_requests

WAIT_S_MAX = 60.0
"""How long a call that does not say so waits for an instance: as long as boto3 waits for an answer."""

SetOnGone = Callable[[Callable[[], object] | None], None]
"""Says what to do if the caller goes away; None for nothing."""


def no_caller(_: Callable[[], object] | None) -> None:
    """For callers that do not go away."""


class InvocationLog(Protocol):
    """What is written of each invocation (functions/function_log.py: FunctionLog)."""

    def start(self, function: str, request_id: str, *, with_tail: bool = False) -> None:
        """It begins."""
        ...

    def write(self, function: str, request_id: str, line: str) -> None:
        """One line about it."""
        ...

    def died(self, function: str, request_id: str, message: str, error_type: str) -> None:
        """Its instance ended while it ran."""
        ...

    def init_failed(self, function: str, request_id: str, init_ms: float, error_type: str) -> None:
        """No instance could be made for it."""
        ...

    def end(self, function: str, report: Report) -> bytes | None:
        """It has ended; returns its last lines where they were asked for."""
        ...


@dataclass(slots=True, kw_only=True)  # not frozen: that costs a call for each field of each invocation
class Ran:
    """What an invocation came to: `function_error` is "" for success; `tail` is its log where it was asked for."""

    payload: bytes
    function_error: str = ""
    tail: bytes | None = None
    billed_ms: int = 0


class Invocations:
    """All that run on one host."""

    def __init__(self, *, log: InvocationLog, clock: Clock, meter: FunctionMeter | None = None) -> None:
        self.log = log
        self._clock = clock
        self._meter = meter

    async def run(
        self, prepared: Prepared, set_on_gone: SetOnGone = no_caller, stream: ResponseStream | None = None
    ) -> Ran:
        """Run it once. A caller that goes away while it waits for an instance takes it with it.

        `stream` takes the response of a function that streams; it learns of a caller that goes away later.

        Raises:
            InvokeApiError: 429, it was not started.
        """
        lease = prepared.pool.acquire_idle()
        if lease is None:
            asked_s = self._clock.now_s()
            try:
                lease = await self._acquire(prepared, set_on_gone)
            except (AppImportError, AppStartError) as error:
                return self._not_started(prepared, error, (self._clock.now_s() - asked_s) * 1000)
        if stream is not None:
            set_on_gone(stream.abandon)
        self.log.start(prepared.function, prepared.request_id, with_tail=prepared.log_tail)
        return await self._run_on(lease, prepared, stream)

    async def _acquire(self, prepared: Prepared, set_on_gone: SetOnGone) -> Lease:
        """The part that ends with its caller."""
        if prepared.is_nested and prepared.pool.must_wait_for_another:
            # The instance it might wait for may be the one that waits for its answer.
            raise self._throttled(prepared, "No instance is free, and a call from within a function does not wait.")
        task = asyncio.current_task()
        set_on_gone(task.cancel if task is not None else None)
        try:
            return await prepared.pool.acquire(prepared.wait_s or WAIT_S_MAX)
        except (Throttled, Unavailable) as error:
            raise self._throttled(prepared, str(error)) from error
        finally:
            set_on_gone(None)

    def _throttled(self, prepared: Prepared, why: str) -> InvokeApiError:
        if self._meter is not None:
            self._meter.throttled(prepared.function, prepared.caller)
        return too_many_requests(_throttle_reason(prepared.pool), why)

    async def _run_on(self, lease: Lease, prepared: Prepared, stream: ResponseStream | None) -> Ran:
        begun_s = self._clock.now_s()
        try:
            outcome = await lease.run(
                prepared.payload, request_id=prepared.request_id, headers=prepared.headers, stream=stream
            )
        except InstanceDied as death:
            return self._died(lease, prepared, death, (self._clock.now_s() - begun_s) * 1000)
        if outcome.log_lines_dropped:
            text = f"{outcome.log_lines_dropped} lines were dropped: the invocation printed too much."
            self.log.write(prepared.function, prepared.request_id, text)
        report = _report(prepared, outcome)
        return self._ended(prepared, report, outcome.payload, outcome.function_error)

    def _died(self, lease: Lease, prepared: Prepared, death: InstanceDied, duration_ms: float) -> Ran:
        request_id = prepared.request_id
        self.log.died(prepared.function, request_id, death.message, death.error_type)
        memory_mb = prepared.pool.spec.memory_mb
        report = Report(
            request_id=request_id,
            # Lambda reports, and bills, the time limit itself; what it takes to end the instance is not counted.
            duration_ms=min(duration_ms, prepared.pool.spec.timeout_s * 1000) if death.timed_out else duration_ms,
            memory_mb=memory_mb,
            max_memory_mb=memory_mb if death.error_type == "Runtime.OutOfMemory" else 0,
            status="timeout" if death.timed_out else "error",
            error_type="" if death.timed_out else death.error_type,
            init_ms=lease.instance.init_ms if lease.cold else None,
        )
        return self._ended(prepared, report, death.payload(request_id), "Unhandled")

    def _ended(self, prepared: Prepared, report: Report, payload: bytes, function_error: str) -> Ran:
        self._count(prepared, report)
        tail = self.log.end(prepared.function, report)
        return Ran(payload=payload, function_error=function_error, tail=tail, billed_ms=report.billed_ms)

    def _not_started(self, prepared: Prepared, error: PeakerError, init_ms: float) -> Ran:
        kind, payload = start_failure(error, prepared.request_id)
        self.log.start(prepared.function, prepared.request_id, with_tail=prepared.log_tail)
        if not isinstance(error, HandlerImportError):
            for line in str(error).splitlines():  # what a handler's import says has been logged where it was run
                self.log.write(prepared.function, prepared.request_id, line)
        self.log.init_failed(prepared.function, prepared.request_id, init_ms, kind)
        return self._ended(prepared, _failed_start(prepared, init_ms, kind), payload, "Unhandled")

    def _count(self, prepared: Prepared, report: Report) -> None:
        if self._meter is None:
            return
        self._meter.ended(
            prepared.function,
            prepared.caller,
            memory_mb=report.memory_mb,
            billed_ms=report.billed_ms,
            duration_ms=report.duration_ms,
            init_ms=report.init_ms,
            failed=bool(report.status),
            timed_out=report.status == "timeout",
        )


def _throttle_reason(pool: Pool) -> str:
    """The function's own limit, or that of the host and what stands behind the app."""
    counts, limit = pool.counts, pool.spec.concurrency_max
    return HOST_CONCURRENCY if admits(counts, limit) and counts.live < limit else FUNCTION_CONCURRENCY


def _failed_start(prepared: Prepared, init_ms: float, error_type: str) -> Report:
    """Lambda bills a start that fails too."""
    return Report(
        request_id=prepared.request_id,
        duration_ms=0.0,
        memory_mb=prepared.pool.spec.memory_mb,
        max_memory_mb=0,
        init_ms=init_ms,
        status="error",
        error_type=error_type,
    )


def _report(prepared: Prepared, outcome: Outcome) -> Report:
    return Report(
        request_id=prepared.request_id,
        duration_ms=outcome.duration_ms,
        memory_mb=prepared.pool.spec.memory_mb,
        max_memory_mb=outcome.max_memory_mb,
        init_ms=outcome.init_ms if outcome.cold else None,
        status="error" if outcome.function_error else "",
    )
