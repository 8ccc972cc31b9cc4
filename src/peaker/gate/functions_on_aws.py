"""The app's function on AWS Lambda: signed Invoke over TLS connections that are opened ahead of need.

botocore finds the credentials (variables, profile, container or instance role) and renews them; it takes a quarter of a
second to import and its calls may wait for the network, so it is asked in a thread, and only for keys. Signing is
`wire/sigv4.py`, the connections are `http1.Pool`: on the way of a spilled request there is nothing of an SDK.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from peaker import http1
from peaker.clock import Clock
from peaker.errors import CredentialsError, PeakerError
from peaker.extras import require_extra
from peaker.gate.spill import Headers, InvokeClient
from peaker.interfaces import StreamedReply
from peaker.messages import Invocation, Reply
from peaker.settings import FunctionsSection
from peaker.wire.sigv4 import SigningKey, sign

RENEW_S = 60.0
"""How often keys are asked for anew; botocore fetches a role's a quarter of an hour before they end."""

WARM_EACH_S = 5.0
WARM_S_MAX = 5.0
IDLE_S_MAX = 50.0
"""A connection idle for longer is not used again: load balancers on the way close theirs after a minute."""

_logger = logging.getLogger("peaker.gate")

Keys = Callable[[], SigningKey]
"""The key to sign with, from now on; may wait for the network, raises CredentialsError."""


class FunctionsOnAws:
    """`Functions` and `StreamingFunctions` of the ARN in the settings.

    `start` gets the first key and opens the first connections; afterwards keys are renewed and connections kept open
    until `close`.
    """

    def __init__(self, section: FunctionsSection, *, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._region = section.arn.split(":")[3]
        self._connections_warm = section.connections_warm
        address, host = _address(section)
        self._client = InvokeClient(
            address, host=host, sign=self._signed, connections_max=section.concurrency_max, idle_s_max=IDLE_S_MAX
        )
        self._key: SigningKey | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Be ready for the first spill; connections that cannot be opened yet are opened later.

        Raises:
            CredentialsError: there are no credentials.
        """
        self._key = await asyncio.to_thread(self._keys)
        await self._warm()
        self._keeping = asyncio.create_task(self._keep())

    async def invoke(self, invocation: Invocation) -> Reply:
        """As `interfaces.Functions.invoke`."""
        return await self._client.invoke(invocation)

    async def invoke_streaming(self, invocation: Invocation) -> StreamedReply:
        """As `interfaces.StreamingFunctions.invoke_streaming`."""
        return await self._client.invoke_streaming(invocation)

    def close(self) -> None:
        """Stop keeping, and close idle connections; those in use close with their exchange."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._client.close()

    def _signed(self, method: str, target: str, headers: Headers, body: bytes) -> Headers:
        assert self._key is not None, "started"
        added = sign(
            self._key,
            method=method,
            target=target,
            headers=headers,
            body=body,
            region=self._region,
            epoch_s=self._clock.epoch_s(),
        )
        return [*headers, *added]

    async def _keep(self) -> None:
        since_renewal_s = 0.0
        while True:
            await asyncio.sleep(WARM_EACH_S)
            since_renewal_s += WARM_EACH_S
            if since_renewal_s >= RENEW_S:
                since_renewal_s = 0.0
                await self._renew()
            await self._warm()

    async def _renew(self) -> None:
        try:
            self._key = await asyncio.to_thread(self._keys)
        except PeakerError as error:
            # The key at hand goes on until it ends; then Lambda refuses, and requests stay on the servers.
            _logger.warning("credentials could not be renewed: %s", error, extra={"action": "credentials"})

    async def _warm(self) -> None:
        try:
            await self._client.warm(self._connections_warm, timeout_s=WARM_S_MAX)
        except PeakerError as error:
            _logger.warning("no connection to AWS Lambda: %s", error, extra={"action": "connect"})


def keys_of_botocore(*, where: str = "functions.arn", purpose: str = "Spilling to AWS Lambda") -> Keys:
    """Keys as every AWS tool of this user finds them; `where` and `purpose` are for errors.

    Raises:
        MissingExtraError: botocore is not installed.
    """
    require_extra("aws", purpose=purpose)
    found: list[Any] = []

    def key() -> SigningKey:
        from botocore.exceptions import BotoCoreError
        from botocore.session import get_session

        try:
            if not found:
                found.append(get_session().get_credentials())
            if found[0] is None:
                found.clear()
                raise CredentialsError(
                    "there are no AWS credentials.",
                    where=where,
                    remedy=f"{purpose} needs them: give the servers a role that may (invoke the function, read the "
                    "secrets), or set AWS_PROFILE.",
                )
            frozen = found[0].get_frozen_credentials()
        except BotoCoreError as error:
            raise CredentialsError(f"AWS credentials cannot be had: {error}", where=where) from error
        return SigningKey(frozen.access_key, frozen.secret_key, frozen.token or "")

    return key


def _address(section: FunctionsSection) -> tuple[http1.Address, str]:
    """Where the Invoke API of the ARN's region is, and the host to name there."""
    _, partition, _, region, *_ = section.arn.split(":")
    domain = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    parts = urlsplit(section.endpoint or f"https://lambda.{region}.{domain}")
    is_tls = parts.scheme == "https"
    host = parts.hostname or ""
    tls = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE")) if is_tls else None
    return http1.Address(host=host, port=parts.port or (443 if is_tls else 80), tls=tls), parts.netloc
