"""From a call of the Invoke API to an invocation that may be run: everything that can be refused before it starts."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from peaker.clock import Clock
from peaker.functions.pool import Pool
from peaker.functions.published import Published
from peaker.meter.function_usage import Caller
from peaker.wire.function_names import LATEST
from peaker.wire.invoke_api import InvokeCall
from peaker.wire.lambda_errors import (
    ASYNC_PAYLOAD_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    InvokeApiError,
    event_too_large,
    function_not_found,
    invalid_content,
    invalid_parameter,
    recursive_invocation,
    request_too_large,
)
from peaker.wire.trace_header import first_run_of, parse_trace

RECURSION_RUNS_MAX = 16
"""Runs of one function in one chain of calls ("approximately 16": Developer Guide, "Recursive loop detection")."""

ARN_HEADER = "lambda-runtime-invoked-function-arn"
"""As the Runtime API calls it; given where the caller named a version."""

VERSION_HEADER = "x-amz-executed-version"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


_json = json.JSONDecoder(parse_constant=_refuse_constant)


@dataclass(slots=True, kw_only=True)  # not frozen: that costs a call for each field of each invocation
class Prepared:
    """One invocation, checked. `headers` are what travels on to the instance; `wait_s` is None for the default."""

    pool: Pool
    request_id: str
    payload: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    version: str = LATEST
    caller: Caller = Caller.GATE
    log_tail: bool = False
    wait_s: float | None = None
    is_nested: bool = False
    """It comes from within a function, whose instance is held until it is over."""

    @property
    def function(self) -> str:
        """Its name."""
        return self.pool.spec.name


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEvent:
    """One event, checked. `headers` come with its runs as they came with it; `hops` is how many runs have led to it."""

    request_id: str
    function: str
    payload: bytes
    qualifier: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    hops: int = 0


class Preparation:
    """Turns calls into `Prepared`, or refuses them in Lambda's words."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        published: Published,
        *,
        clock: Clock,
        chance: random.Random,
        jobs: Collection[str] = (),
    ) -> None:
        self._pools = pools
        self._jobs = frozenset(jobs)
        self._published = published
        self._clock = clock
        self._chance = chance

    def prepare(self, call: InvokeCall, payload: bytes, request_id: str, caller: Caller) -> Prepared:
        """Check everything that does not need an instance.

        Raises:
            InvokeApiError: no such function or version, payload or client context wrong or too large, or a chain of
                calls that has come back too often.
        """
        pool, version = self._found(call)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise request_too_large()
        event = payload or b"{}"
        _check_json(event)
        trace_header, is_nested = self._traced(call)
        return Prepared(
            pool=pool,
            request_id=request_id,
            payload=event,
            headers=self._headers(call, trace_header, version),
            version=version,
            caller=caller,
            log_tail=call.log_tail,
            wait_s=call.deadline_s,
            # An event holds no instance while it waits for one.
            is_nested=is_nested and caller is not Caller.EVENT,
        )

    def prepare_event(self, call: InvokeCall, payload: bytes, request_id: str) -> PreparedEvent:
        """As `prepare`, for what is kept first; it may be for a job, too.

        A chain of runs that is too long is no reason to refuse: the event becomes a dead letter, and is seen.

        Raises:
            InvokeApiError: no such function or version, or payload wrong or too large.
        """
        if call.function not in self._jobs:
            self._found(call)
        if len(payload) > ASYNC_PAYLOAD_BYTES_MAX:
            raise event_too_large(len(payload))
        event = payload or b"{}"
        _check_json(event)
        trace = parse_trace(call.trace_id, epoch_s=self._clock.epoch_s(), chance=self._chance)
        headers = {"x-amzn-trace-id": str(trace)}
        if call.traceparent:
            headers["traceparent"] = call.traceparent
        return PreparedEvent(
            request_id=request_id,
            function=call.function,
            payload=event,
            qualifier=call.qualifier,
            headers=headers,
            hops=trace.runs,
        )

    def _found(self, call: InvokeCall) -> tuple[Pool, str]:
        pool = self._pools.get(call.function)
        if call.function in self._jobs:
            raise invalid_parameter(
                f"{call.function} is a job, which may run for days; allowed: InvocationType = 'Event'."
            )
        if pool is None:
            raise function_not_found(self._published.arn(call.function, call.qualifier))
        return pool, self._published.version_of(call.function, call.qualifier)

    def _traced(self, call: InvokeCall) -> tuple[str, bool]:
        """The trace header with this run in it, and whether it comes from within a function."""
        epoch_s = self._clock.epoch_s()
        if not call.trace_id:
            return first_run_of(call.function, epoch_s=epoch_s, chance=self._chance), False
        trace = parse_trace(call.trace_id, epoch_s=epoch_s, chance=self._chance)
        if trace.runs_of(call.function) >= RECURSION_RUNS_MAX:
            raise recursive_invocation(self._published.arn(call.function), RECURSION_RUNS_MAX)
        return trace.with_run_of(call.function), bool(trace.lineage)

    def _headers(self, call: InvokeCall, trace_header: str, version: str) -> dict[str, str]:
        """What travels on to the instance, in the form it expects."""
        headers = {"x-amzn-trace-id": trace_header}
        if call.traceparent:
            headers["traceparent"] = call.traceparent
        # "Lambda passes the ClientContext object to your function for synchronous invocations only" (API Reference):
        # an event that is kept has none.
        if call.client_context:
            headers["x-amz-client-context"] = decode_client_context(call.client_context)
        if call.qualifier:
            headers[ARN_HEADER] = self._published.arn(call.function, call.qualifier)
            headers[VERSION_HEADER] = version
        return headers


def decode_client_context(encoded: str) -> str:
    """X-Amz-Client-Context as JSON text; raises InvokeApiError where it is not an object in base64."""
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


def _check_json(payload: bytes) -> None:
    try:
        _json.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise invalid_content(str(error)[:300]) from error
