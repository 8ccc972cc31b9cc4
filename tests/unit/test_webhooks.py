"""Webhooks by themselves: signatures, limits, what is answered when, and the event that a function gets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from peaker.app import load_web
from peaker.asgi import Message, Receive, Scope, Send
from peaker.clock import VirtualClock
from peaker.errors import QueueFull, QueueUnavailable
from peaker.events.memory_queue import MemoryQueue
from peaker.messages import Event
from peaker.policy.placement import Placement, make_rules, rule_for
from peaker.policy.webhook_signature import why_not_genuine
from peaker.servers.webhooks import Webhooks, hooks_of
from peaker.settings import NO_WEB_APP, FunctionSection, RouteSection, Settings, load_settings
from peaker.triggers import TriggerSection

NOW_S = 1_900_000_000.0
KEY = "whsec_test"
BODY = b'{"id": "evt_1", "type": "payment.succeeded"}'


def hmac_of(message: bytes, key: str = KEY) -> bytes:
    return hmac.new(key.encode(), message, hashlib.sha256).digest()


def stripe_header(body: bytes = BODY, at_s: float = NOW_S, key: str = KEY) -> bytes:
    stamp = str(int(at_s)).encode()
    return b"t=" + stamp + b",v1=" + hmac_of(stamp + b"." + body, key).hex().encode() + b",v0=old"


GITHUB = TriggerSection(http="/hooks/github", signature="github", secret="KEY")
STRIPE = TriggerSection(http="/hooks/stripe", signature="stripe", secret="KEY")
PLAIN = TriggerSection(http="/hooks/plain", signature="none", delivery_header="X-Delivery", body_bytes_max=1000)
BASE64 = TriggerSection(
    http="/hooks/shop",
    signature="hmac-sha256",
    secret="KEY",
    signature_header="X-Shop-Hmac",
    signature_encoding="base64",
)


def test_githubs_own_example_is_genuine_and_another_body_is_not() -> None:
    """The secret, payload and signature are those of GitHub's "Validating webhook deliveries"."""
    told = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    key, headers = b"It's a Secret to Everybody", {b"x-hub-signature-256": told}

    assert why_not_genuine(GITHUB, key, headers, b"Hello, World!", now_s=NOW_S) == ""
    why = why_not_genuine(GITHUB, key, headers, b"Hello, World?", now_s=NOW_S)
    assert why == "x-hub-signature-256 is not that of this body"


@pytest.mark.parametrize(
    ("trigger", "headers", "why"),
    [
        (GITHUB, {}, "there is no header x-hub-signature-256"),
        (GITHUB, {b"x-hub-signature-256": b"sha256=zz"}, "x-hub-signature-256 is not hex"),
        (GITHUB, {b"x-hub-signature-256": b""}, "x-hub-signature-256 is not that of this body"),
        (GITHUB, {b"x-hub-signature-256": b"\xff\xfe"}, "x-hub-signature-256 is not hex"),
        (GITHUB, {b"x-hub-signature-256": b"sha256=" + hmac_of(BODY, "another").hex().encode()}, "is not that of this"),
        (GITHUB, {b"x-hub-signature-256": hmac_of(BODY).hex().encode()}, ""),
        (BASE64, {b"x-shop-hmac": base64.b64encode(hmac_of(BODY))}, ""),
        (BASE64, {b"x-shop-hmac": hmac_of(BODY).hex().encode()}, "x-shop-hmac is not that of this body"),
        (BASE64, {b"x-shop-hmac": b"%%%"}, "x-shop-hmac is not base64"),
        (BASE64, {b"x-hub-signature-256": b"00"}, "there is no header x-shop-hmac"),
        (STRIPE, {b"stripe-signature": stripe_header()}, ""),
        (STRIPE, {b"stripe-signature": b"v1=00," + stripe_header()}, ""),
        (STRIPE, {b"stripe-signature": stripe_header(at_s=NOW_S - 299)}, ""),
        (
            STRIPE,
            {b"stripe-signature": stripe_header(at_s=NOW_S - 301)},
            "the signature is 301 s old; allowed: up to 300",
        ),
        (STRIPE, {b"stripe-signature": stripe_header(at_s=NOW_S + 301)}, "allowed: up to 300"),
        (STRIPE, {b"stripe-signature": stripe_header(b"{}")}, "stripe-signature is not that of this body"),
        (STRIPE, {b"stripe-signature": stripe_header(key="old")}, "stripe-signature is not that of this body"),
        (STRIPE, {b"stripe-signature": stripe_header().replace(b"t=19", b"t=20")}, "is not that of this body"),
        (STRIPE, {b"stripe-signature": b"t=1,t=2,v1=00"}, "stripe-signature is not of the form t=...,v1=..."),
        (STRIPE, {b"stripe-signature": b"nonsense"}, "stripe-signature is not of the form t=...,v1=..."),
        (STRIPE, {}, "there is no header stripe-signature"),
        (PLAIN, {}, ""),
    ],
)
def test_a_signature_is_taken_or_the_reason_is_told(
    trigger: TriggerSection, headers: dict[bytes, bytes], why: str
) -> None:
    told = why_not_genuine(trigger, KEY.encode(), headers, BODY, now_s=NOW_S)

    assert (told == "") == (why == "")
    assert why in told


