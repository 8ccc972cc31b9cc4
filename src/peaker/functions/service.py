"""What the Invoke API does, apart from HTTP: every call becomes an answer."""

from __future__ import annotations

import random
import uuid
from collections.abc import Collection, Mapping
from typing import Protocol

from peaker.clock import Clock
from peaker.functions.event_runs import EventRuns
from peaker.functions.invocations import InvocationLog, Invocations, Ran, SetOnGone, no_caller
from peaker.functions.pool import Pool
from peaker.functions.prepared import Preparation, Prepared, PreparedEvent
from peaker.functions.published import Published
from peaker.functions.streamed_calls import StreamedCalls
from peaker.http1_server import HttpAnswer, StreamedAnswer
from peaker.meter.function_usage import Caller, FunctionMeter
from peaker.wire.invoke_api import BILLED_HEADER, InvocationType, InvokeCall, result_headers
from peaker.wire.lambda_errors import InvokeApiError, invalid_parameter, service_error


class EventIntake(Protocol):
    """Where events wait for their function (functions/durable_events.py)."""

    async def take(self, event: PreparedEvent) -> None:
        """Keep it; when this returns, the event is acknowledged, and whatever dies now does not lose it.

        Raises:
            InvokeApiError: 429, there is no room for it; 500, it could not be kept.
        """
        ...


class InvokeService:
    """The functions of one host by name. Events are taken once `events` is set, for `jobs` too."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        *,
        log: InvocationLog,
        clock: Clock,
        meter: FunctionMeter | None = None,
        published: Published | None = None,
        chance: random.Random | None = None,
        jobs: Collection[str] = (),
    ) -> None:
        self.events: EventIntake | None = None
        self.invocations = Invocations(log=log, clock=clock, meter=meter)
        self._event_runs = EventRuns(self.invocations.run, clock)
        self._streamed = StreamedCalls(self.invocations, clock)
        self._chance = chance or random.Random()  # noqa: S311 - it names calls and traces
        self._preparation = Preparation(pools, published or Published(), clock=clock, chance=self._chance, jobs=jobs)

    async def answer(
        self,
        call: InvokeCall,
        payload: bytes,
        *,
        caller: Caller = Caller.GATE,
        set_on_gone: SetOnGone = no_caller,
    ) -> HttpAnswer | StreamedAnswer:
        """Run one call; every outcome is an answer. `caller` is whom it is counted for.

        A caller that goes away while its call waits for an instance takes the call with it (`set_on_gone` is given
        what ends the wait); once it runs, it runs to its end, is reported and billed.
        """
        request_id = call.request_id or _request_id(self._chance)
        try:
            if call.kind is InvocationType.EVENT:
                return await self._take(self._preparation.prepare_event(call, payload, request_id))
            prepared = self._preparation.prepare(call, payload, request_id, caller)
            if call.kind is InvocationType.DRY_RUN:
                return HttpAnswer(status=204, headers=[("x-amzn-requestid", request_id)])
            if call.is_streaming:
                return await self._streamed.answer(prepared, set_on_gone)
            if caller is Caller.EVENT and call.event_run:
                return _result(prepared, await self._run_for_event(prepared, call.event_run, set_on_gone))
            return _result(prepared, await self.invocations.run(prepared, set_on_gone))
        except InvokeApiError as error:
            return error_answer(error, request_id)

    async def _run_for_event(self, prepared: Prepared, event_run: str, set_on_gone: SetOnGone) -> Ran:
        number, _, again = event_run.partition(";")
        return await self._event_runs.run(prepared, number, is_again=again == "again", set_on_gone=set_on_gone)

    async def _take(self, event: PreparedEvent) -> HttpAnswer:
        if self.events is None:
            raise invalid_parameter(
                "InvocationType = 'Event' needs a [[function]] or [[job]]; allowed here: RequestResponse, DryRun."
            )
        await self.events.take(event)
        return HttpAnswer(status=202, headers=[("x-amzn-requestid", event.request_id)])


def _request_id(chance: random.Random) -> str:
    """A random UUID (version 4), in half the time that the uuid module takes."""
    bits = chance.getrandbits(128)
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[bits >> 60 & 3]}{digits[17:20]}-{digits[20:]}"


def _result(prepared: Prepared, ran: Ran) -> HttpAnswer:
    headers = result_headers(prepared.request_id, ran.function_error, ran.tail, prepared.version)
    if prepared.caller is Caller.GATE:
        headers.append((BILLED_HEADER, str(ran.billed_ms)))
    return HttpAnswer(status=200, headers=headers, body=ran.payload)


def error_answer(error: InvokeApiError, request_id: str = "") -> HttpAnswer:
    """An error of the Invoke API as HTTP."""
    return HttpAnswer(status=error.status, headers=error.headers(request_id or str(uuid.uuid4())), body=error.body())


def plain_refusal(status: int, reason: str) -> HttpAnswer:
    """What never became a call, in the same form."""
    return error_answer(
        service_error(reason) if status >= 500 else InvokeApiError(status, "InvalidRequestContentException", reason)
    )
