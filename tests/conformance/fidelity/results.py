"""What becomes of an event on its way in, and of a result on its way out."""

from __future__ import annotations

import json
from typing import Any

from fidelity.registry import Endpoint, behaviour, invoke, refused, result
from fidelity.sources import HANDLER, MARSHALLER, QUOTAS

AREA = "Events and results"
PAYLOAD_BYTES_MAX = 6 * 1024 * 1024


def made(endpoint: Endpoint, kind: str, **event: Any) -> bytes:
    answer = invoke(endpoint, do="result", kind=kind, **event)
    assert answer.error is None, answer.body[:300]
    return answer.body


@behaviour(AREA, "Any JSON value is an event: an object, a list, text, a number, true, null.", source=HANDLER)
def events_of_every_kind(endpoint: Endpoint) -> None:
    for event in ({"a": {"b": [1]}}, [1, "two"], "text", 7, 1.5, True, None):
        assert invoke(endpoint, payload=json.dumps(event).encode()).value == {"event": event}


@behaviour(AREA, "A call without a payload is an empty object.", source=HANDLER)
def no_payload(endpoint: Endpoint) -> None:
    reply = endpoint.call("deeds")
    assert json.loads(reply["Payload"].read()) == {"event": {}}


@behaviour(AREA, "Text outside ASCII arrives and returns as it was.", source=HANDLER)
def unicode_both_ways(endpoint: Endpoint) -> None:
    sent = "grüße \u2028 \U0001f600 日本"
    assert result(endpoint, do="echo", value=sent) == sent
    assert json.loads(made(endpoint, "unicode")) == "grüße \u2028 \U0001f600 \x00"


@behaviour(AREA, "A handler that returns nothing is answered with null.", source=HANDLER)
def returns_nothing(endpoint: Endpoint) -> None:
    assert made(endpoint, "none") == b"null"


@behaviour(AREA, "A Decimal is a number with all its digits.", source=MARSHALLER)
def returns_decimal(endpoint: Endpoint) -> None:
    assert made(endpoint, "decimal") == b"1.10000000000000000000000000001"


@behaviour(AREA, "NaN is written by name.", source=MARSHALLER)
def returns_nan(endpoint: Endpoint) -> None:
    assert made(endpoint, "nan") == b"NaN"


@behaviour(AREA, "Bytes inside a result become text.", source=MARSHALLER)
def returns_bytes(endpoint: Endpoint) -> None:
    assert json.loads(made(endpoint, "bytes")) == {"text": "grüße"}


@behaviour(AREA, "A result that is bytes is the answer as it stands.", source=MARSHALLER)
def returns_raw_bytes(endpoint: Endpoint) -> None:
    assert made(endpoint, "raw") == b'{"raw":   1}'


@behaviour(
    AREA,
    "A named tuple becomes an object.",
    source=MARSHALLER,
    differs="An array: the standard library's encoder cannot tell it from a tuple.",
)
def returns_named_tuple(endpoint: Endpoint) -> None:
    assert json.loads(made(endpoint, "named tuple")) == {"row": 3, "number": 7}


@behaviour(AREA, "A tuple becomes an array.", source=MARSHALLER)
def returns_tuple(endpoint: Endpoint) -> None:
    assert json.loads(made(endpoint, "tuple")) == [1, [2, 3]]


@behaviour(AREA, "Keys that are numbers or None become text.", source=MARSHALLER)
def returns_odd_keys(endpoint: Endpoint) -> None:
    assert json.loads(made(endpoint, "keys")) == {"1": "a", "null": "b"}


@behaviour(AREA, "An integer of a hundred digits loses none.", source=MARSHALLER)
def returns_large_integer(endpoint: Endpoint) -> None:
    assert made(endpoint, "large integer") == str(10**100).encode()


@behaviour(AREA, "What has no JSON is `Runtime.MarshalError`, which names its type.", source=MARSHALLER)
def returns_what_has_no_json(endpoint: Endpoint) -> None:
    for kind, name in (("set", "set"), ("object", "object")):
        answer = invoke(endpoint, do="result", kind=kind)
        assert (answer.error, answer.value["errorType"]) == ("Unhandled", "Runtime.MarshalError")
        expected = f"Unable to marshal response: Object of type {name} is not JSON serializable"
        assert answer.value["errorMessage"] == expected, answer.value


@behaviour(AREA, "A coroutine function is not awaited: its coroutine has no JSON.", source=MARSHALLER)
def returns_coroutine(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="coroutine")
    expected = "Unable to marshal response: Object of type coroutine is not JSON serializable"
    assert (answer.value["errorType"], answer.value["errorMessage"]) == ("Runtime.MarshalError", expected)


@behaviour(AREA, "A handler may be any object that can be called; it keeps its state.", source=HANDLER)
def handler_is_an_object(endpoint: Endpoint) -> None:
    first, second = (json.loads(endpoint.call("object", Payload=b"[1]")["Payload"].read()) for _ in range(2))
    assert second == {"calls": first["calls"] + 1, "event": [1]}


@behaviour(AREA, "A payload of 6 MB is taken.", source=QUOTAS)
def largest_event(endpoint: Endpoint) -> None:
    event = json.dumps({"do": "result", "kind": "none", "ballast": ""}).encode()
    event = event[:-2] + b"x" * (PAYLOAD_BYTES_MAX - len(event)) + event[-2:]
    assert len(event) == PAYLOAD_BYTES_MAX
    assert invoke(endpoint, payload=event).body == b"null"


@behaviour(AREA, "A payload over 6 MB is refused: 413 `RequestTooLargeException`.", source=QUOTAS)
def event_too_large(endpoint: Endpoint) -> None:
    payload = b'"' + b"x" * PAYLOAD_BYTES_MAX + b'"'
    refused(endpoint, "RequestTooLargeException", 413, Payload=payload)


@behaviour(AREA, "A result of 6 MB is passed on.", source=QUOTAS)
def largest_result(endpoint: Endpoint) -> None:
    assert len(made(endpoint, "large", bytes=PAYLOAD_BYTES_MAX - 2)) == PAYLOAD_BYTES_MAX


@behaviour(AREA, "A larger result is `Function.ResponseSizeTooLarge`.", source=QUOTAS)
def result_too_large(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="result", kind="large", bytes=PAYLOAD_BYTES_MAX + 100)
    assert (answer.error, answer.value["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert answer.value["errorMessage"].startswith("Response payload size exceeded maximum allowed payload size")
