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


JSONValue = Any
"""What `json.loads` returns."""
