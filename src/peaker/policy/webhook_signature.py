"""Whether a webhook comes from whom it says: signatures as GitHub, Stripe and many others make them.

Sources: GitHub, "Validating webhook deliveries" (X-Hub-Signature-256); Stripe, "Verify webhook signatures manually"
(Stripe-Signature, scheme v1, tolerance of five minutes). Comparisons take the same time wherever two texts differ.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
from base64 import b64decode
from collections.abc import Mapping

from peaker.triggers import Signature, TriggerSection

GITHUB_SIGNATURE = b"x-hub-signature-256"
GITHUB_DELIVERY = b"x-github-delivery"
STRIPE_SIGNATURE = b"stripe-signature"

_PREFIX = b"sha256="
_SIGNATURES_MAX = 16
"""Of one Stripe-Signature header: it has one for each secret that is being changed over."""


def why_not_genuine(
    trigger: TriggerSection, key: bytes, headers: Mapping[bytes, bytes], body: bytes, *, now_s: float
) -> str:
    """Why this request is not taken for genuine, "" where it is; `headers` have names in lower case.

    Args:
        trigger: says the scheme.
        key: the secret that both sides know.
        headers: of the request.
        body: byte for byte as received; a signature is over that.
        now_s: epoch seconds, for signatures that tell their time.
    """
    match Signature(trigger.signature):
        case Signature.NONE:
            return ""
        case Signature.GITHUB:
            return _why_not_plain(GITHUB_SIGNATURE, "hex", key, headers, body)
        case Signature.HMAC_SHA256:
            name = trigger.signature_header.lower().encode()
            return _why_not_plain(name, trigger.signature_encoding, key, headers, body)
        case Signature.STRIPE:
            return _why_not_stripe(key, headers, body, now_s=now_s, age_s_max=trigger.signature_age_s_max)


def _why_not_plain(name: bytes, encoding: str, key: bytes, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """The header holds the digest of the body, perhaps after `sha256=`."""
    told = headers.get(name)
    if told is None:
        return f"there is no header {name.decode()}"
    try:
        digest = _decoded(told.strip().removeprefix(_PREFIX), encoding)
    except (binascii.Error, ValueError):
        return f"{name.decode()} is not {encoding}"
    return "" if _is_same(digest, _digest(key, body)) else f"{name.decode()} is not that of this body"


def _why_not_stripe(key: bytes, headers: Mapping[bytes, bytes], body: bytes, *, now_s: float, age_s_max: float) -> str:
    """`t=1492774577,v1=5257a8...,v1=...`: the digest is over the time, a dot and the body."""
    told = headers.get(STRIPE_SIGNATURE)
    if told is None:
        return f"there is no header {STRIPE_SIGNATURE.decode()}"
    parts = [part.strip().partition(b"=") for part in told.split(b",")]
    times = [value for name, _, value in parts if name == b"t"]
    signatures = [value for name, _, value in parts if name == b"v1"][:_SIGNATURES_MAX]
    if len(times) != 1 or not (times[0].isdigit() and len(times[0]) <= 12) or not signatures:
        return f"{STRIPE_SIGNATURE.decode()} is not of the form t=...,v1=..."
    expected = _digest(key, times[0] + b"." + body).hex().encode()
    # Every one is looked at, so that the time it takes tells nothing.
    if not sum([hmac.compare_digest(signature, expected) for signature in signatures]):
        return f"{STRIPE_SIGNATURE.decode()} is not that of this body"
    # After the comparison: what is not signed is not believed. A clock of theirs may be ahead, too.
    age_s = now_s - int(times[0])
    return "" if abs(age_s) <= age_s_max else f"the signature is {age_s:.0f} s old; allowed: up to {age_s_max:g}"


def _decoded(text: bytes, encoding: str) -> bytes:
    return binascii.unhexlify(text) if encoding == "hex" else b64decode(text, validate=True)


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _is_same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def delivery_of(trigger: TriggerSection, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """The sender's name for this delivery, the same when it sends it again; "" where it has none.

    GitHub has a header for it; Stripe sends the id of its event, which stands in the body; of others the settings say
    which header it is.
    """
    scheme = Signature(trigger.signature)
    if trigger.delivery_header:
        return headers.get(trigger.delivery_header.lower().encode(), b"").decode("latin-1")[:DELIVERY_CHARACTERS_MAX]
    if scheme is Signature.GITHUB:
        return headers.get(GITHUB_DELIVERY, b"").decode("latin-1")[:DELIVERY_CHARACTERS_MAX]
    if scheme is Signature.STRIPE:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return ""
        found = document.get("id") if isinstance(document, dict) else None
        return found[:DELIVERY_CHARACTERS_MAX] if isinstance(found, str) else ""
    return ""


DELIVERY_CHARACTERS_MAX = 200
