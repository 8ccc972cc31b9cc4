"""A request as an ASGI scope and back, the same scope that the server builds (uvicorn's httptools protocol)."""

from __future__ import annotations

from urllib.parse import quote, unquote

from peaker.asgi import Scope
from peaker.messages import Request

URL_SAFE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""Characters a request line may hold as they are; all others of a path are percent-encoded."""


_LOST_HEADERS = {
    b"expect": "Expect asks for an interim answer",
    b"upgrade": "Upgrade asks for another protocol",
    b"trailer": "trailers arrive after the body",
}


def find_loss(scope: Scope, body_bytes_max: int) -> str:
    """Why this request cannot be told in an event, "" if it can; the list is in the docstring of `http_api`."""
    if scope["type"] != "http":
        return f"{scope['type']} connections stay open"
    for name, value in scope["headers"]:
        if name in _LOST_HEADERS:
            return _LOST_HEADERS[name]
        if not value.isascii() and not is_utf8(value):
            return f"header {name.decode('latin-1')} is not UTF-8 text"
        if name == b"content-length" and not _is_within(value, body_bytes_max):
            return f"Content-Length is above {body_bytes_max:,} bytes"
    return _line_loss(scope.get("raw_path") or b"", scope.get("query_string", b"")) or _extension_loss(scope)


def _line_loss(raw_path: bytes, query_string: bytes) -> str:
    if not raw_path.isascii():
        return "the path is not ASCII"
    return "" if query_string.isascii() or is_utf8(query_string) else "the query string is not UTF-8 text"


def _extension_loss(scope: Scope) -> str:
    extensions = scope.get("extensions")
    return f"the server offers {', '.join(extensions)}" if extensions else ""


def is_utf8(value: bytes) -> bool:
    """Whether these bytes are UTF-8 text."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_within(content_length: bytes, limit: int) -> bool:
    return content_length.isdigit() and int(content_length) <= limit


def request_to_scope(request: Request) -> Scope:
    """The scope an app sees for `request`: every key uvicorn gives but `state`, which belongs to the lifespan."""
    root_path = request.root_path
    path = request.raw_path.decode("ascii")
    if "%" in path:
        # The server puts root_path before the decoded path, so a "%" of root_path itself is never decoded.
        start = len(root_path) if path.startswith(root_path) else 0
        path = path[:start] + unquote(path[start:])
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version,
        "server": request.server,
        "client": request.client,
        "scheme": request.scheme,
        "root_path": root_path,
        "headers": list(request.headers),
        "method": request.method,
        "path": path,
        "raw_path": request.raw_path,
        "query_string": request.query_string,
    }


def scope_to_request(scope: Scope, body: bytes) -> Request:
    """The request a scope and its whole body stand for.

    The headers are those in the scope now: uvicorn appends a chunked body's trailers to the same list, so a caller
    that reads the body first must have kept the list from before.
    """
    raw_path = scope.get("raw_path")
    if raw_path is None:
        raw_path = quote(scope["path"], safe=URL_SAFE.replace("%", "").replace("?", "").replace("#", "")).encode(
            "ascii"
        )
    return Request(
        method=scope["method"],
        raw_path=raw_path,
        query_string=scope.get("query_string", b""),
        headers=tuple(scope["headers"]),
        body=body,
        scheme=scope.get("scheme", "http"),
        http_version=scope["http_version"],
        client=scope.get("client"),
        server=scope.get("server"),
        root_path=scope.get("root_path", ""),
    )
