"""What is kept on disk of the meter: how long servers were paid for in this run, and what each UTC day was used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from peaker.meter.servers import ServerTimes

DAYS_MAX = 400

COUNTED = (
    "requests",
    "on_server",
    "on_sibling",
    "on_function",
    "refused",
    "invocations",
    "cold_starts",
    "gb_seconds",
    "server_s",
    "server_billed_s",
    "functions_usd",
    "servers_usd",
)
"""What is added up by day; all of it only grows within a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBook:
    """`counted` is how far the running totals of `run` had come when they were last added to the days."""

    run: int = 0
    servers: ServerTimes = field(default_factory=ServerTimes)
    counted: Mapping[str, float] = field(default_factory=dict[str, float])
    days: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])

    def with_servers(self, servers: ServerTimes) -> Self:
        """The same with other server times."""
        return replace(self, servers=servers)

    def to_document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The reverse; raises TypeError, KeyError or ValueError for what is no such document."""
        servers = ServerTimes(**document["servers"])
        days = {
            str(day): {name: float(value) for name, value in sums.items()} for day, sums in document["days"].items()
        }
        counted = {name: float(value) for name, value in document["counted"].items()}
        return cls(run=int(document["run"]), servers=servers, counted=counted, days=days)


def for_run(book: MeterBook, run: int) -> MeterBook:
    """The book at the start of a run: days go on, everything else begins at zero unless the run is the same."""
    return book if book.run == run else MeterBook(run=run, days=book.days)


def with_totals(book: MeterBook, totals: Mapping[str, float], epoch_s: float) -> MeterBook:
    """Add what came since the last time to the present day; the oldest days are dropped above DAYS_MAX.

    What came while nobody counted falls into the present day. A clock set back does not move the day back.
    """
    day = max(utc_day(epoch_s), max(book.days, default=""))
    before = book.days.get(day, {})
    since = {name: max(0.0, totals[name] - book.counted.get(name, 0.0)) for name in COUNTED}
    sums = {name: before.get(name, 0.0) + since[name] for name in COUNTED}
    days = dict(sorted({**book.days, day: sums}.items())[-DAYS_MAX:])
    counted = {name: max(totals[name], book.counted.get(name, 0.0)) for name in COUNTED}
    return MeterBook(run=book.run, servers=book.servers, counted=counted, days=days)


def utc_day(epoch_s: float) -> str:
    """`2026-11-24`."""
    return datetime.fromtimestamp(epoch_s, UTC).date().isoformat()
