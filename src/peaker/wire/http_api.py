"""HTTP API payload format 2.0: a request as the event of a function, and a function's result as a response.

API Gateway HTTP APIs, Lambda Function URLs and Peaker's own gate all send this event. The format is described in
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html and the real
events differ in small ways, which `event_to_request` takes into account.

What payload 2.0 loses, and what becomes of it:

- Carried in `requestContext.peaker`, hence exact: the client's port, the server's address, the scheme, the HTTP
  version, root_path, the place of the cookie header among the others, and repeated headers (else joined by commas).
- Carried in `peaker` of the result, hence exact: repeated response headers, the place of `set-cookie` among the others,
  and response header values that are not UTF-8.
- Never sent to a function, because `losses` names it: anything but plain HTTP (WebSocket); `Expect`, whose interim
  answer cannot be given; `Upgrade`; `Trailer`, whose fields arrive after the event was made; header values and query
  strings that are not UTF-8 text; paths that are not ASCII; a Content-Length above `BODY_BYTES_MAX`; extensions the
  server offers in the scope.
- Found only when it is encoded: an event or result of more than `EVENT_BYTES_MAX` or `RESULT_BYTES_MAX` raises
  PayloadTooLarge.
- Of no account: the case of header names (ASGI has lower case only), the reason phrase, chunk boundaries.
"""

from __future__ import annotations

import json
from time import gmtime, strftime
from typing import Any
from urllib.parse import parse_qsl

from peaker.asgi import Scope
from peaker.errors import MalformedEvent
from peaker.messages import Headers, JSONValue, Request, Response, RunNotes
from peaker.wire import alb, fields
from peaker.wire.web_scope import find_loss, is_utf8, request_to_scope, scope_to_request

__all__ = [
    "BODY_BYTES_MAX",
    "EVENT_BYTES_MAX",
    "RESULT_BYTES_MAX",
    "event_to_request",
    "losses",
    "read_result_head",
    "request_to_event",
    "request_to_scope",
    "response_to_result",
    "result_for",
    "result_head",
    "result_to_response",
    "scope_to_request",
]

EVENT_BYTES_MAX = 6_291_456
"""A synchronous invocation's payload: 6 MB as encoded (AWS Lambda quotas; its RequestEntityTooLargeException)."""

RESULT_BYTES_MAX = 6_291_556
"""A synchronous invocation's answer: 6 MB and 100 bytes, the figure in Lambda's ResponseSizeTooLarge message."""

BODY_BYTES_MAX = 4_500_000
"""A body above this cannot be sent as base64 (4/3 of its size) with room left for headers under EVENT_BYTES_MAX."""


def losses(scope: Scope) -> str:
    """Why this request may not go to a function as payload 2.0, "" if it survives unchanged."""
    return find_loss(scope, BODY_BYTES_MAX)


def request_to_event(request: Request, *, request_id: str, epoch_s: float) -> bytes:
    """The event as JSON; `epoch_s` is when the request arrived, in seconds since 1970.

    Raises:
        PayloadTooLarge: the event is longer than EVENT_BYTES_MAX.
        ValueError: the request is one that `losses` names.
    """
    notes = fields.connection_notes(request)
    headers, cookies = _event_headers(request.headers, notes)
    path = request.raw_path.decode("ascii")
    query = request.query_string.decode()
    host = headers.get("host", "")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "peaker",
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": f"HTTP/{request.http_version}",
                "sourceIp": request.client[0] if request.client else "",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(epoch_s)),
            "timeEpoch": int(epoch_s * 1000),
            "peaker": notes,
        },
    }
    if cookies is not None:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = _joined_parameters(query)
    return fields.encode_with_body(event, request.body, EVENT_BYTES_MAX, "request")


def _event_headers(headers: Headers, notes: dict[str, Any]) -> tuple[dict[str, str], list[str] | None]:
    """The format's `headers` and `cookies`; adds to `notes` what they cannot say."""
    named = {name.decode(): value.decode() for name, value in headers}
    if len(named) != len(headers):
        notes["headers"] = fields.exact_headers(headers)
        named = fields.join_repeated(headers)
        named.pop("cookie", None)
        cookies = [part for name, value in headers if name == b"cookie" for part in value.decode().split("; ")]
        return named, cookies or None
    if "cookie" not in named:
        return named, None
    notes["cookie_at"] = list(named).index("cookie")
    # Splitting by "; " and joining again gives back any text, so that even a malformed cookie header survives.
    return named, named.pop("cookie").split("; ")


