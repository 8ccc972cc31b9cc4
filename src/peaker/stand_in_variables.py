"""The environment by which AWS's clients in the user's code find the stand-in, and nothing but the stand-in.

Source of the names: "AWS SDKs and Tools Reference Guide", settings reference. The supervisor makes them (`variables`)
for the processes it starts; what runs the user's code puts them above what the user declared (`above`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from peaker.local_aws_section import LOCAL
from peaker.settings import Settings

ENDPOINT = "AWS_ENDPOINT_URL"

_GIVEN = (
    "AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED", ENDPOINT,
    "AWS_ENDPOINT_URL_LAMBDA", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_REGION", "AWS_SECRET_ACCESS_KEY",
    "AWS_SHARED_CREDENTIALS_FILE", "NO_PROXY", "no_proxy",
)  # fmt: skip

_LEADS_TO_AWS = frozenset({
    "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_DEFAULT_PROFILE", "AWS_PROFILE", "AWS_ROLE_ARN",
    "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
})  # fmt: skip
"""Variables that are taken away: each gives a client credentials that are not the stand-in's."""

_NOWHERE = "http://127.0.0.1:1"


def region_of_stand_in(settings: Settings, declared: Mapping[str, str]) -> str:
    """The region of everything in the stand-in: the one the user's code says it is in, else `aws.region`."""
    return declared.get("AWS_REGION") or declared.get("AWS_DEFAULT_REGION") or settings.aws.region


def variables(
    *, endpoint_url: str, lambda_endpoint: str, region: str, key: tuple[str, str], config: Path, credentials: Path
) -> dict[str, str]:
    """What clients are given; `key` is id and secret of a key that is worth nothing at AWS.

    The files hold no profile but Peaker's own, so that code which names one of the user's is refused by its client
    and does not reach AWS by accident. Lambda is the function host, not the stand-in.
    """
    given = {
        ENDPOINT: endpoint_url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_ACCESS_KEY_ID": key[0],
        "AWS_SECRET_ACCESS_KEY": key[1],
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return given | ({"AWS_ENDPOINT_URL_LAMBDA": lambda_endpoint} if lambda_endpoint else {})


def without_aws(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without anything of AWS's; a proxy is told to leave calls to this machine alone."""
    kept = {name: value for name, value in environ.items() if not name.startswith("AWS_")}
    if any(name in kept for name in ("HTTP_PROXY", "http_proxy")):
        for name in ("NO_PROXY", "no_proxy"):
            kept[name] = ",".join(part for part in (kept.get(name, ""), "127.0.0.1", "localhost") if part)
    return kept


def elsewhere(environ: Mapping[str, str]) -> set[str]:
    """Names of variables that lead away from a stand-in: to other credentials, and to endpoints of single services."""
    return {*_LEADS_TO_AWS, *(name for name in environ if name.startswith(f"{ENDPOINT}_"))}


def above(settings: Settings, declared: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """`declared` with what the supervisor gave in `environ` above it; unchanged where AWS has no stand-in.

    Endpoints of single services that the user declared stay: a DynamoDB Local of one's own is no accident.
    """
    if not settings.aws.endpoint:
        return dict(declared)
    kept = {name: value for name, value in declared.items() if name not in _LEADS_TO_AWS}
    return kept | {name: environ[name] for name in _GIVEN if name in environ}


def endpoint_before_start(settings: Settings) -> str:
    """Where clients are led before anything has been started: to nobody, where Peaker's own stand-in is meant."""
    return _NOWHERE if settings.aws.endpoint == LOCAL else settings.aws.endpoint
