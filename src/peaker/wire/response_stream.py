"""A function's streamed response: the events of InvokeWithResponseStream, and the head of an HTTP response in front.

The answer of InvokeWithResponseStream is an event stream (`wire.event_stream`): any number of PayloadChunk, whose
payloads joined are what the function wrote, then one InvokeComplete. A function that answers HTTP writes the head
first: a JSON object like a payload 2.0 result without its body (statusCode, headers, cookies), eight NUL bytes, then
the body, and names its content `HTTP_INTEGRATION`. Peaker's notes stand under `peaker` in it, as in a result.

Sources: AWS Lambda API Reference, "InvokeWithResponseStream"; the prelude as AWS's Node.js runtime client writes it
(aws-lambda-nodejs-runtime-interface-client, `HttpResponseStream.js`).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from peaker.errors import MalformedEvent
from peaker.messages import Headers, RunNotes
from peaker.wire.event_stream import StreamMessage, encode_message
from peaker.wire.http_api import read_result_head, result_head

HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
EVENT_STREAM = "application/vnd.amazon.eventstream"

STREAM_BYTES_MAX = 200 * 1024 * 1024
"""What a streamed response may have (AWS Lambda quotas: 200 MB; 20 MB until July 2025)."""

CHUNK_BYTES_MAX = 64 * 1024
"""Longer pieces are cut, so that nothing on the way holds more than this of a response at a time."""

PRELUDE_BYTES_MAX = 128 * 1024
_NULS = bytes(8)
_BILLED = "PeakerBilledMs"
_LOG_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a streamed invocation ended: `error_code` is "" for success, else a type as in a failed run's payload.

    `error_details` is that payload: JSON text with errorType and errorMessage. `billed_ms` is what the function host
    tells a gate, under a key that Lambda has not; 0 for none.
    """

    error_code: str = ""
    error_details: str = ""
    billed_ms: int = 0


def payload_chunk(payload: bytes) -> bytes:
    """One PayloadChunk as it travels."""
    return encode_message(
        {":event-type": "PayloadChunk", ":content-type": "application/octet-stream", ":message-type": "event"}, payload
    )


def invoke_complete(end: StreamEnd, log: bytes | None = None) -> bytes:
    """The InvokeComplete that ends a stream; `log` is what the run wrote, of which the last 4 KB are sent."""
    document: dict[str, str | int] = {}
    if end.billed_ms:
        document[_BILLED] = end.billed_ms
    if end.error_code:
        document |= {"ErrorCode": end.error_code, "ErrorDetails": end.error_details}
    if log is not None:
        document["LogResult"] = base64.b64encode(log[-_LOG_TAIL_BYTES:]).decode("ascii")
    headers = {":event-type": "InvokeComplete", ":content-type": "application/json", ":message-type": "event"}
    return encode_message(headers, json.dumps(document).encode())


def read_stream_event(message: StreamMessage) -> bytes | StreamEnd:
    """The payload of a PayloadChunk, or the end that an InvokeComplete tells.

    Raises:
        MalformedEvent: it is neither, or an exception event.
    """
    kind = message.headers.get(":event-type")
    if message.headers.get(":message-type") != "event" or kind not in ("PayloadChunk", "InvokeComplete"):
        text = message.payload[:200].decode("utf-8", "replace")
        raise MalformedEvent(f"the stream holds {message.headers.get(':exception-type') or kind!r}: {text}.")
    if kind == "PayloadChunk":
        return message.payload
    try:
        document = json.loads(message.payload or b"{}")
    except ValueError as error:
        raise MalformedEvent(f"InvokeComplete is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise MalformedEvent("InvokeComplete is not an object.")
    billed_ms = document.get(_BILLED)
    return StreamEnd(
        str(document.get("ErrorCode") or ""),
        str(document.get("ErrorDetails") or ""),
        billed_ms if type(billed_ms) is int else 0,
    )


def failed_end(payload: bytes, billed_ms: int = 0) -> StreamEnd:
    """The end that a failed run's payload (errorType, errorMessage) stands for."""
    try:
        document = json.loads(payload)
        kind = str(document["errorType"])
    except (ValueError, KeyError, TypeError):
        kind = "Unhandled"
    return StreamEnd(kind, payload.decode("utf-8", "replace"), billed_ms)


def http_prelude(status: int, headers: Headers, notes: RunNotes) -> bytes:
    """The head of an HTTP response as a function streams it.

    Raises:
        ValueError: it is longer than PRELUDE_BYTES_MAX.
    """
    encoded = json.dumps(result_head(status, headers, notes), ensure_ascii=False, separators=(",", ":")).encode()
    if len(encoded) > PRELUDE_BYTES_MAX:
        raise ValueError(f"the response head is {len(encoded)} bytes; allowed: up to {PRELUDE_BYTES_MAX}")
    return encoded + _NULS


class PreludeReader:
    """Finds the head in front of a streamed HTTP response: feed it chunks until `head` is there."""

    def __init__(self) -> None:
        self._held = bytearray()
        self.head: tuple[int, Headers, RunNotes] | None = None
        self.is_missing = False
        """It cannot come any more: what was fed is no streamed HTTP response but perhaps a whole result."""

    @property
    def held(self) -> bytes:
        """What was fed while no head was found."""
        return bytes(self._held)

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk; returns what of the body follows the head in it.

        Raises:
            MalformedEvent: there is a head, and it is not as it should be.
        """
        searched_from = max(0, len(self._held) - len(_NULS) + 1)
        self._held += chunk
        end = self._held.find(_NULS, searched_from)
        if end < 0:
            self.is_missing = len(self._held) > PRELUDE_BYTES_MAX
            return b""
        try:
            document = json.loads(self._held[:end])
        except ValueError as error:
            raise MalformedEvent(f"the head of the streamed response is not JSON: {error}.") from error
        if not isinstance(document, dict):
            raise MalformedEvent("the head of the streamed response is not an object.")
        document.setdefault("statusCode", 200)
        self.head = read_result_head(document)
        body = bytes(self._held[end + len(_NULS) :])
        self._held.clear()
        return body