async def users_app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"the app"})


class Sender:
    """Sends requests to one worker's webhooks, whose events go to a queue in memory."""

    def __init__(self, *triggers: TriggerSection) -> None:
        self.clock = VirtualClock(epoch_s=NOW_S)
        self.queue = MemoryQueue(clock=self.clock)
        self.error: Exception | None = None
        self.kept: list[Event] = []
        settings = Settings(function=(FunctionSection(name="f", handler="a:b", on=triggers),))
        hooks = hooks_of(settings, {"KEY": KEY})
        self.app = Webhooks(users_app, hooks, self.put, clock=self.clock, chance=random.Random(5))

    async def put(self, event: Event) -> str:
        if self.error is not None:
            raise self.error
        put = await self.queue.put([event])
        if put.accepted:
            self.kept.append(event)
        return put.duplicates.get(event.id, event.id)

    def send(
        self,
        path: str,
        body: bytes = BODY,
        headers: dict[str, bytes] | None = None,
        *,
        method: str = "POST",
        parts: int = 1,
        leaves: bool = False,
        declared: int | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and document of the answer; status 0 where there was none."""
        named = {"host": b"shop.example", "content-length": str(len(body) if declared is None else declared).encode()}
        size = -(-len(body) // parts) or 1
        pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
        coming: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": leaves or number < len(pieces) - 1}
            for number, piece in enumerate(pieces)
        ]
        coming.append({"type": "http.disconnect"})
        sent: list[Message] = []

        async def receive() -> Message:
            return coming.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"a=1",
            "headers": [(name.encode(), value) for name, value in (named | (headers or {})).items()],
            "scheme": "https",
            "client": ("203.0.113.9", 4000),
            "server": ("10.0.0.1", 443),
            "extensions": {"tls": {}},
        }
        asyncio.run(self.app(scope, receive, send))
        if not sent:
            return 0, {}, None
        start, whole = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], told, json.loads(whole) if told else whole


def test_a_genuine_delivery_is_kept_as_an_http_api_event() -> None:
    sender = Sender(STRIPE)

    status, headers, answer = sender.send(
        "/hooks/stripe", headers={"stripe-signature": stripe_header(), "expect": b"100-continue"}, parts=3
    )

    event = sender.kept[0]
    read = APIGatewayProxyEventV2(json.loads(event.payload))
    assert (status, answer) == (202, {"event": event.id, "is_repeat": False})
    assert headers["content-type"] == "application/json"
    assert (event.function, event.source, event.dedup_key, event.dedup_s) == ("f", "http/hooks/stripe", "evt_1", 86_400)
    assert (read.raw_path, read.raw_query_string, read.http_method, read.body) == (
        "/hooks/stripe",
        "a=1",
        "POST",
        BODY.decode(),
    )
    assert read.request_context.http.source_ip == "203.0.113.9"
    assert read.request_context.request_id == event.id
    assert "expect" not in json.loads(event.payload)["headers"]


def test_bytes_that_are_no_text_reach_the_function_as_base64() -> None:
    sender = Sender(PLAIN)

    assert sender.send("/hooks/plain", b"\x00\xff")[0] == 202
    document = json.loads(sender.kept[0].payload)
    assert (document["isBase64Encoded"], base64.b64decode(document["body"])) == (True, b"\x00\xff")


def test_what_is_no_webhook_is_the_apps() -> None:
    sender = Sender(STRIPE)

    assert sender.send("/hooks/stripe/more")[0] == 299
    assert sender.send("/")[0] == 299


def test_a_delivery_that_is_not_genuine_is_refused_and_nothing_kept() -> None:
    sender = Sender(STRIPE)

    assert sender.send("/hooks/stripe")[::2] == (401, {"message": "there is no header stripe-signature"})
    assert sender.send("/hooks/stripe", headers={"stripe-signature": stripe_header(key="other")})[0] == 401
    assert sender.kept == []


@pytest.mark.parametrize(
    ("trigger", "first", "second"),
    [
        (STRIPE, {"stripe-signature": stripe_header()}, {"stripe-signature": stripe_header(at_s=NOW_S + 5)}),
        (
            GITHUB,
            {"x-hub-signature-256": hmac_of(BODY).hex().encode(), "x-github-delivery": b"7"},
            {"x-hub-signature-256": hmac_of(BODY).hex().encode(), "x-github-delivery": b"7"},
        ),
        (PLAIN, {"x-delivery": b"a"}, {"x-delivery": b"a"}),
    ],
)
def test_a_repeated_delivery_is_answered_the_same_and_runs_nothing(
    trigger: TriggerSection, first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    sender = Sender(trigger)
    once = sender.send(trigger.http, headers=first)
    again = sender.send(trigger.http, headers=second)

    assert (once[0], again[0]) == (202, 202)
    assert again[2] == {"event": once[2]["event"], "is_repeat": True}
    assert len(sender.kept) == 1


def test_deliveries_without_an_id_are_all_kept() -> None:
    sender = Sender(PLAIN)

    assert [sender.send("/hooks/plain")[2]["is_repeat"] for _ in range(3)] == [False] * 3
    assert len(sender.kept) == 3


def test_another_method_is_refused_with_the_one_that_is_taken() -> None:
    sender = Sender(PLAIN, TriggerSection(http="/hooks/plain", signature="none", method="PUT"))

    status, headers, _ = sender.send("/hooks/plain", method="GET")
    assert (status, headers["allow"]) == (405, "POST, PUT")
    assert sender.send("/hooks/plain", method="PUT")[0] == 202


@pytest.mark.parametrize(("declared", "parts"), [(None, 1), (0, 7), (10**12, 1)])
def test_a_body_that_is_too_long_is_refused_whatever_it_says_of_itself(declared: int | None, parts: int) -> None:
    sender = Sender(PLAIN)

    status, _, answer = sender.send("/hooks/plain", b"x" * 1001, declared=declared, parts=parts)
    assert (status, answer["message"]) == (413, "the body is longer than 1,000 bytes")
    assert sender.send("/hooks/plain", b"x" * 1000)[0] == 202


def test_a_body_that_grows_too_long_as_an_event_is_refused() -> None:
    sender = Sender(TriggerSection(http="/h", signature="none", body_bytes_max=700_000))

    assert sender.send("/h", b"\xff" * 700_000)[0] == 202
    assert sender.send("/h", b"\xff" * 10_000, {"x-large": b"y" * 1_048_576})[0] == 413


def test_a_sender_that_leaves_before_its_body_is_whole_leaves_nothing() -> None:
    sender = Sender(PLAIN)

    assert sender.send("/hooks/plain", leaves=True)[0] == 0
    assert sender.kept == []


def test_headers_that_no_event_can_hold_are_refused() -> None:
    assert Sender(PLAIN).send("/hooks/plain", headers={"x-name": b"\xff\xfe"})[0] == 400


@pytest.mark.parametrize(("error", "status"), [(QueueFull("full"), 429), (QueueUnavailable("away"), 503)])
def test_without_a_place_for_the_event_the_sender_is_asked_to_come_again(error: Exception, status: int) -> None:
    sender = Sender(PLAIN)
    sender.error = error

    found, headers, _ = sender.send("/hooks/plain")
    assert (found, int(headers["retry-after"]) >= 1) == (status, True)


def test_a_webhook_never_leaves_the_servers_whatever_its_path_is_declared() -> None:
    settings = Settings(
        function=(FunctionSection(name="f", handler="a:b", on=(STRIPE,)),),
        route=(RouteSection(path="/hooks/*", placement="servers"),),
    )
    rules = make_rules(settings)

    rule = rules[rule_for(rules, "/hooks/stripe")]
    assert (rule.placement, rule.why) == (Placement.SERVERS, "webhook, kept as an event of f")
    assert rules[rule_for(rules, "/hooks/other")].why.startswith("declared in")


def test_a_project_of_webhooks_alone_has_an_app_that_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "peaker.toml"
    path.write_text('[[function]]\nname = "f"\nhandler = "a:b"\n[[function.on]]\nhttp = "/h"\nsignature = "none"\n')
    settings = load_settings(path)
    sent: list[Message] = []
    coming: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def asked() -> None:
        app = load_web(settings)
        for kind in ("lifespan", "http", "websocket"):
            await app({"type": kind}, receive, send)

    asyncio.run(asked())
    assert settings.app.web == NO_WEB_APP
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
        "http.response.start",
        "http.response.body",
        "websocket.close",
    ]
    assert sent[2]["status"] == 404
    assert Settings.from_json(settings.to_json()) == settings
