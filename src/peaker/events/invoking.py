"""Running a function for an event: one call of the Invoke API, and what its answer means for the event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from peaker import http1
from peaker.policy.retry import Ending, Reason
from peaker.unix_socket import is_listened_on
from peaker.wire.function_names import LATEST
from peaker.wire.invoke_api import CALLER_HEADER, EVENT_RUN_HEADER

INSTANCE_WAIT_S_MAX = 10.0
"""How long a call waits for an instance before it is throttled."""

ANSWER_MARGIN_S = 15.0
"""On top of that wait and the function's time limit: an instance is ended, and that is told, within this time."""

CONNECTIONS_MAX = 10_000
ERROR_CHARACTERS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run that is wanted. `timeout_s` is the function's own limit."""

    function: str
    payload: bytes
    request_id: str
    timeout_s: float
    qualifier: str = ""
    headers: Sequence[tuple[str, str]] = ()
    failures: int = 0
    is_again: bool = False
    """Nobody knows what became of an attempt before, so that it may still run, or have ended unheard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How it went. `answer` is None where the function was not run, or nobody knows what it answered.

    `was_throttled` and `host_is_away` tell the kinds of NOT_STARTED apart; in the first there was no room, in the
    second no byte was sent to anybody.
    """

    ending: Ending
    error: str = ""
    answer: bytes | None = None
    function_error: str = ""
    executed_version: str = LATEST
    reason: Reason | None = None
    was_throttled: bool = False
    host_is_away: bool = False


class Invoke(Protocol):
    """What runs functions for the dispatcher."""

    async def run(self, call: Call) -> Ran:
        """Run once; every outcome is an answer."""
        ...

    def is_there(self) -> bool:
        """Somebody would take a call now."""
        ...


class HostInvoke:
    """The function host of this machine, over its unix socket."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._pool = http1.Pool(http1.Address(unix=socket_path), connections_max=CONNECTIONS_MAX)

    async def run(self, call: Call) -> Ran:
        """Run once."""
        target = f"/2015-03-31/functions/{quote(call.function, safe='')}/invocations"
        if call.qualifier:
            target += f"?Qualifier={quote(call.qualifier, safe='')}"
        headers = [
            ("host", "localhost"),
            ("content-type", "application/json"),
            ("x-request-id", call.request_id),
            ("x-peaker-deadline-ms", str(int(INSTANCE_WAIT_S_MAX * 1000))),
            (CALLER_HEADER, "event"),
            (EVENT_RUN_HEADER, f"{call.failures};again" if call.is_again else str(call.failures)),
            *call.headers,
        ]
        head = http1.request_head("POST", target, headers, len(call.payload))
        timeout_s = INSTANCE_WAIT_S_MAX + call.timeout_s + ANSWER_MARGIN_S
        try:
            answer = await self._pool.exchange(head, call.payload, timeout_s=timeout_s)
        except http1.NotSent as error:
            return Ran(ending=Ending.NOT_STARTED, error=str(error), host_is_away=True)
        except http1.EffectUnknown as error:
            # The function may have run: what it did is done again, as after Lambda's own system errors.
            return Ran(ending=Ending.NOT_STARTED, error=f"nobody knows whether it ran: {error}")
        return ran_of(answer)

    def is_there(self) -> bool:
        """The host listens."""
        return is_listened_on(self._path)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()


def ran_of(answer: http1.Answer) -> Ran:
    """What an answer of the Invoke API means for an event; the one table of it."""
    if 200 <= answer.status < 300:
        function_error = answer.headers.get("x-amz-function-error", "")
        return Ran(
            ending=Ending.FAILED if function_error else Ending.SUCCEEDED,
            error=error_told(answer.body) if function_error else "",
            answer=answer.body,
            function_error=function_error,
            executed_version=answer.headers.get("x-amz-executed-version", LATEST),
        )
    kind = answer.headers.get("x-amzn-errortype", "").partition(":")[0] or f"HTTP {answer.status}"
    told = f"{kind}: {answer.body[:ERROR_CHARACTERS_MAX].decode('utf-8', 'replace')}"
    if answer.status == 429 or answer.status >= 500:
        return Ran(ending=Ending.NOT_STARTED, error=told, was_throttled=answer.status == 429)
    reason = Reason.RECURSIVE_LOOP if kind == "RecursiveInvocationException" else Reason.REFUSED
    return Ran(ending=Ending.REFUSED, error=told, reason=reason)


def error_told(answer: bytes) -> str:
    """`ValueError: no such object` of the body of a failed run, or that body as it is."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and "errorMessage" in document:
        return f"{document.get('errorType', 'Error')}: {document['errorMessage']}"[:ERROR_CHARACTERS_MAX]
    return answer[:ERROR_CHARACTERS_MAX].decode("utf-8", "replace")
