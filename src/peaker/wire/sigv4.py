r"""AWS Signature Version 4, both ways: to sign calls to Lambda, and to verify calls to the local Invoke port.

Source: AWS, "Create a signed AWS API request" (IAM User Guide). In short, with H = SHA-256 in hex and M = HMAC-SHA-256:

    canonical = method \n path \n query \n headers \n\n signed header names \n H(body)
    scope     = date / region / service / aws4_request
    to sign   = "AWS4-HMAC-SHA256" \n timestamp \n scope \n H(canonical)
    signature = M(M(M(M(M("AWS4" + secret, date), region), service), "aws4_request"), to sign)
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote

from peaker.errors import PeakerError

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "lambda"
CLOCK_SKEW_S_MAX = 300.0
_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^\s,]+)\s*,\s*SignedHeaders=([^\s,]+)\s*,\s*Signature=([0-9a-f]{64})\s*"
)
_UNSIGNED_BY_CLIENTS = frozenset({"connection", "expect", "traceparent", "user-agent", "x-amzn-trace-id"})
"""Headers that proxies and tracers change on the way; botocore leaves them out as well."""

HeaderPairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Who signs. The secret is kept out of representations, and with that out of logs and tracebacks."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


class SignatureRefused(PeakerError):  # noqa: N818 - named for the outcome
    """The call is not signed as it must be. `kind` is AWS's name for the reason; the status is 403 for each."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


def sign(
    key: SigningKey,
    *,
    method: str,
    target: str,
    headers: HeaderPairs,
    body: bytes,
    region: str,
    epoch_s: float,
    service: str = SERVICE,
) -> list[tuple[str, str]]:
    """The headers to add to a request that will be sent with `headers`, which must hold its host.

    `target` is path and query as they stand in the request line.
    """
    timestamp = datetime.fromtimestamp(epoch_s, UTC).strftime(_TIMESTAMP)
    added = [("x-amz-date", timestamp)]
    if key.session_token:
        added.append(("x-amz-security-token", key.session_token))
    carried = [(name, value) for name, value in headers if name.lower() not in _UNSIGNED_BY_CLIENTS]
    table = _header_table([*carried, *added])
    names = sorted(table)
    scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
    canonical = _canonical_request(method, target, table, names, hashlib.sha256(body).hexdigest())
    signature = _signature(key.secret_access_key, scope, timestamp, canonical)
    credential = f"{key.access_key_id}/{scope}"
    authorization = f"{ALGORITHM} Credential={credential}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return [*added, ("authorization", authorization)]


def verify(
    key: SigningKey,
    *,
    method: str,
    target: str,
    headers: HeaderPairs,
    body: bytes,
    epoch_s: float,
    service: str = SERVICE,
) -> None:
    """Accept a request that `key` signed for `service`, in any region, at most five minutes from now.

    Host and every x-amz- header must be among those signed, and a stated body hash must be the body's.

    Raises:
        SignatureRefused: with AWS's name and words for what is wrong.
    """
    table = _header_table(headers)
    if "authorization" not in table:
        raise SignatureRefused("MissingAuthenticationTokenException", "Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(table["authorization"])
    if found is None:
        raise SignatureRefused("IncompleteSignatureException", "The Authorization header is not a SigV4 signature.")
    credential, signed_names, signature = found.groups()
    access_key_id, _, scope = credential.partition("/")
    if not hmac.compare_digest(access_key_id.encode(), key.access_key_id.encode()):
        raise SignatureRefused("UnrecognizedClientException", "The security token included in the request is invalid.")
    timestamp = table.get("x-amz-date", "")
    _check_scope(scope, timestamp, service)
    _check_time(timestamp, epoch_s)
    names = _checked_names(signed_names, tuple(table))
    body_hash = hashlib.sha256(body).hexdigest()
    expected = _signature(
        key.secret_access_key, scope, timestamp, _canonical_request(method, target, table, names, body_hash)
    )
    stated_hash = table.get("x-amz-content-sha256", body_hash)
    signature_matches = hmac.compare_digest(expected, signature)
    if not (hmac.compare_digest(stated_hash.encode(), body_hash.encode()) and signature_matches):
        raise _mismatch()


def _mismatch() -> SignatureRefused:
    return SignatureRefused(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.",
    )


def _check_scope(scope: str, timestamp: str, service: str) -> None:
    parts = scope.split("/")
    if len(parts) != 4 or parts[3] != "aws4_request":
        raise SignatureRefused(
            "IncompleteSignatureException", "Credential is not KEY/DATE/REGION/SERVICE/aws4_request."
        )
    date, _, of_service, _ = parts
    if of_service != service:
        raise SignatureRefused(
            "InvalidSignatureException", f"Credential should be scoped to correct service: '{service}'."
        )
    if date != timestamp[:8]:
        raise SignatureRefused(
            "InvalidSignatureException",
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date}' != '{timestamp[:8]}', from '{timestamp}'.",
        )


