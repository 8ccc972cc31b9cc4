"""What the running app has used and cost, and what else it could have cost: one JSON value, from tables and files.

Read without any process of the app, as `report` is; `peaker status`, `/usage` and `/metrics` show parts of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from peaker.app import WEB_FUNCTION
from peaker.clock import Clock
from peaker.errors import StateError
from peaker.meter.bill import HOURS_PER_MONTH, Bill, Used, bill
from peaker.meter.bill import Ran as RanFunctions
from peaker.meter.counterfactual import Alternative, WebFunction, functions_only, servers_only
from peaker.meter.days import MeterBook, for_run, with_totals
from peaker.meter.function_usage import Architecture, Caller, FunctionUsage, open_function_table, read_functions
from peaker.meter.price import Prices, prices_of
from peaker.meter.usage import Usage, open_usage_table, read_usage
from peaker.meter.work import Rates, WorkHistory, open_work_table, rates
from peaker.settings import Settings
from peaker.state import StateDirectory

RATE_OVER_S = 60.0

_SPEED = {
    "local": "as fast as this machine can; on Lambda, CPU time takes longer (see functions_only)",
    "lambda": "at Lambda's speed",
}
"""What the billed time of functions rests on, by functions.like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """Everything the meter has at one moment."""

    settings: Settings
    prices: Prices
    began_epoch_s: float
    until_epoch_s: float
    usage: Usage
    functions: tuple[FunctionUsage, ...]
    book: MeterBook
    work: WorkHistory
    rates_now: Rates | None
    rates_lately: Rates | None

    @property
    def run_s(self) -> float:
        """How long the app has run."""
        return max(0.0, self.until_epoch_s - self.began_epoch_s)

    @property
    def used(self) -> Used:
        """What is billed for."""
        return Used(
            server_billed_s=self.book.servers.billed_s(self.until_epoch_s), functions=by_architecture(self.functions)
        )


def read_book(state: StateDirectory, run: int) -> MeterBook:
    """What is kept on disk, for this run; empty before anything was kept. Raises StateError where it cannot be read."""
    try:
        book = MeterBook.from_document(json.loads(state.meter.read_text(encoding="utf-8")))
    except FileNotFoundError:
        book = MeterBook()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"what the meter has kept cannot be read: {error}.",
            where=str(state.meter),
            remedy="Remove the file to begin the days at 0.",
        ) from error
    return for_run(book, run)


def read_meter(state: StateDirectory, settings: Settings, clock: Clock, *, is_running: bool) -> Metered:
    """Read it; of an app that is gone, as it was when control last wrote. Raises StateError, PriceError."""
    usage, functions, work = (
        open_usage_table(state.usage),
        open_function_table(state.function_usage),
        open_work_table(state.work),
    )
    try:
        history = WorkHistory(work.copy())
        ticks = history.ticks()
        until_s = clock.epoch_s() if is_running or not ticks else ticks[-1].epoch_s
        return Metered(
            settings=settings,
            prices=prices_of(settings),
            began_epoch_s=usage.made_ns / 1e9,
            until_epoch_s=until_s,
            usage=read_usage(usage),
            functions=read_functions(functions),
            book=read_book(state, usage.made_ns),
            work=history,
            rates_now=rates(ticks, now_s=clock.now_s()),
            rates_lately=rates(ticks, now_s=clock.now_s(), over_s=RATE_OVER_S),
        )
    finally:
        for table in (usage, functions, work):
            table.close()


def by_architecture(functions: Iterable[FunctionUsage]) -> dict[Architecture, RanFunctions]:
    """Sums of what is billed, which differs by architecture only."""
    found: dict[Architecture, RanFunctions] = {}
    for one in functions:
        before = found.get(one.architecture, RanFunctions())
        found[one.architecture] = RanFunctions(
            invocations=before.invocations + one.invocations, billed_mb_ms=before.billed_mb_ms + one.billed_mb_ms
        )
    return found


def functions_usd(functions: Iterable[FunctionUsage], prices: Prices) -> float:
    """What these have cost, unrounded, at the first tier."""
    return sum(prices.functions_usd(one.invocations, one.billed_mb_ms, one.architecture) for one in functions)


def web_and_handlers(metered: Metered) -> tuple[WebFunction, float]:
    """What functions did for requests, and what all other runs have cost."""
    name = f"{metered.settings.app.name}-{WEB_FUNCTION}"
    web = [one for one in metered.functions if one.caller is Caller.GATE and one.name == name]
    others = [one for one in metered.functions if one not in web]
    return (
        WebFunction(
            invocations=sum(one.invocations for one in web),
            billed_mb_ms=sum(one.billed_mb_ms for one in web),
        ),
        functions_usd(others, metered.prices),
    )


