"""Plays the recorded session against an app and returns its answers in a form that can be compared.

What is taken out before answers are compared, because it differs from one moment or process to the next and no
placement promises it:

- the headers `date`, `server`, `x-request-id` and `x-peaker-ran`;
- the value of the `session` cookie, which is signed with the time, and `expires` dates of cookies other than 1970;
- the order of methods in `allow`: frameworks keep them in a set, whose order differs by process.

Everything else is compared as it came: status, reason phrase, every header with its place and repetitions (also
`content-length`, `transfer-encoding`, `connection`), and the whole body.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

SESSION = Path(__file__).parents[1] / "golden" / "session.json"
HOST = "shop.example"
DEADLINE_S = 30.0

MOMENTARY = {"date", "server", "x-request-id", "x-peaker-ran"}
SIGNED = re.compile(r"^(session=)[^;]*")
EXPIRES = re.compile(r"(expires=)(?!\w+, 01[ -]Jan[ -]1970)[^;]*", re.IGNORECASE)
BODY_SHOWN_MAX = 2000


@dataclass(frozen=True)
class Answer:
    """One step's answer, normalised; `ran` is what x-peaker-ran said, which is not compared."""

    request: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: str
    ran: str = field(default="", compare=False)


def load_steps() -> list[dict[str, Any]]:
    """The recorded steps."""
    steps: list[dict[str, Any]] = json.loads(SESSION.read_text(encoding="utf-8"))
    return steps


def expected_statuses(app: str) -> list[int]:
    """What `app` (starlette, fastapi, django or flask) has to answer, step by step."""
    return [step.get("by_app", {}).get(app, step["status"]) for step in load_steps()]


@dataclass
class Player:
    """A browser of sorts: one keep-alive connection, a cookie jar, and the validators of what it has fetched."""

    host: str
    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    validators: dict[str, str] = field(default_factory=dict)
    on_answer: Callable[[], None] = lambda: None
    momentary: re.Pattern[bytes] | None = None
    """What an app writes into its bodies anew each time; with it, the length of a body is not compared."""

    def play(self, steps: list[dict[str, Any]]) -> list[Answer]:
        """Every step in turn; a connection that breaks is an error, never tried again."""
        connection = HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        try:
            return [self._answer(connection, step) for step in steps]
        finally:
            connection.close()

    def _answer(self, connection: HTTPConnection, step: dict[str, Any]) -> Answer:
        self._send(connection, step)
        response = connection.getresponse()
        body = response.read()
        skipped = MOMENTARY
        if self.momentary is not None:
            body, skipped = self.momentary.sub(b"", body), MOMENTARY | {"content-length"}
        if response.status == 500:
            # uvicorn closes the connection after an exception, unannounced when the framework has answered already.
            connection.close()
        headers = [(name.lower(), value) for name, value in response.getheaders()]
        self._remember(step["path"], headers)
        self.on_answer()
        return Answer(
            request=f"{step['method']} {step['path']:.80}",
            status=response.status,
            reason=response.reason,
            headers=tuple(normalised(name, value) for name, value in headers if name not in skipped),
            body=shown(body),
            ran=response.headers.get("x-peaker-ran", ""),
        )

    def _send(self, connection: HTTPConnection, step: dict[str, Any]) -> None:
        connection.putrequest(step["method"], step["path"], skip_host=True, skip_accept_encoding=True)
        charset = step.get("header_charset", "utf-8")
        own = [(name, self._filled_in(value).encode(charset)) for name, value in step.get("headers", [])]
        lines = [("host", HOST.encode()), *own]
        if self.cookies and not any(name == "cookie" for name, _ in own):
            lines.append(
                ("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode("latin-1"))
            )
        body = body_of(step)
        if body is not None:
            length = ("transfer-encoding", b"chunked") if step.get("chunked") else ("content-length", b"%d" % len(body))
            lines.append(length)
        for name, value in lines:
            connection.putheader(name, value)
        connection.endheaders(in_pieces(body) if body is not None and step.get("chunked") else body)

    def _filled_in(self, value: str) -> str:
        return self.validators.get(value, value)

    def _remember(self, path: str, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            if name in {"etag", "last-modified"}:
                self.validators[f"{{{name} of {path}}}"] = value
            elif name == "set-cookie":
                cookie, _, attributes = value.partition(";")
                key, _, text = cookie.partition("=")
                if "max-age=0" in attributes.lower() or "1970" in attributes:
                    self.cookies.pop(key, None)
                else:
                    self.cookies[key] = text


def body_of(step: dict[str, Any]) -> bytes | None:
    """The body to send; a large one is computed from its kind and size."""
    if "generated" in step:
        kind, size = step["generated"]
        unit = (
            b"one line of text, \xc3\xa9\n" if kind == "text" else hashlib.sha512(b"seed").digest() + bytes(range(255))
        )
        return (unit * (size // len(unit) + 1))[:size]
    return base64.b64decode(step["body_base64"]) if "body_base64" in step else None


def in_pieces(body: bytes) -> bytes:
    """`body` as two chunks and the last one."""
    middle = len(body) // 3
    pieces = [piece for piece in (body[:middle], body[middle:]) if piece]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def normalised(name: str, value: str) -> tuple[str, str]:
    """A header without what changes from moment to moment."""
    if name == "allow":
        return name, ", ".join(sorted(value.split(", ")))
    if name != "set-cookie":
        return name, value
    return name, EXPIRES.sub(r"\1<date>", SIGNED.sub(r"\1<signed>", value))


def shown(body: bytes) -> str:
    """The body as text where it is short, else its length and digest."""
    if len(body) <= BODY_SHOWN_MAX:
        return body.decode("latin-1")
    return f"{len(body)} bytes, sha256 {hashlib.sha256(body).hexdigest()}"


def differences(expected: list[Answer], found: list[Answer]) -> list[str]:
    """One line for each answer that differs, naming the request and both sides of what differs."""
    return [
        f"{one.request}: {name}: {getattr(one, name)!r:.400} != {getattr(other, name)!r:.400}"
        for one, other in zip(expected, found, strict=True)
        if one != other
        for name in ("request", "status", "reason", "headers", "body")
        if getattr(one, name) != getattr(other, name)
    ]