@lru_cache(maxsize=64)
def _epoch_s_of(timestamp: str) -> float:
    """Calls of one second have the same; reading it anew for each would cost as much as a hash."""
    try:
        return datetime.strptime(timestamp, _TIMESTAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise SignatureRefused(
            "IncompleteSignatureException", "The request has no X-Amz-Date of the form YYYYMMDDTHHMMSSZ."
        ) from None


def _check_time(timestamp: str, epoch_s: float) -> None:
    signed_at_s = _epoch_s_of(timestamp)
    if abs(signed_at_s - epoch_s) <= CLOCK_SKEW_S_MAX:
        return
    now = datetime.fromtimestamp(epoch_s, UTC).strftime(_TIMESTAMP)
    if signed_at_s < epoch_s - CLOCK_SKEW_S_MAX:
        raise SignatureRefused(
            "InvalidSignatureException", f"Signature expired: {timestamp} is now {now}; 5 min. at most."
        )
    raise SignatureRefused(
        "InvalidSignatureException", f"Signature not yet current: {timestamp} is now {now}; 5 min. at most."
    )


@lru_cache(maxsize=64)
def _checked_names(signed_names: str, present: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the signed headers, given those of all; a client sends the same every time."""
    names = signed_names.split(";")
    required = {"host", *(name for name in present if name.startswith("x-amz-"))}
    missing = sorted(required - set(names)) or sorted(set(names) - set(present))
    if missing or names != sorted(names):
        raise SignatureRefused(
            "InvalidSignatureException",
            f"'{missing[0] if missing else names[0]}' must be a 'SignedHeader' in the AWS Authorization.",
        )
    return tuple(names)


def _header_table(headers: HeaderPairs) -> dict[str, str]:
    """Lower-case names; values trimmed, runs of blanks made one, repeated headers joined with a comma."""
    table: dict[str, str] = {}
    for name, value in headers:
        lower, cleaned = name.lower(), " ".join(value.split())
        table[lower] = f"{table[lower]},{cleaned}" if lower in table else cleaned
    return table


def _canonical_request(method: str, target: str, table: dict[str, str], names: Sequence[str], body_hash: str) -> str:
    lines = [f"{name}:{table[name]}" for name in names]
    return "\n".join([method, _canonical_target(target), *lines, "", ";".join(names), body_hash])


@lru_cache(maxsize=64)
def _canonical_target(target: str) -> str:
    """Path and query, a line each."""
    path, _, query = target.partition("?")
    return f"{_canonical_path(path)}\n{_canonical_query(query)}"


def _canonical_path(path: str) -> str:
    """Dot segments and empty segments removed, then encoded once more than it already is (all services but S3)."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    trailing = "/" if path.endswith("/") and kept else ""
    return quote("/" + "/".join(kept) + trailing, safe="/~")


def _canonical_query(query: str) -> str:
    pairs = []
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        pairs.append((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _signature(secret: str, scope: str, timestamp: str, canonical: str) -> str:
    to_sign = "\n".join([ALGORITHM, timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.digest(_derived_key(secret, scope), to_sign.encode(), "sha256").hex()


@lru_cache(maxsize=64)
def _derived_key(secret: str, scope: str) -> bytes:
    """The same for a whole day, region and service, so it is worth keeping: four of the five HMACs of a call."""
    derived = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    return derived
