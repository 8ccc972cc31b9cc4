"""Webhooks: requests to the paths of `[[function.on]] http`, answered 202 once they are events on disk.

They stand before the user's app and behind the gate, so that they have the app's port, limits, slots and log. A request
becomes the HTTP API event (payload 2.0) that a Lambda behind API Gateway would get, and runs the function through the
event queue: retried, kept as a dead letter, never lost. An app without webhooks has none of this on its path.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from peaker.asgi import ASGIApp, Message, Receive, Scope, Send
from peaker.clock import Clock
from peaker.errors import MalformedEvent, PayloadTooLarge, QueueFull, QueueUnavailable
from peaker.messages import Event, Headers, Response
from peaker.policy.webhook_signature import delivery_of, why_not_genuine
from peaker.settings import Settings
from peaker.triggers import Kind, TriggerSection
from peaker.wire import http_api
from peaker.wire.lambda_errors import ASYNC_PAYLOAD_BYTES_MAX

WAIT_S = 5.0
"""How long a request waits for the events process to be there; senders give up after 10 s or more."""

_FULL_RETRY_S = 5
_AWAY_RETRY_S = 2

# Of no meaning once the body is whole; payload 2.0 has no place for them.
_LEFT_OUT = frozenset({b"expect", b"upgrade", b"trailer"})

Put = Callable[[Event], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook: what it asks for, which function it runs, and the key its sender signs with (b"" for none)."""

    trigger: TriggerSection
    function: str
    key: bytes = b""


def hooks_of(settings: Settings, secrets: Mapping[str, str]) -> dict[str, dict[str, Hook]]:
    """All webhooks of an app by path and method; `secrets` has the value of each name in [secrets]."""
    found: dict[str, dict[str, Hook]] = {}
    for function in settings.started:
        for trigger in function.on:
            if trigger.kind is Kind.HTTP:
                key = secrets[trigger.secret].encode() if trigger.secret else b""
                found.setdefault(trigger.http, {})[trigger.method] = Hook(trigger, function.name, key)
    return found


class Webhooks:
    """An ASGI app before `app`, which gets all that is no webhook.

    Args:
        app: the user's.
        hooks: by path and method.
        put: has an event kept; when it returns the event's id (or that of the same delivery before), it is on disk.
        clock: its calendar dates signatures and events.
        chance: names events.
    """

    def __init__(
        self,
        app: ASGIApp,
        hooks: Mapping[str, Mapping[str, Hook]],
        put: Put,
        *,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._app = app
        self._hooks = hooks
        self._put = put
        self._clock = clock
        self._chance = chance

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a webhook, or hand on; the app's own requests pay for one look into a table."""
        by_method = self._hooks.get(scope["path"]) if scope["type"] == "http" else None
        if by_method is None:
            return self._app(scope, receive, send)
        return self._take(by_method, scope, receive, send)

    async def _take(self, by_method: Mapping[str, Hook], scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(by_method, scope, receive)
        if response is not None:
            await send({"type": "http.response.start", "status": response.status, "headers": list(response.headers)})
            await send({"type": "http.response.body", "body": response.body})

    async def _answer(self, by_method: Mapping[str, Hook], scope: Scope, receive: Receive) -> Response | None:
        """The answer; None where the sender has gone."""
        hook = by_method.get(scope["method"])
        if hook is None:
            allowed = ", ".join(sorted(by_method)).encode()
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "the webhook takes another method", (b"allow", allowed))
        # From before the body is read: trailers are appended to the same list.
        plain = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in _LEFT_OUT]}
        plain.pop("extensions", None)
        bytes_max = hook.trigger.body_bytes_max
        headers = dict(plain["headers"])
        declared = headers.get(b"content-length", b"0")
        body = await _read(receive, bytes_max) if declared.isdigit() and int(declared) <= bytes_max else _TOO_LONG
        if body is None:
            return None
        if isinstance(body, _TooLong):
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {bytes_max:,} bytes")
        if loss := http_api.losses(plain):
            return _refusal(HTTPStatus.BAD_REQUEST, loss)
        why_not = why_not_genuine(hook.trigger, hook.key, headers, body, now_s=self._clock.epoch_s())
        if why_not:
            return _refusal(HTTPStatus.UNAUTHORIZED, why_not)
        return await self._keep(hook, plain, headers, body)

    async def _keep(self, hook: Hook, scope: Scope, headers: Mapping[bytes, bytes], body: bytes) -> Response:
        """Have it kept as an event."""
        event_id = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        try:
            request = http_api.scope_to_request(scope, body)
            payload = http_api.request_to_event(request, request_id=event_id, epoch_s=self._clock.epoch_s())
            if len(payload) > ASYNC_PAYLOAD_BYTES_MAX:
                raise PayloadTooLarge(f"as an event it has over {ASYNC_PAYLOAD_BYTES_MAX:,} bytes")  # noqa: TRY301
            kept = await self._put(
                Event(
                    id=event_id,
                    function=hook.function,
                    payload=payload,
                    source=f"{Kind.HTTP.value}{hook.trigger.http}",
                    dedup_key=delivery_of(hook.trigger, headers, body) if hook.trigger.delivery_known_s else "",
                    dedup_s=hook.trigger.delivery_known_s,
                )
            )
        except PayloadTooLarge as error:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        except MalformedEvent as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        except QueueFull:
            return _later(HTTPStatus.TOO_MANY_REQUESTS, "the event queue is full", _FULL_RETRY_S)
        except QueueUnavailable:
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, "the event could not be kept", _AWAY_RETRY_S)
        return _response(HTTPStatus.ACCEPTED, {"event": kept, "is_repeat": kept != event_id})


class _TooLong:
    """Stands for a body that is longer than allowed."""


_TOO_LONG = _TooLong()


async def _read(receive: Receive, bytes_max: int) -> bytes | _TooLong | None:
    """The whole body; None where the sender went away before its end."""
    parts: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > bytes_max:
            return _TOO_LONG
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _refusal(status: HTTPStatus, why: str, *headers: tuple[bytes, bytes]) -> Response:
    return _response(status, {"message": why}, *headers)


def _later(status: HTTPStatus, why: str, after_s: int) -> Response:
    return _refusal(status, why, (b"retry-after", str(after_s).encode()))


def _response(status: HTTPStatus, document: dict[str, object], *headers: tuple[bytes, bytes]) -> Response:
    body = json.dumps(document).encode()
    always: Headers = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    return Response(status=status.value, headers=(*always, *headers), body=body)
