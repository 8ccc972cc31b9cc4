"""Sends the traffic of a trace to a URL, open loop.

Arrivals never wait for answers: a request goes out when it is due, whether or not earlier ones came back, and its
latency counts from when it was due. A closed loop would send less while the server stalls and so hide the stall from
its own percentiles ("coordinated omission").
"""

from __future__ import annotations

import asyncio
import math
import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from peaker.clock import Clock
from peaker.errors import SettingsError
from peaker.http1 import Address, AnswerTimeout, EffectUnknown, NoConnectionFree, NotSent, Pool
from peaker.traffic.mix import Mix
from peaker.traffic.tally import UNSAID, Outcome, Sample, Tally

PLACEMENT_HEADER = "x-peaker-ran"

OUTSTANDING_MAX = 50_000
"""Requests on their way or waiting for a connection, about 200 MB; further ones are counted and not sent."""

TICK_S = 0.001
"""The timers of uvloop and asyncio count whole milliseconds, so that a request is half of one late on average."""

_SENDS_PER_TURN_MAX = 64
"""A generator that is behind still lets its answers in after this many sends."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where requests go: the address to connect to, the Host header, and the path that stands before each target."""

    address: Address
    host: str
    prefix: str


def destination(url: str) -> Destination:
    """The parts of an http:// or https:// URL that a replay needs.

    Raises:
        SettingsError: it is no such URL, or has a user, query or fragment.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"{url!r} is not a URL: {error}.", where="--to") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
        raise SettingsError(f"{url!r} is not http://host[:port][/prefix] or https://...", where="--to")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(f"{url!r} has a user, query or fragment; it must have none.", where="--to")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    address = Address(host=parts.hostname, port=port or (443 if tls else 80), tls=tls)
    return Destination(address, parts.netloc, parts.path.rstrip("/"))


class Replay:
    """One replay: `run` sends everything and returns when each request has come to an end; `stop` cuts it short."""

    def __init__(
        self,
        arrivals_s: Iterator[float],
        mix: Mix,
        address: Address,
        *,
        clock: Clock,
        chance: random.Random,
        timeout_s: float = 30.0,
        connections_max: int = 1000,
        on_sample: Callable[[Sample], None] | None = None,
    ) -> None:
        self.tally = Tally()
        self._arrivals_s = arrivals_s
        self._mix = mix
        self._pool = Pool(address, connections_max=connections_max, oldest_first=True)
        self._now_s = clock.now_s
        self._chance = chance
        self._timeout_s = timeout_s
        self._on_sample = on_sample
        self._began_s = 0.0
        self._outstanding = 0
        self._sender: asyncio.Task[None] | None = None
        self._stopped = False

    async def run(self) -> Tally:
        """Send all requests at their times; the tally counts them while they run and is returned at the end."""
        self._sender = asyncio.current_task()
        self._began_s = self._now_s()
        try:
            async with asyncio.TaskGroup() as requests:
                await self._send_all(requests)
        except asyncio.CancelledError:
            if not self._stopped or self._sender is None:
                raise
            self._sender.uncancel()
        finally:
            self._sender = None
            self._pool.close()
        return self.tally

    def stop(self) -> None:
        """Send nothing more and give up what is on its way (counted as unfinished); `run` then returns."""
        if self._sender is not None and not self._stopped:
            self._stopped = True
            self._sender.cancel()

    async def _send_all(self, requests: asyncio.TaskGroup) -> None:
        in_this_turn = 0
        for due_s in self._arrivals_s:
            while (early_s := due_s - (self._now_s() - self._began_s)) > 0:
                in_this_turn = 0
                # Rounded up, because a timer rounded down would fire early and be set again and again.
                await asyncio.sleep(math.ceil(early_s / TICK_S) * TICK_S)
            if in_this_turn >= _SENDS_PER_TURN_MAX:
                in_this_turn = 0
                await asyncio.sleep(0)
            in_this_turn += 1
            head, is_head = self._mix.draw(self._chance)
            if self._outstanding >= OUTSTANDING_MAX:
                self._count(Sample(due_s, due_s, due_s, Outcome.GENERATOR_FULL))
                continue
            self._outstanding += 1
            requests.create_task(self._exchange(due_s, head, is_head))

    async def _exchange(self, due_s: float, head: bytes, is_head: bool) -> None:  # noqa: FBT001
        sent_s = self._now_s() - self._began_s
        self.tally.sent += 1
        placement, status = UNSAID, 0
        try:
            answer = await self._pool.exchange(head, timeout_s=self._timeout_s, is_head=is_head)
            placement, status = answer.headers.get(PLACEMENT_HEADER, UNSAID), answer.status
            outcome = _outcome_of(status)
        except NoConnectionFree:
            outcome = Outcome.NO_CONNECTION_FREE
        except NotSent:
            outcome = Outcome.CONNECTION_FAILED
        except AnswerTimeout:
            outcome = Outcome.TIMED_OUT
        except EffectUnknown:
            outcome = Outcome.CONNECTION_BROKEN
        except asyncio.CancelledError:
            self.tally.unfinished += 1
            raise
        finally:
            self._outstanding -= 1
        self._count(Sample(due_s, sent_s, self._now_s() - self._began_s, outcome, placement, status))

    def _count(self, sample: Sample) -> None:
        self.tally.add(sample)
        if self._on_sample is not None:
            self._on_sample(sample)


def _outcome_of(status: int) -> Outcome:
    if status < 400:
        return Outcome.ANSWERED
    if status < 500:
        return Outcome.CLIENT_ERROR
    return Outcome.REFUSED if status == 503 else Outcome.SERVER_ERROR