def cost_summary(metered: Metered) -> dict[str, Any]:
    """Dollars: so far, at the present rate, and of the two alternatives."""
    web, handlers_usd = web_and_handlers(metered)
    peaks, prices, settings = metered.work.peaks(), metered.prices, metered.settings
    so_far = bill(metered.used, prices)
    return {
        "run_s": metered.run_s,
        "usd": so_far.usd,
        "billed_usd": str(so_far.billed_usd),
        "lines": bill_lines(so_far),
        "usd_per_month": _usd_per_month(metered),
        "servers_only": alternative(servers_only(peaks, prices, run_s=metered.run_s, handlers_usd=handlers_usd)),
        "functions_only": alternative(
            functions_only(
                metered.usage,
                web,
                peaks,
                prices,
                memory_mb=settings.functions.memory_mb,
                is_like_lambda=settings.functions.like == "lambda",
                handlers_usd=handlers_usd,
            )
        ),
        "rests_on": {
            "region": prices.region,
            "instance_type": prices.server.name,
            "architecture": prices.architecture.name.lower(),
            "published": sorted({line.published for line in so_far.lines}),
            "functions_ran": _SPEED[settings.functions.like],
            "left_out": "load balancer, data transfer, storage, tax and the free tier",
        },
    }


def usage_report(metered: Metered) -> dict[str, Any]:
    """What `/usage` answers: everything that was counted, by function and by day, and the cost of it."""
    servers, until_s = metered.book.servers, metered.until_epoch_s
    return {
        "began_epoch_s": metered.began_epoch_s,
        "until_epoch_s": until_s,
        "servers": {
            "now": len(servers.launched_epoch_s),
            "launches": servers.launches,
            "seconds": servers.seconds(until_s),
            "billed_seconds": servers.billed_s(until_s),
        },
        "requests": metered.usage.counters,
        "functions": [function_summary(one, metered.prices) for one in metered.functions],
        "rates": None if metered.rates_now is None else asdict(metered.rates_now),
        "peaks": asdict(metered.work.peaks()),
        "cost": cost_summary(metered),
        "days": with_totals(metered.book, totals(metered), until_s).days,
    }


def totals(metered: Metered) -> dict[str, float]:
    """What is added up by day (`meter.days.COUNTED`), since the run began."""
    counters, servers, until_s = metered.usage.counters, metered.book.servers, metered.until_epoch_s
    billed_s = servers.billed_s(until_s)
    return {
        **{name: counters[name] for name in ("requests", "on_server", "on_sibling", "on_function", "refused")},
        "invocations": sum(one.invocations for one in metered.functions),
        "cold_starts": sum(one.cold_starts for one in metered.functions),
        "gb_seconds": sum(one.gb_seconds for one in metered.functions),
        "server_s": servers.seconds(until_s),
        "server_billed_s": billed_s,
        "functions_usd": functions_usd(metered.functions, metered.prices),
        "servers_usd": metered.prices.servers_usd(billed_s),
    }


def function_summary(one: FunctionUsage, prices: Prices) -> dict[str, Any]:
    """One function and caller."""
    return {
        "name": one.name,
        "caller": one.caller.name.lower(),
        "architecture": one.architecture.name.lower(),
        "invocations": one.invocations,
        "cold_starts": one.cold_starts,
        "failures": one.failures,
        "timeouts": one.timeouts,
        "throttled": one.throttled,
        "duration_s": one.duration_us / 1e6,
        "init_s": one.init_us / 1e6,
        "billed_ms": one.billed_ms,
        "gb_seconds": one.gb_seconds,
        "usd": functions_usd((one,), prices),
    }


def bill_lines(made: Bill) -> list[dict[str, Any]]:
    """The lines of a bill as JSON; `billed_usd` is text, since it is exact."""
    return [{**asdict(line), "billed_usd": str(line.billed_usd)} for line in made.lines]


def alternative(found: Alternative) -> dict[str, Any]:
    """An alternative as JSON, without what it does not have."""
    return {key: value for key, value in asdict(found).items() if value is not None or key == "usd"}


def _usd_per_month(metered: Metered) -> float | None:
    """The servers there are now, and functions as in the last minute, for a month; None where unknown."""
    if metered.rates_lately is None:
        return None
    servers_usd = len(metered.book.servers.launched_epoch_s) * metered.prices.server.usd_per_hour * HOURS_PER_MONTH
    return servers_usd + metered.rates_lately.functions_usd * 3600 * HOURS_PER_MONTH
