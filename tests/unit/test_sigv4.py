"""Signature Version 4 against fixed vectors, against botocore, and against everything that should not pass."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from peaker.wire.sigv4 import SignatureRefused, SigningKey, sign, verify

KEY = SigningKey("PEAKEREXAMPLEKEYID00", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW_S = dt.datetime(2026, 11, 23, 21, 0, 0, tzinfo=dt.UTC).timestamp()
TARGET = "/2015-03-31/functions/thumbnail/invocations"
HEADERS = [
    ("Host", "127.0.0.1:9001"),
    ("Content-Type", "application/json"),
    ("X-Amz-Invocation-Type", "RequestResponse"),
]

VECTORS = [
    # Computed with botocore 1.44.5 (botocore.auth.SigV4Auth, service "lambda").
    ("us-east-1", TARGET, b'{"a": 1}', "ea65b20fd443eee2b7806c35cdf5a360771876199c64c7e46b9ba41804b896c1"),
    (
        "eu-west-1",
        TARGET + "?Qualifier=%24LATEST&b=2&a=1&a=0",
        b"",
        "21b977b0285b5c28b901ca070f0dc8e0f76beb1dc934563ee5569a34d14b110c",
    ),
    (
        "us-east-1",
        "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations",
        b"\x00\xff",
        "fb859a08473fd5e4648ae14b31fa329bac770468ccc1139bf084dca062bc220f",
    ),
]


def signed(**changes: Any) -> dict[str, Any]:
    call = {"method": "POST", "target": TARGET, "headers": HEADERS, "body": b'{"a": 1}', **changes}
    region = call.pop("region", "us-east-1")
    key, epoch_s = call.pop("key", KEY), call.pop("epoch_s", NOW_S)
    added = sign(key, **call, region=region, epoch_s=epoch_s, service=call.pop("service", "lambda"))
    return {**call, "headers": [*call["headers"], *added]}


def by_botocore(region: str, target: str, body: bytes) -> list[tuple[str, str]]:
    request = AWSRequest("POST", f"http://127.0.0.1:9001{target}", headers=dict(HEADERS), data=body)
    auth = SigV4Auth(Credentials(KEY.access_key_id, KEY.secret_access_key), "lambda", region)
    request.context["timestamp"] = dt.datetime.fromtimestamp(NOW_S, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    # The steps of add_auth with a given time, as it reads the clock itself.
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    canonical = auth.canonical_request(request)
    auth._inject_signature_to_request(request, auth.signature(auth.string_to_sign(request, canonical), request))
    return list(request.headers.items())


def refusal(call: dict[str, Any], *, key: SigningKey = KEY, epoch_s: float = NOW_S) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        verify(key, **call, epoch_s=epoch_s)
    return caught.value


@pytest.mark.parametrize(("region", "target", "body", "signature"), VECTORS)
def test_a_signature_is_the_known_one(region: str, target: str, body: bytes, signature: str) -> None:
    call = signed(region=region, target=target, body=body)
    assert dict(call["headers"])["authorization"].endswith(f"Signature={signature}")
    verify(KEY, **call, epoch_s=NOW_S)


@settings(max_examples=60, deadline=None)
@given(
    query=st.lists(st.tuples(st.sampled_from("abc"), st.text("xyz0123456789~-_.", max_size=4)), max_size=4),
    body=st.binary(max_size=64),
    region=st.sampled_from(["us-east-1", "eu-central-1", "local"]),
    name=st.text("abc-_%2F3A", min_size=1, max_size=8).filter(lambda text: "%" not in text),
)
def test_what_botocore_signs_is_accepted_and_signed_alike(
    query: list[tuple[str, str]], body: bytes, region: str, name: str
) -> None:
    target = f"/2015-03-31/functions/{name}/invocations"
    if query:
        target += "?" + "&".join(f"{key}={value}" for key, value in query)
    headers = by_botocore(region, target, body)
    verify(KEY, method="POST", target=target, headers=headers, body=body, epoch_s=NOW_S)
    ours = dict(signed(target=target, body=body, region=region)["headers"])["authorization"]
    assert ours == dict(headers)["Authorization"]


def test_a_session_token_is_signed_along() -> None:
    call = signed(key=SigningKey(KEY.access_key_id, KEY.secret_access_key, "token"))
    verify(KEY, **call, epoch_s=NOW_S)
    headers = [(name, "other" if name == "x-amz-security-token" else value) for name, value in call["headers"]]
    assert refusal({**call, "headers": headers}).kind == "InvalidSignatureException"


def _replace(name: str, value: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(call: dict[str, Any]) -> dict[str, Any]:
        return {**call, "headers": [(key, value if key.lower() == name else old) for key, old in call["headers"]]}

    return change


def _edit(old: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(call: dict[str, Any]) -> dict[str, Any]:
        return {**call, "headers": [(name, value.replace(old, new)) for name, value in call["headers"]]}

    return change


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda call: {**call, "body": b'{"a": 2}'}, "InvalidSignatureException"),
        (lambda call: {**call, "target": TARGET.replace("thumbnail", "other")}, "InvalidSignatureException"),
        (lambda call: {**call, "target": TARGET + "?Qualifier=1"}, "InvalidSignatureException"),
        (lambda call: {**call, "method": "GET"}, "InvalidSignatureException"),
        (_replace("host", "evil.example"), "InvalidSignatureException"),
        (_replace("x-amz-invocation-type", "Event"), "InvalidSignatureException"),
        (lambda call: {**call, "headers": [*call["headers"], ("x-amz-log-type", "Tail")]}, "InvalidSignatureException"),
        (lambda call: {**call, "headers": [*call["headers"], ("host", "second")]}, "InvalidSignatureException"),
        (lambda call: {**call, "headers": HEADERS}, "MissingAuthenticationTokenException"),
        (_replace("authorization", "Basic cGVha2Vy"), "IncompleteSignatureException"),
        (_replace("authorization", "AWS4-HMAC-SHA256 Credential=a"), "IncompleteSignatureException"),
        (_replace("x-amz-date", "yesterday"), "InvalidSignatureException"),
        (_replace("x-amz-date", ""), "InvalidSignatureException"),
        (_edit("PEAKEREXAMPLEKEYID00", "PEAKEREXAMPLEKEYID01"), "UnrecognizedClientException"),
        (_edit("/lambda/", "/s3/"), "InvalidSignatureException"),
        (_edit("/us-east-1/", "/eu-west-1/"), "InvalidSignatureException"),
        (_edit("/aws4_request", "/aws5_request"), "IncompleteSignatureException"),
        (_edit("content-type;host;", "host;content-type;"), "InvalidSignatureException"),
        (_edit("content-type;host;", "content-type;"), "InvalidSignatureException"),
        (_edit("content-type;host;", "absent;content-type;host;"), "InvalidSignatureException"),
    ],
)
def test_whatever_was_changed_on_the_way_is_refused(change: Callable[..., Any], kind: str) -> None:
    assert refusal(change(signed())).kind == kind


def test_another_secret_is_refused() -> None:
    assert refusal(signed(), key=SigningKey(KEY.access_key_id, "other")).kind == "InvalidSignatureException"


def test_a_body_hash_that_is_not_the_bodys_is_refused_though_it_was_signed() -> None:
    call = signed(headers=[*HEADERS, ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")])
    assert refusal(call).kind == "InvalidSignatureException"


@pytest.mark.parametrize("off_s", [-299, 299])
def test_a_clock_five_minutes_off_is_accepted(off_s: float) -> None:
    verify(KEY, **signed(epoch_s=NOW_S + off_s), epoch_s=NOW_S)


@pytest.mark.parametrize(("off_s", "words"), [(-301, "Signature expired"), (301, "Signature not yet current")])
def test_a_clock_further_off_is_refused_in_lambdas_words(off_s: float, words: str) -> None:
    error = refusal(signed(epoch_s=NOW_S + off_s))
    assert error.kind == "InvalidSignatureException"
    assert words in str(error)


def test_the_secret_is_not_shown() -> None:
    assert KEY.secret_access_key not in repr(KEY)
