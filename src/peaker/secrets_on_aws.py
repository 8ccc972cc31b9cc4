"""Secrets that stand in AWS Secrets Manager or in Systems Manager's Parameter Store, read with a light signed client.

A function reads them while it starts, so nothing of an SDK is loaded, and `http.client` only when there is a secret. A
secret of which several keys are wanted is asked for once; parameters come ten to a call.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from peaker.errors import CredentialsError, SettingsError
from peaker.wire.sigv4 import SigningKey, sign

CALL_S_MAX = 3.0
ATTEMPTS = 3
PAUSE_S = 0.3
"""Before the second attempt; doubled before the third."""

ANSWER_BYTES_MAX = 1_048_576
PARAMETERS_A_CALL = 10
"""Of GetParameters (AWS Systems Manager API Reference)."""

_SECRET = re.compile(r"(arn:[^:]+:secretsmanager:[^:]+:\d+:secret:[^:]+)(?::([^:]*))?(?::([^:]*))?(?::([^:]*))?")
_TARGETS = {"secretsmanager": "secretsmanager.GetSecretValue", "ssm": "AmazonSSM.GetParameters"}
_ENDPOINT_VARIABLES = {"secretsmanager": "AWS_ENDPOINT_URL_SECRETS_MANAGER", "ssm": "AWS_ENDPOINT_URL_SSM"}
_ACTIONS = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameters"}
_REFUSED = ("AccessDenied", "UnrecognizedClient", "InvalidSignature", "ExpiredToken", "InvalidClientTokenId")
_AGAIN = ("Throttling", "TooManyRequests", "InternalServiceError", "InternalServerError")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a secret stands: `arn` without what follows it, and of a secret the rest of it."""

    service: str
    region: str
    arn: str
    key: str = ""
    stage: str = ""
    version: str = ""


