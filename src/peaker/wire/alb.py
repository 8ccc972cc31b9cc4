"""Application Load Balancer targets: a request as the event of a function, and a function's result as a response.

The format is described in https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html.
A target group has one of two modes. With multi-value headers on, event and result carry every value of a repeated
header and query key; with it off (AWS's default) an event carries the last value only. The balancer decodes neither
path nor query. Body and result are limited to 1 MB each.

An event of a real balancer loses the client's port, the order of query keys among each other, and whether an empty
query value had its "="; in an event made here these are exact in `requestContext.peaker`, as in `http_api`.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from peaker.asgi import Scope
from peaker.errors import MalformedEvent, PayloadTooLarge
from peaker.messages import JSONValue, Request, Response, RunNotes
from peaker.wire import fields
from peaker.wire.web_scope import find_loss, request_to_scope, scope_to_request

__all__ = [
    "BODY_BYTES_MAX",
    "RESULT_BYTES_MAX",
    "event_to_request",
    "losses",
    "request_to_event",
    "request_to_scope",
    "response_to_result",
    "result_to_response",
    "scope_to_request",
]

BODY_BYTES_MAX = 1_048_576
"""The balancer refuses a larger request body (Lambda functions as targets, "Limits")."""

RESULT_BYTES_MAX = 1_048_576
"""The balancer refuses a larger result, as encoded (the same page)."""

_TARGET_GROUP = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/peaker/0000000000000000"


def losses(scope: Scope) -> str:
    """Why this request cannot go to a function as an ALB event, "" if it survives unchanged."""
    return find_loss(scope, BODY_BYTES_MAX)


def request_to_event(request: Request, *, request_id: str, epoch_s: float, multi_value: bool = True) -> bytes:
    """The event as JSON, in the mode of the target group; a balancer tells neither request id nor time otherwise.

    Raises:
        PayloadTooLarge: the body is longer than BODY_BYTES_MAX.
        ValueError: the request is one that `losses` names.
    """
    if len(request.body) > BODY_BYTES_MAX:
        raise PayloadTooLarge(
            f"the body is {len(request.body):,} bytes; allowed behind an ALB: up to {BODY_BYTES_MAX:,}."
        )
    notes = fields.connection_notes(request) | {"request_id": request_id, "epoch_s": epoch_s}
    query = request.query_string.decode()
    parameters = [part.partition("=")[::2] for part in query.split("&")] if query else []
    headers = [(name.decode(), value.decode()) for name, value in request.headers]
    event: dict[str, Any] = {
        "requestContext": {"elb": {"targetGroupArn": _TARGET_GROUP}, "peaker": notes},
        "httpMethod": request.method,
        "path": request.raw_path.decode("ascii"),
    }
    if multi_value:
        event |= {"multiValueQueryStringParameters": _several(parameters), "multiValueHeaders": _several(headers)}
    else:
        event |= {"queryStringParameters": dict(parameters), "headers": dict(headers)}
    if len({name for name, _ in headers}) < len(headers):
        notes["headers"] = fields.exact_headers(request.headers)
    if _query_string(event) != query:
        notes["query_string"] = query
    return fields.encode_with_body(event, request.body, 2 * 6 * BODY_BYTES_MAX, "request")


def _several(pairs: list[tuple[str, str]] | list[Any]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _query_string(event: JSONValue) -> str:
    several = fields.optional(event, "multiValueQueryStringParameters", dict, {})
    pairs = [(name, value) for name, values in several.items() for value in values]
    pairs = pairs or list(fields.optional(event, "queryStringParameters", dict, {}).items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def event_to_request(event: JSONValue) -> Request:
    """The request in an event of a balancer, in either mode, or in one made here.

    Raises:
        MalformedEvent: names the key that is missing, or what it holds and should hold.
    """
    if not isinstance(event, dict):
        raise MalformedEvent(f"the event is {type(event).__name__}, not an object.")
    context = fields.require(event, "requestContext", dict)
    notes = fields.optional(context, "peaker", dict, {}, "requestContext.")
    at = "requestContext.peaker."
    headers = _request_headers(event, notes)
    forwarded = dict(headers)
    client = forwarded.get(b"x-forwarded-for", b"").decode("latin-1").rpartition(",")[2].strip()
    host = forwarded.get(b"host", b"").decode("latin-1").partition(":")[0]
    scheme = forwarded.get(b"x-forwarded-proto", b"http").decode("latin-1")
    path = fields.require(event, "path", str)
    query = fields.optional(notes, "query_string", str, None, at)
    return Request(
        method=fields.require(event, "httpMethod", str),
        raw_path=fields.raw_path_of(path, "path"),
        query_string=fields.encode_text(_query_string(event) if query is None else query, "query string"),
        headers=tuple(headers),
        body=fields.decode_body(event),
        scheme=fields.optional(notes, "scheme", str, scheme, at),
        http_version=fields.optional(notes, "http_version", str, "1.1", at),
        client=fields.address(notes, "client") if notes else (client, 0) if client else None,
        server=fields.address(notes, "server")
        if notes
        else (host, fields.forwarded_port(forwarded, 443 if scheme == "https" else 80))
        if host
        else None,
        root_path=fields.optional(notes, "root_path", str, "", at),
    )


def _request_headers(event: JSONValue, notes: JSONValue) -> list[tuple[bytes, bytes]]:
    if "headers" in notes:
        return fields.exact_headers_to_bytes(notes["headers"], "requestContext.peaker.headers")
    if several := fields.optional(event, "multiValueHeaders", dict, None):
        return fields.multi_value_headers_to_bytes(several, "multiValueHeaders")
    return fields.headers_to_bytes(fields.optional(event, "headers", dict, {}), "headers")


def response_to_result(response: Response, notes: RunNotes | None = None, *, multi_value: bool = True) -> bytes:
    """A function's result as JSON, in the mode of the target group; `notes` only where the reader is not a balancer.

    Raises:
        PayloadTooLarge: the result is longer than RESULT_BYTES_MAX.
    """
    pairs = [(name.decode("latin-1").lower(), fields.header_text(value)) for name, value in response.headers]
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = "Unknown"
    result: dict[str, Any] = {"statusCode": response.status, "statusDescription": f"{response.status} {reason}"}
    if multi_value:
        result["multiValueHeaders"] = _several(pairs)
    else:
        result["headers"] = _single_values(pairs)
    if notes is not None:
        result["peaker"] = fields.run_notes(notes) | {"headers": fields.exact_headers(response.headers)}
    return fields.encode_with_body(result, response.body, RESULT_BYTES_MAX, "response")


def _single_values(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """One value a name: repeated ones joined by commas, but for cookies, whose dates hold commas.

    Several cookies survive this mode only under names that differ by case: set-cookie, Set-cookie, sEt-cookie...
    """
    values: dict[str, str] = {}
    cookies = 0
    for name, value in pairs:
        if name == "set-cookie":
            values[_in_case(name, cookies)] = value
            cookies += 1
        else:
            values[name] = f"{values[name]},{value}" if name in values else value
    return values


def _in_case(name: str, number: int) -> str:
    """The `number`-th spelling of a name by case: bit i of it makes the i-th letter a capital."""
    letters = [i for i, letter in enumerate(name) if letter.isalpha()]
    if number >= 1 << len(letters):
        raise PayloadTooLarge(
            f"more than {1 << len(letters)} cookies do not fit the single-value header mode of an ALB."
        )
    capitals = {position for bit, position in enumerate(letters) if number >> bit & 1}
    return "".join(letter.upper() if i in capitals else letter for i, letter in enumerate(name))


def result_to_response(payload: bytes) -> tuple[Response, RunNotes]:
    """The response a result stands for; a balancer takes no result without `statusCode`.

    Raises:
        MalformedEvent: the result is not JSON, or names the key that holds something wrong.
    """
    try:
        result = json.loads(payload)
    except ValueError as error:
        raise MalformedEvent(f"the function's result is not JSON: {error}.") from error
    status = fields.read_status(fields.check_type(result, dict, "the result"))
    ours = fields.optional(result, "peaker", dict, {})
    if "headers" in ours:
        headers = fields.exact_headers_to_bytes(ours["headers"], "peaker.headers")
    elif several := fields.optional(result, "multiValueHeaders", dict, None):
        headers = fields.multi_value_headers_to_bytes(several, "multiValueHeaders")
    else:
        headers = fields.headers_to_bytes(fields.optional(result, "headers", dict, {}), "headers")
    response = Response(status=status, headers=tuple(headers), body=fields.decode_body(result))
    return response, fields.read_run_notes(ours)
