"""What a running app used between two moments, by its own meter: for a replay that measures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from peaker.app import WEB_FUNCTION
from peaker.clock import Clock
from peaker.engines.local.cost import Metered, functions_usd, read_meter
from peaker.engines.local.report import RunningApp, overall_status
from peaker.errors import StateError
from peaker.meter.function_usage import Caller, FunctionUsage
from peaker.settings import Settings
from peaker.state import StateDirectory

SETTLED_S_MAX = 5.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanUsed:
    """What was used: counts of requests as the gates counted them, of functions what they ran for requests.

    `server_s` are seconds of servers, of which the least that a launch is billed for is no part.
    """

    requests: int
    on_function: int
    refused: int
    invocations: int
    cold_starts: int
    gb_s: float
    server_s: float
    usd: float
    servers_before: int
    servers_after: int


class MeterSpan:
    """Opened before the traffic, read after it."""

    def __init__(self, state: StateDirectory, settings: Settings, app_url: str, before: Metered, clock: Clock) -> None:
        self.settings = settings
        self.app_url = app_url
        self._state = state
        self._before = before
        self._clock = clock

    @classmethod
    async def begin(cls, state: StateDirectory, clock: Clock) -> MeterSpan:
        """Read the meter of the app that runs there, once it knows its servers.

        Raises:
            StateError: no app runs there, or its meter does not come to know its servers.
        """
        app = RunningApp.open(state)
        try:
            if overall_status(app) != "ready":
                raise StateError("no app is ready here.", where=str(state.root), remedy="Start it with `peaker run`.")
            record = app.record
            try:
                text = state.settings_of(record.generation).read_text(encoding="utf-8")
            except OSError as error:
                raise StateError(f"the settings of the run cannot be read: {error}.", where=str(state.root)) from error
        finally:
            app.close()
        settings = Settings.from_json(text)
        until_s = clock.now_s() + SETTLED_S_MAX
        while True:
            before = read_meter(state, settings, clock, is_running=True)
            if len(before.book.servers.launched_epoch_s) >= record.servers:
                return cls(state, settings, record.app_url, before, clock)
            if clock.now_s() > until_s:
                raise StateError(
                    f"the meter knows {len(before.book.servers.launched_epoch_s)} of {record.servers} servers.",
                    where=str(state.meter),
                    remedy="Control writes it; `peaker status` says whether it runs.",
                )
            await asyncio.sleep(_LOOK_S)

    async def end(self, requests: int) -> SpanUsed:
        """What was used until now, once the gates have counted so many requests.

        They count at their beats, some hundredths of a second later; what did not arrive is waited for SETTLED_S_MAX.
        """
        ended_epoch_s, until_s = self._clock.epoch_s(), self._clock.now_s() + SETTLED_S_MAX
        while True:
            after = read_meter(self._state, self.settings, self._clock, is_running=True)
            used = used_between(self._before, replace(after, until_epoch_s=ended_epoch_s))
            if used.requests >= requests or self._clock.now_s() > until_s:
                return used
            await asyncio.sleep(_LOOK_S)


def used_between(before: Metered, after: Metered) -> SpanUsed:
    """The difference of two readings of one run."""
    usage = after.usage - before.usage
    earlier, later = web_runs(before), web_runs(after)
    server_s = after.book.servers.seconds(after.until_epoch_s) - before.book.servers.seconds(before.until_epoch_s)
    prices = after.prices
    return SpanUsed(
        requests=usage.counters["requests"],
        on_function=usage.counters["on_function"],
        refused=usage.counters["refused"],
        invocations=sum(one.invocations for one in later) - sum(one.invocations for one in earlier),
        cold_starts=sum(one.cold_starts for one in later) - sum(one.cold_starts for one in earlier),
        gb_s=sum(one.gb_seconds for one in later) - sum(one.gb_seconds for one in earlier),
        server_s=server_s,
        usd=prices.servers_usd(server_s) + functions_usd(later, prices) - functions_usd(earlier, prices),
        servers_before=len(before.book.servers.launched_epoch_s),
        servers_after=len(after.book.servers.launched_epoch_s),
    )


def web_runs(metered: Metered) -> tuple[FunctionUsage, ...]:
    """What functions did for requests of the web app."""
    name = f"{metered.settings.app.name}-{WEB_FUNCTION}"
    return tuple(one for one in metered.functions if one.caller is Caller.GATE and one.name == name)