class SecretsOnAws:
    """Reads references.

    Args:
        key: that calls are signed with; asked when the first call is made, may raise CredentialsError.
        variables: of the process, for endpoints and trusted authorities as AWS's SDKs have them.
        epoch_s: the time, for signatures.
        pause: waits so many seconds between attempts.
    """

    def __init__(
        self,
        key: Callable[[], SigningKey],
        variables: Mapping[str, str],
        *,
        epoch_s: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._key = key
        self._variables = variables
        self._epoch_s = epoch_s
        self._pause = pause

    def read(self, references: Mapping[str, str]) -> dict[str, str]:
        """The value of each by its name; `references` are ARNs as [secrets] allows them.

        Raises:
            SettingsError: one cannot be had; names it, says why and what to do, and shows nothing of it.
            CredentialsError: there is nothing to sign with.
        """
        if not references:
            return {}
        places = {name: _place(reference) for name, reference in references.items()}
        key = self._key()
        found: dict[tuple[str, str, str], str] = {}
        for region in sorted({each.region for each in places.values() if each.service == "ssm"}):
            here = {name: each for name, each in places.items() if (each.service, each.region) == ("ssm", region)}
            found.update(self._parameters(here, key))
        for name, place in places.items():
            at = (place.arn, place.stage, place.version)
            if at not in found:
                found[at] = self._secret(name, place, key)
        return {
            name: _chosen(name, found[place.arn, place.stage, place.version], place.key)
            for name, place in places.items()
        }

    def _secret(self, name: str, place: _Place, key: SigningKey) -> str:
        asked = {"SecretId": place.arn, "VersionStage": place.stage, "VersionId": place.version}
        answer = self._call([name], place, {field: value for field, value in asked.items() if value}, key)
        value = answer.get("SecretString")
        if not isinstance(value, str):
            raise _wrong([name], "it is binary, and a variable is text", "Store it as text.")
        return value

    def _parameters(self, places: Mapping[str, _Place], key: SigningKey) -> dict[tuple[str, str, str], str]:
        wanted = sorted({place.arn for place in places.values()})
        found: dict[tuple[str, str, str], str] = {}
        for first in range(0, len(wanted), PARAMETERS_A_CALL):
            some = wanted[first : first + PARAMETERS_A_CALL]
            names = [name for name, place in places.items() if place.arn in some]
            answer = self._call(names, places[names[0]], {"Names": some, "WithDecryption": True}, key)
            found.update({(each["ARN"], "", ""): each["Value"] for each in answer.get("Parameters", ())})
        missing = [name for name, place in places.items() if (place.arn, "", "") not in found]
        if missing:
            raise _wrong(missing, "there is no such parameter", "Make it, or correct the ARN in [secrets].")
        return found

    def _call(self, names: list[str], place: _Place, fields: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
        pause_s = PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                status, answer = self._send(place, json.dumps(fields).encode(), key)
            except (OSError, ValueError) as error:
                code, said = "", f"no answer from {place.service} in {place.region}: {error}"
            else:
                if status == 200:
                    return answer
                code = str(answer.get("__type", "")).rpartition("#")[2]
                said = f"{code or f'HTTP {status}'} from {place.service} in {place.region}"
                if status < 500 and not code.startswith(_AGAIN):
                    break
            if attempt < ATTEMPTS:
                self._pause(pause_s)
                pause_s *= 2
        raise _wrong(names, said, _remedy(code, place))

    def _send(self, place: _Place, body: bytes, key: SigningKey) -> tuple[int, dict[str, Any]]:
        """Status and answer; raises OSError where there is none, ValueError where it is no JSON object."""
        parts = urlsplit(_endpoint(place, self._variables))
        headers = [
            ("host", parts.netloc),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", _TARGETS[place.service]),
        ]
        headers += sign(
            key,
            method="POST",
            target="/",
            headers=headers,
            body=body,
            region=place.region,
            epoch_s=self._epoch_s(),
            service=place.service,
        )
        return _exchange(parts.scheme, parts.netloc, dict(headers), body, self._variables)


def is_on_aws(reference: str) -> bool:
    """Whether it is one of these."""
    return reference.startswith("arn:")


def arn_of(reference: str) -> str:
    """The ARN that a policy names: without key, stage and version."""
    return _place(reference).arn


def key_of_function(variables: Mapping[str, str]) -> SigningKey:
    """The key of a function's role: in the environment, and with SnapStart at the address that Lambda names there.

    Raises:
        CredentialsError: there is none.
    """
    if variables.get("AWS_ACCESS_KEY_ID"):
        return SigningKey(
            variables["AWS_ACCESS_KEY_ID"],
            variables.get("AWS_SECRET_ACCESS_KEY", ""),
            variables.get("AWS_SESSION_TOKEN", ""),
        )
    url, token = (
        variables.get(f"AWS_CONTAINER_{name}", "") for name in ("CREDENTIALS_FULL_URI", "AUTHORIZATION_TOKEN")
    )
    if not url:
        raise CredentialsError("there are no AWS credentials to read [secrets] with.", where="environment")
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        status, answer = _exchange(
            parts.scheme, parts.netloc, {"authorization": token}, None, variables, method="GET", target=target
        )
        if status == 200:
            return SigningKey(answer["AccessKeyId"], answer["SecretAccessKey"], answer.get("Token", ""))
        said = f"HTTP {status}"
    except (OSError, ValueError, KeyError) as error:
        said = type(error).__name__
    raise CredentialsError(f"the role's credentials cannot be had: {said}.", where="AWS_CONTAINER_CREDENTIALS_FULL_URI")


def _place(reference: str) -> _Place:
    _, _, service, region, *_ = reference.split(":")
    if service == "ssm":
        return _Place(service, region, reference)
    found = _SECRET.fullmatch(reference)
    if found is None:
        raise SettingsError(f"{reference!r} is not the ARN of a secret.", where="[secrets]")
    arn, key, stage, version = found.groups()
    return _Place(service, region, arn, key or "", stage or "", version or "")


def _endpoint(place: _Place, variables: Mapping[str, str]) -> str:
    given = variables.get(_ENDPOINT_VARIABLES[place.service]) or variables.get("AWS_ENDPOINT_URL")
    domain = "amazonaws.com.cn" if place.arn.startswith("arn:aws-cn:") else "amazonaws.com"
    return given or f"https://{place.service}.{place.region}.{domain}"


def _exchange(
    scheme: str,
    netloc: str,
    headers: dict[str, str],
    body: bytes | None,
    variables: Mapping[str, str],
    *,
    method: str = "POST",
    target: str = "/",
) -> tuple[int, dict[str, Any]]:
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    if scheme == "https":
        import ssl

        trusted = ssl.create_default_context(cafile=variables.get("AWS_CA_BUNDLE") or None)
        connection: HTTPConnection = HTTPSConnection(netloc, timeout=CALL_S_MAX, context=trusted)
    else:
        connection = HTTPConnection(netloc, timeout=CALL_S_MAX)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        content = answer.read(ANSWER_BYTES_MAX)
    except HTTPException as error:
        raise OSError(f"{type(error).__name__}: no whole answer") from error
    finally:
        connection.close()
    try:
        found = json.loads(content)
    except ValueError:
        # Without its cause, which may hold a part of the secret.
        raise ValueError(f"HTTP {answer.status} without JSON") from None
    return answer.status, found if isinstance(found, dict) else {}


def _chosen(name: str, value: str, key: str) -> str:
    if key:
        try:
            document = json.loads(value)
        except ValueError:
            raise _wrong([name], f"it is no JSON, so there is no key {key!r} in it") from None
        if not isinstance(document, dict) or key not in document:
            raise _wrong([name], f"there is no key {key!r} in it", "Keys are told apart by case.")
        found = document[key]
        if isinstance(found, (dict, list)) or found is None:
            raise _wrong([name], f"what stands under the key {key!r} is neither text nor a number")
        value = found if isinstance(found, str) else json.dumps(found)
    if not value:
        raise _wrong([name], "it is empty")
    if "\0" in value:
        raise _wrong([name], "it holds a zero byte, which no variable can")
    return value


def _remedy(code: str, place: _Place) -> str:
    if code.startswith(_REFUSED):
        return f"The role needs {_ACTIONS[place.service]} on {place.arn}, and kms:Decrypt where the key is your own."
    if code.startswith(("ResourceNotFound", "ParameterNotFound")):
        return "Make it, or correct the ARN in [secrets]."
    if not code:
        return "A network without a way to the internet needs an endpoint for the service (a VPC endpoint)."
    return ""


def _wrong(names: list[str], what: str, remedy: str = "") -> SettingsError:
    listed = ", ".join(f"secrets.{name}" for name in names)
    return SettingsError(f"{listed} cannot be had: {what}.", where="[secrets]", remedy=remedy)
