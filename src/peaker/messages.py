"""The frozen values that cross a boundary between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Headers = tuple[tuple[bytes, bytes], ...]
"""Lower-case names and values as ASGI carries them, in the order received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request with its whole body, as the gate sends it to a function."""

    method: str
    raw_path: bytes
    query_string: bytes = b""
    headers: Headers = ()
    body: bytes = b""
    scheme: str = "http"
    http_version: str = "1.1"
    client: tuple[str, int] | None = None
    server: tuple[str, int | None] | None = None
    root_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One whole HTTP response."""

    status: int
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNotes:
    """What a function tells about its own run beside its answer; zero or False where it does not say."""

    cold: bool = False
    init_ms: float = 0.0
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One run of a function, asked for.

    `payload` is the event as JSON; `timeout_s` is how long the caller waits for the answer.
    """

    function: str
    payload: bytes
    request_id: str
    timeout_s: float
    qualifier: str = ""
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One run of a function, answered.

    `function_error` is "" for success, else `Handled` or `Unhandled` as in X-Amz-Function-Error;
    `headers` are those of the Invoke API's answer, names in lower case.
    """

    payload: bytes
    function_error: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])


DEDUP_S = 300.0
"""How long a deduplication key holds where nothing else is said: five minutes, as in an SQS FIFO queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened and wants `function` run with `payload` (JSON). All times are epoch seconds.

    Args:
        id: names the event, and is the request id of its runs; a second event with the id of one that is still
            known is a duplicate of it.
        function: which function is to run; a version of it where `qualifier` says so.
        source: where it comes from, as people and batches tell events apart: `invoke`, `schedule/nightly`.
        headers: what travels on to the function beside the payload (trace headers), names in lower case.
        dedup_key: of two events of one function and source with the same key within `dedup_s` the second is dropped.
        group: events of one function, source and group run one at a time, in the order in which they were put.
        not_before_s: it is not run earlier; 0 for at once.
        accepted_at_s: when it was put into the queue; 0 until then, and the queue fills it in.
        hops: how many functions' runs in a row have led to it.
    """

    id: str
    function: str
    payload: bytes
    source: str = "invoke"
    qualifier: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    dedup_key: str = ""
    dedup_s: float = DEDUP_S
    group: str = ""
    not_before_s: float = 0.0
    accepted_at_s: float = 0.0
    hops: int = 0


JSONValue = Any
"""What `json.loads` returns."""
