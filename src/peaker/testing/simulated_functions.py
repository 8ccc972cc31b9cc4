"""`interfaces.Functions` in memory: the host's own service and pools on simulated instances, on any loop and clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from peaker.app import FunctionSpec
from peaker.clock import Clock
from peaker.errors import DeadlineExceeded, Unavailable
from peaker.functions.function_log import Report
from peaker.functions.pool import Pool
from peaker.functions.service import InvokeService
from peaker.functions.starting import StartModel
from peaker.functions.starts import Starts
from peaker.http1_server import HttpAnswer, StreamedAnswer
from peaker.messages import Invocation, Reply
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
        if not self.is_reachable:
            raise Unavailable("the function host cannot be reached.")
        gone: list[Callable[[], object] | None] = [None]

        def set_on_gone(action: Callable[[], object] | None) -> None:
            gone[0] = action

        call = InvokeCall(
            function=invocation.function,
            qualifier=invocation.qualifier,
            request_id=invocation.request_id,
            deadline_s=invocation.timeout_s,
        )
        task = asyncio.ensure_future(self._service.answer(call, invocation.payload, set_on_gone=set_on_gone))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait({task}, timeout=invocation.timeout_s)
        if not task.done():
            if gone[0] is not None:
                gone[0]()
            raise DeadlineExceeded("no whole answer came in time.")
        answer = task.result()
        assert isinstance(answer, HttpAnswer), "what is not asked for as a stream is whole"
        return _reply(answer)

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
