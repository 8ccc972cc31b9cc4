"""The fields that web events of all formats share: checked reading, bodies, and what no format has a field for.

Events for Lambda have no place for the client's port, the server's address, the order of repeated headers and the like.
Peaker carries those in one object of its own, `requestContext.peaker` of an event and `peaker` of a result; readers
that do not know it see an ordinary event.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from typing import Any
from urllib.parse import quote

from peaker.errors import MalformedEvent, PayloadTooLarge
from peaker.messages import Headers, JSONValue, Request, RunNotes
from peaker.wire.web_scope import URL_SAFE

_to_json = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode

_TYPE_WORDS: dict[type, str] = {
    str: "text",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
}


def check_type(value: JSONValue, kind: type, key: str) -> Any:
    """`value`, which stands under `key` (a dotted path), if it is of `kind`.

    Raises:
        MalformedEvent: it is of another type; names the key and both types.
    """
    if not isinstance(value, kind):
        raise MalformedEvent(f"{key} is {_shown(value)}, not {_TYPE_WORDS[kind]}.")
    return value


def require(table: JSONValue, name: str, kind: type, at: str = "") -> Any:
    """The value of a key that must be there, of this type; `at` is the dotted path of `table` and ends with a dot."""
    try:
        value = table[name]
    except KeyError:
        raise MalformedEvent(f"{at}{name} is missing.") from None
    return value if isinstance(value, kind) else check_type(value, kind, at + name)


def optional(table: JSONValue, name: str, kind: type, default: Any, at: str = "") -> Any:
    """The value of a key that may be absent or null, of this type."""
    value = table.get(name)
    if value is None:
        return default
    return value if isinstance(value, kind) else check_type(value, kind, at + name)


def _shown(value: JSONValue) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def raw_path_of(path: str, key: str) -> bytes:
    """The path of a foreign event as a request line has it; some gateways decode it, so it is encoded where needed."""
    if path.isascii() and path.isprintable() and " " not in path:
        return path.encode("ascii")
    return quote(encode_text(path, key), safe=URL_SAFE).encode("ascii")


def headers_to_bytes(named: dict[str, JSONValue], key: str) -> list[tuple[bytes, bytes]]:
    """A JSON object of texts as headers, names in lower case.

    Raises:
        MalformedEvent: a value is not text, or holds half a surrogate pair; names it.
    """
    try:
        return [(name.lower().encode(), value.encode()) for name, value in named.items()]
    except (AttributeError, UnicodeEncodeError):
        for name, value in named.items():
            encode_text(name, key)
            encode_text(check_type(value, str, f"{key}.{name}"), f"{key}.{name}")
        raise


def multi_value_headers_to_bytes(named: dict[str, JSONValue], key: str) -> list[tuple[bytes, bytes]]:
    """A JSON object of lists of texts as headers, names in lower case; raises as `headers_to_bytes`."""
    headers: list[tuple[bytes, bytes]] = []
    for name, values in named.items():
        at = f"{key}.{name}"
        name_bytes = encode_text(name.lower(), key)
        headers += [(name_bytes, encode_text(check_type(value, str, at), at)) for value in check_type(values, list, at)]
    return headers


def scalar_text(value: JSONValue, key: str) -> str:
    """A header value of a hand-written result: numbers and truth values are taken as their JSON spelling."""
    return json.dumps(value) if isinstance(value, (bool, int, float)) else str(check_type(value, str, key))


def forwarded_port(named: dict[bytes, bytes], default: int) -> int:
    """The port a client spoke to, as the load balancer in front tells it."""
    port = named.get(b"x-forwarded-port", b"")
    return int(port) if port.isdigit() else default


def encode_text(text: str, key: str) -> bytes:
    """`text` as UTF-8; JSON can spell half a surrogate pair, which no bytes stand for."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MalformedEvent(f"{key} is {_shown(text)}, which is not Unicode text.") from None


def join_repeated(headers: Headers) -> dict[str, str]:
    """Headers as one object in the way API Gateway does it: values of a repeated name joined by commas."""
    named: dict[str, str] = {}
    for name_bytes, value in headers:
        name = name_bytes.decode()
        text = header_text(value)
        named[name] = f"{named[name]},{text}" if name in named else text
    return named


