"""The examiner of `interfaces.Functions`: the same assertions for every body, simulated, local, AWS, or a stranger's.

    asyncio.run(check_functions(make))

`make` returns an async context manager of a `Functions` behind which the handlers of `peaker.testing.examined` are
deployed under their own names, with `SLEEPS_TIMEOUT_S` and `SLEEPS_CONCURRENCY_MAX` for `sleeps`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from peaker.errors import (
    DeadlineExceeded,
    FunctionCrashed,
    InvocationRefused,
    InvokeError,
    PeakerError,
    Throttled,
)
from peaker.interfaces import Functions
from peaker.messages import Invocation, Reply

EXAMINED = ("echo", "raises", "exits", "sleeps")
SLEEPS_TIMEOUT_S = 1.0
SLEEPS_CONCURRENCY_MAX = 2

MakeFunctions = Callable[[], AbstractAsyncContextManager[Functions]]
_ANSWER_S_MAX = 30.0


async def check_functions(make: MakeFunctions) -> None:
    """Examine one body; raises AssertionError with what it should have done."""
    async with make() as functions:
        for check in CHECKS:
            await check(functions)


def _invocation(function: str, event: Any, *, request_id: str = "examined-1", timeout_s: float = 30.0) -> Invocation:
    return Invocation(function=function, payload=json.dumps(event).encode(), request_id=request_id, timeout_s=timeout_s)


async def _expect(error: type[InvokeError], functions: Functions, invocation: Invocation, why: str) -> InvokeError:
    """The invocation must end with exactly this error."""
    try:
        async with asyncio.timeout(_ANSWER_S_MAX):
            reply = await functions.invoke(invocation)
    except PeakerError as raised:
        if type(raised) is not error:
            said = f"{why}: expected {error.__name__}, got {type(raised).__name__}: {raised}"
            raise AssertionError(said) from raised
        return raised
    raise AssertionError(f"{why}: expected {error.__name__}, got a reply: {reply.payload[:200]!r}")


async def returns_what_the_handler_returned(functions: Functions) -> None:
    """Every JSON value, text outside ASCII, a large one."""
    events: list[Any] = [{}, None, [1, 2.5, True], "text", {"ü": "\u2603 \U0001f600"}, {"large": "x" * 1_000_000}]
    for event in events:
        reply = await functions.invoke(_invocation("echo", event))
        assert reply.function_error == "", f"echo of {str(event)[:40]} failed: {reply.payload[:200]!r}"
        assert json.loads(reply.payload)["event"] == event, "the event or the result was changed on its way"


async def passes_the_request_id_on(functions: Functions) -> None:
    """The caller's id is the function's."""
    reply = await functions.invoke(_invocation("echo", {}, request_id="examined-request-id"))
    assert json.loads(reply.payload)["request_id"] == "examined-request-id"


async def keeps_instances_between_invocations(functions: Functions) -> None:
    """One after the other, an instance is used again."""
    first = json.loads((await functions.invoke(_invocation("echo", {}))).payload)
    second = json.loads((await functions.invoke(_invocation("echo", {}))).payload)
    assert second["calls"] > 1, f"calls {first['calls']}, then {second['calls']}: every call got an instance of its own"


async def tells_a_handlers_exception_as_a_reply(functions: Functions) -> None:
    """It is an answer, not a failure of the functions."""
    reply: Reply = await functions.invoke(_invocation("raises", {"text": "no such seat"}))
    assert reply.function_error == "Unhandled"
    told = json.loads(reply.payload)
    assert (told["errorType"], told["errorMessage"]) == ("ValueError", "no such seat")


async def says_that_the_effect_of_a_crash_is_unknown(functions: Functions) -> None:
    """And goes on with the next invocation."""
    error = await _expect(FunctionCrashed, functions, _invocation("exits", {}), "the process ended")
    assert error.started is None, "after a crash nobody knows whether it ran"
    await functions.invoke(_invocation("echo", {}))


async def ends_a_run_at_its_time_limit(functions: Functions) -> None:
    """By killing it."""
    why = f"a run of 60 s with timeout_s = {SLEEPS_TIMEOUT_S}"
    await _expect(DeadlineExceeded, functions, _invocation("sleeps", {"s": 60}), why)


async def stops_waiting_when_the_caller_does(functions: Functions) -> None:
    """timeout_s of the invocation is shorter than the run."""
    invocation = _invocation("sleeps", {"s": 0.5}, timeout_s=0.1)
    await _expect(DeadlineExceeded, functions, invocation, "the caller waits 0.1 s for a run of 0.5 s")
    # By the end of this one, the run that was given up is over as well.
    reply = await functions.invoke(_invocation("sleeps", {"s": 0.6}))
    assert json.loads(reply.payload) == 0.6, "the answer to an earlier invocation came to a later one"


async def refuses_what_could_never_run(functions: Functions) -> None:
    """An unknown function, no JSON, too large; each known not to have run."""
    broken = Invocation(function="echo", payload=b"{not json", request_id="r", timeout_s=30)
    large = Invocation(function="echo", payload=b'"' + b"x" * 6_300_000 + b'"', request_id="r", timeout_s=30)
    for invocation, why in (
        (_invocation("there-is-no-such-function", {}), "an unknown function"),
        (broken, "a payload that is not JSON"),
        (large, "a payload over 6 MB"),
    ):
        error = await _expect(InvocationRefused, functions, invocation, why)
        assert error.started is False, f"{why}: it never ran"


async def throttles_above_concurrency_max(functions: Functions) -> None:
    """Exactly those above it; the others run to their end."""
    above = 3
    outcomes = await asyncio.gather(
        *(functions.invoke(_invocation("sleeps", {"s": 0.4})) for _ in range(SLEEPS_CONCURRENCY_MAX + above)),
        return_exceptions=True,
    )
    throttled = [outcome for outcome in outcomes if isinstance(outcome, Throttled)]
    assert len(throttled) == above, f"of {len(outcomes)} at once {len(throttled)} were throttled: {outcomes}"
    assert all(error.started is False for error in throttled), "a throttled invocation was not started"
    assert sum(isinstance(outcome, Reply) for outcome in outcomes) == SLEEPS_CONCURRENCY_MAX


async def runs_many_at_once_without_mixing_them_up(functions: Functions) -> None:
    """Each caller gets its own answer."""

    async def one(number: int) -> None:
        reply = await functions.invoke(_invocation("echo", {"number": number}, request_id=f"many-{number}"))
        told = json.loads(reply.payload)
        assert (told["event"], told["request_id"]) == ({"number": number}, f"many-{number}")

    await asyncio.gather(*(one(number) for number in range(30)))


CHECKS: tuple[Callable[[Functions], Awaitable[None]], ...] = (
    returns_what_the_handler_returned,
    passes_the_request_id_on,
    keeps_instances_between_invocations,
    tells_a_handlers_exception_as_a_reply,
    says_that_the_effect_of_a_crash_is_unknown,
    ends_a_run_at_its_time_limit,
    stops_waiting_when_the_caller_does,
    refuses_what_could_never_run,
    throttles_above_concurrency_max,
    runs_many_at_once_without_mixing_them_up,
)
"""Also usable one by one, as the parameters of a test."""
