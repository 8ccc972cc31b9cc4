"""`interfaces.Functions` in memory: the host's own service and pools on simulated instances, on any loop and clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from peaker.app import FunctionSpec
from peaker.clock import Clock
from peaker.errors import DeadlineExceeded, FunctionCrashed, Unavailable
from peaker.functions.function_log import Report
from peaker.functions.pool import Pool
from peaker.functions.service import InvokeService
from peaker.functions.starting import StartModel
from peaker.functions.starts import Starts
from peaker.gate.streamed_reply import EventStreamReply
from peaker.http1_server import HttpAnswer, StreamedAnswer
from peaker.messages import Invocation, Reply
from peaker.testing.pieces_in_memory import PiecesInMemory
from peaker.testing.simulated_instances import SimulatedLauncher
from peaker.wire.invoke_api import InvokeCall, invoke_error


class ReportsOnly:
    """An invocation log that keeps the reports."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, Report]] = []

    def start(self, function: str, request_id: str, *, with_tail: bool = False) -> None:
        """Nothing is kept of a start."""

    def write(self, function: str, request_id: str, line: str) -> None:
        """Nor of lines."""

    def died(self, function: str, request_id: str, message: str, error_type: str) -> None:
        """Nor of deaths: the report tells."""

    def init_failed(self, function: str, request_id: str, init_ms: float, error_type: str) -> None:
        """Nor of failed starts."""

    def end(self, function: str, report: Report) -> None:
        """Keep what is billed."""
        self.reports.append((function, report))


class _Caller:
    """Who waits for an answer, and what is to happen when they leave."""

    def __init__(self) -> None:
        self._on_gone: Callable[[], object] | None = None

    def set_on_gone(self, action: Callable[[], object] | None) -> None:
        self._on_gone = action

    def leave(self) -> None:
        if self._on_gone is not None:
            self._on_gone()


class SimulatedFunctions:
    """Functions without processes and without HTTP; all else is what the function host runs.

    Args:
        functions: what there is, each with the launcher of its instances.
        clock: the loop's own time.
        starts_in_flight_max: over all functions.
        instances_max: over all functions, None for no limit.
        model: how the platform's pace differs; None for none.
    """

    def __init__(
        self,
        functions: Mapping[FunctionSpec, SimulatedLauncher],
        *,
        clock: Clock,
        starts_in_flight_max: int = 4,
        instances_max: int | None = None,
        model: Callable[[FunctionSpec], StartModel] | None = None,
    ) -> None:
        self.starts = Starts(in_flight_max=starts_in_flight_max, instances_max=instances_max)
        self.pools = {
            spec.name: Pool(spec, launcher, starts=self.starts, clock=clock, model=model(spec) if model else None)
            for spec, launcher in functions.items()
        }
        self.log = ReportsOnly()
        self.is_reachable = True
        self._service = InvokeService(self.pools, log=self.log, clock=clock)
        self._running: set[asyncio.Task[HttpAnswer | StreamedAnswer]] = set()

    async def invoke(self, invocation: Invocation) -> Reply:
        """As `interfaces.Functions.invoke`."""
        answer = await self._answer(invocation, _Caller())
        assert isinstance(answer, HttpAnswer), "what is not asked for as a stream is whole"
        return _reply(answer)

    async def invoke_streaming(self, invocation: Invocation) -> EventStreamReply:
        """As `interfaces.StreamingFunctions.invoke_streaming`."""
        deadline_s = asyncio.get_running_loop().time() + invocation.timeout_s
        caller = _Caller()
        answer = await self._answer(invocation, caller, is_streaming=True)
        if isinstance(answer, StreamedAnswer):
            return EventStreamReply(PiecesInMemory(answer.pieces, deadline_s, on_gone=caller.leave))
        raise invoke_error(answer.status, dict(answer.headers), answer.body) or FunctionCrashed("it is no stream.")

    async def _answer(
        self, invocation: Invocation, caller: _Caller, *, is_streaming: bool = False
    ) -> HttpAnswer | StreamedAnswer:
        if not self.is_reachable:
            raise Unavailable("the function host cannot be reached.")
        call = InvokeCall(
            function=invocation.function,
            qualifier=invocation.qualifier,
            request_id=invocation.request_id,
            deadline_s=invocation.timeout_s,
            is_streaming=is_streaming,
        )
        task = asyncio.ensure_future(self._service.answer(call, invocation.payload, set_on_gone=caller.set_on_gone))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait({task}, timeout=invocation.timeout_s)
        if not task.done():
            caller.leave()
            raise DeadlineExceeded("no whole answer came in time.")
        return task.result()

    def close(self) -> None:
        """End all instances."""
        for pool in self.pools.values():
            pool.close()


def _reply(answer: HttpAnswer) -> Reply:
    headers = dict(answer.headers)
    failure = invoke_error(answer.status, headers, answer.body)
    if failure is not None:
        raise failure
    return Reply(payload=answer.body, function_error=headers.get("x-amz-function-error", ""), headers=headers)