def header_text(value: bytes) -> str:
    """A header value as text: UTF-8, or else Latin-1, which stands for any bytes."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def exact_headers(headers: Headers) -> list[list[str]]:
    """Headers as pairs of Latin-1 text: every byte and the whole order."""
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


def exact_headers_to_bytes(pairs: JSONValue, key: str) -> list[tuple[bytes, bytes]]:
    """The reverse of `exact_headers`; raises MalformedEvent when it is anything else."""
    try:
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    except (AttributeError, TypeError, ValueError):
        raise MalformedEvent(f"{key} is {_shown(pairs)}, not a list of pairs of Latin-1 texts.") from None


def connection_notes(request: Request) -> dict[str, Any]:
    """What `requestContext.peaker` holds for every request."""
    notes: dict[str, Any] = {
        "scheme": request.scheme,
        "http_version": request.http_version,
        "client": request.client,
        "server": request.server,
    }
    if request.root_path:
        notes["root_path"] = request.root_path
    return notes


def address(notes: dict[str, JSONValue], name: str) -> tuple[str, Any] | None:
    """A `[host, port]` pair of `requestContext.peaker`, None where the connection had none."""
    value = notes.get(name)
    if value is None:
        return None
    if type(value) is not list or len(value) != 2 or type(value[0]) is not str or type(value[1]) not in _PORT_TYPES:
        raise MalformedEvent(f"requestContext.peaker.{name} is {_shown(value)}, not [host, port].")
    return (value[0], value[1])


_PORT_TYPES = (int, type(None))


def run_notes(notes: RunNotes) -> dict[str, Any]:
    """What `peaker` of a result holds for every run."""
    return {
        "cold": notes.cold,
        "init_ms": round(notes.init_ms, 3),
        "duration_ms": round(notes.duration_ms, 3),
    }


def read_run_notes(notes: dict[str, JSONValue]) -> RunNotes:
    """The reverse of `run_notes`; a result of somebody else's function has none of it."""
    return RunNotes(
        cold=optional(notes, "cold", bool, False, "peaker."),
        init_ms=_number(notes, "init_ms"),
        duration_ms=_number(notes, "duration_ms"),
    )


def _number(notes: dict[str, JSONValue], name: str) -> float:
    value = notes.get(name, 0.0)
    if type(value) not in (int, float):
        raise MalformedEvent(f"peaker.{name} is {_shown(value)}, not a number.")
    return float(value)


def read_status(result: dict[str, JSONValue]) -> int:
    """`statusCode` of a result, 100 to 599; text of digits is taken as a number, as API Gateway does."""
    status = found = result.get("statusCode")
    if type(status) is str and status.isdecimal():
        status = int(status)
    if type(status) is not int or not 100 <= status <= 599:
        raise MalformedEvent(f"statusCode is {_shown(found)}, not a number from 100 to 599.")
    return status


def decode_body(table: JSONValue) -> bytes:
    """The bytes of `body`, by `isBase64Encoded`.

    Raises:
        MalformedEvent: the body is not text, or not base64 though it says so.
    """
    body = optional(table, "body", str, "")
    if not optional(table, "isBase64Encoded", bool, False):
        return encode_text(body, "body")
    try:
        return b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedEvent(f"body is not base64 though isBase64Encoded is true: {error}.") from None


def encode_with_body(document: dict[str, Any], body: bytes, bytes_max: int, what: str) -> bytes:
    """The document as JSON with `body` and `isBase64Encoded` set.

    UTF-8 text goes as it is and everything else as base64. Text full of control characters would grow up to sixfold as
    JSON, so text that does not fit is tried once more as base64.

    Raises:
        PayloadTooLarge: it is longer than `bytes_max` bytes either way; says by how much.
    """
    document["isBase64Encoded"] = False
    try:
        document["body"] = body.decode()
        payload = _to_json(document).encode()
        if len(payload) <= bytes_max:
            return payload
    except UnicodeDecodeError:
        pass
    document["isBase64Encoded"] = True
    document["body"] = b64encode(body).decode("ascii")
    payload = _to_json(document).encode()
    if len(payload) > bytes_max:
        raise PayloadTooLarge(
            f"the {what} is {len(payload):,} bytes as encoded for a function; allowed: up to {bytes_max:,}.",
            remedy='Give the route placement = "servers".',
        )
    return payload