def _joined_parameters(query: str) -> dict[str, str]:
    """As API Gateway has them: decoded, values of a repeated name joined by commas. Apps read `rawQueryString`."""
    joined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def event_to_request(event: JSONValue) -> Request:
    """The request in an event of Peaker, an API Gateway HTTP API, a Function URL or an ALB.

    Raises:
        MalformedEvent: names the key that is missing, or what it holds and should hold.
    """
    if not isinstance(event, dict):
        raise MalformedEvent(f"the event is {type(event).__name__}, not an object.")
    context = fields.require(event, "requestContext", dict)
    if "elb" in context:
        return alb.event_to_request(event)
    if (version := event.get("version")) != "2.0":
        raise MalformedEvent(f"version is {version!r}, not '2.0'.", remedy="Set the integration to payload format 2.0.")
    notes = fields.optional(context, "peaker", dict, None, "requestContext.")
    http = fields.require(context, "http", dict, "requestContext.")
    path = fields.require(event, "rawPath", str)
    query = fields.optional(event, "rawQueryString", str, "")
    headers = _request_headers(event, notes)
    method = fields.require(http, "method", str, "requestContext.http.")
    if notes is None:
        return _foreign_request(event, context, method, headers)
    return Request(
        method=method,
        raw_path=path.encode("ascii") if path.isascii() else fields.raw_path_of(path, "rawPath"),
        query_string=fields.encode_text(query, "rawQueryString"),
        headers=tuple(headers),
        body=fields.decode_body(event),
        scheme=fields.require(notes, "scheme", str, "requestContext.peaker."),
        http_version=fields.require(notes, "http_version", str, "requestContext.peaker."),
        client=fields.address(notes, "client"),
        server=fields.address(notes, "server"),
        root_path=fields.optional(notes, "root_path", str, "", "requestContext.peaker."),
    )


def _request_headers(event: JSONValue, notes: JSONValue) -> list[tuple[bytes, bytes]]:
    if notes and "headers" in notes:
        return fields.exact_headers_to_bytes(notes["headers"], "requestContext.peaker.headers")
    headers = fields.headers_to_bytes(fields.optional(event, "headers", dict, {}), "headers")
    if (cookies := event.get("cookies")) is not None and not any(name == b"cookie" for name, _ in headers):
        place = fields.optional(notes or {}, "cookie_at", int, len(headers), "requestContext.peaker.")
        headers.insert(place, (b"cookie", _cookie_header(cookies)))
    return headers


def _cookie_header(cookies: JSONValue) -> bytes:
    try:
        return "; ".join(fields.check_type(cookies, list, "cookies")).encode()
    except (TypeError, UnicodeEncodeError):
        raise MalformedEvent(f"cookies is {cookies!r:.60}, not a list of texts.") from None


def _foreign_request(event: JSONValue, context: JSONValue, method: str, headers: list[tuple[bytes, bytes]]) -> Request:
    """A request as API Gateway or a Function URL tells it: what it does not say is taken from what it forwards."""
    named = dict(headers)
    stage = fields.optional(context, "stage", str, "$default", "requestContext.")
    path = event["rawPath"]
    at = "requestContext.http."
    protocol = fields.optional(context["http"], "protocol", str, "HTTP/1.1", at)
    source_ip = fields.optional(context["http"], "sourceIp", str, "", at)
    domain = fields.optional(context, "domainName", str, "", "requestContext.")
    return Request(
        method=method,
        raw_path=fields.raw_path_of(path, "rawPath"),
        query_string=fields.encode_text(event.get("rawQueryString") or "", "rawQueryString"),
        headers=tuple(headers),
        body=fields.decode_body(event),
        scheme=named.get(b"x-forwarded-proto", b"https").decode("latin-1"),
        http_version=protocol.removeprefix("HTTP/"),
        client=(source_ip, 0) if source_ip else None,
        server=(domain, fields.forwarded_port(named, 443)) if domain else None,
        # The path of a named stage begins with it; ASGI wants what the app is mounted under in both path and root_path.
        root_path=f"/{stage}" if path.startswith(f"/{stage}/") else "",
    )


def response_to_result(response: Response, notes: RunNotes) -> bytes:
    """A function's result as JSON, with `notes` under the key `peaker`.

    Raises:
        PayloadTooLarge: the result is longer than RESULT_BYTES_MAX.
    """
    result = result_head(response.status, response.headers, notes)
    return fields.encode_with_body(result, response.body, RESULT_BYTES_MAX, "response")


def result_head(status: int, response_headers: Headers, notes: RunNotes) -> dict[str, Any]:
    """A result without its body."""
    ours = fields.run_notes(notes)
    headers: dict[str, str] = {}
    cookies: list[str] = []
    is_exact = True
    for name_bytes, value_bytes in response_headers:
        name = name_bytes.decode("latin-1").lower()
        value = fields.header_text(value_bytes)
        is_exact = is_exact and (value.isascii() or is_utf8(value_bytes))
        if name == "set-cookie":
            cookies.append(value)
            continue
        is_exact = is_exact and not cookies and name not in headers
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    if not is_exact:
        ours["headers"] = fields.exact_headers(response_headers)
    result: dict[str, Any] = {"statusCode": status, "headers": headers, "peaker": ours}
    if cookies:
        result["cookies"] = cookies
    return result


def result_for(event: JSONValue, response: Response, notes: RunNotes) -> bytes:
    """The result in the format, and for an ALB the header mode, of the event that `event_to_request` has taken.

    A load balancer's result has no notes: it is read by nobody else.
    """
    if "elb" in event["requestContext"]:
        return alb.response_to_result(response, multi_value="multiValueHeaders" in event)
    return response_to_result(response, notes)


def result_to_response(payload: bytes) -> tuple[Response, RunNotes]:
    """The response a result stands for, and what the function said of its run.

    A result without `statusCode` is the body itself, as API Gateway takes it: text as it is, all else as JSON.

    Raises:
        MalformedEvent: the result is not JSON, or names the key that holds something wrong.
    """
    try:
        result = json.loads(payload)
    except ValueError as error:
        raise MalformedEvent(f"the function's result is not JSON: {error}.") from error
    if not isinstance(result, dict) or "statusCode" not in result:
        return _inferred_response(result), RunNotes()
    status, headers, notes = read_result_head(result)
    return Response(status=status, headers=headers, body=fields.decode_body(result)), notes


def read_result_head(result: dict[str, JSONValue]) -> tuple[int, Headers, RunNotes]:
    """Status, headers and notes of a result, whatever its body; raises as `result_to_response`."""
    status = fields.read_status(result)
    ours = fields.optional(result, "peaker", dict, {})
    return status, _response_headers(result, ours), fields.read_run_notes(ours)


def _inferred_response(result: JSONValue) -> Response:
    body = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    encoded = fields.encode_text(body, "the result")
    length = str(len(encoded)).encode("ascii")
    return Response(
        status=200, headers=((b"content-type", b"application/json"), (b"content-length", length)), body=encoded
    )


def _response_headers(result: JSONValue, ours: dict[str, JSONValue]) -> Headers:
    if "headers" in ours:
        return tuple(fields.exact_headers_to_bytes(ours["headers"], "peaker.headers"))
    named = fields.optional(result, "headers", dict, {})
    if "peaker" not in result:
        named = {name: fields.scalar_text(value, f"headers.{name}") for name, value in named.items()}
    several = fields.optional(result, "multiValueHeaders", dict, {})
    repeated = {name.lower() for name in several}
    headers = [pair for pair in fields.headers_to_bytes(named, "headers") if pair[0].decode() not in repeated]
    headers += fields.multi_value_headers_to_bytes(several, "multiValueHeaders")
    for cookie in fields.optional(result, "cookies", list, []):
        headers.append((b"set-cookie", fields.encode_text(fields.check_type(cookie, str, "cookies"), "cookies")))
    return tuple(headers)
