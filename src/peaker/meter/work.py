"""How much work there was, lately and at its peak: a bounded history that control writes and anybody reads.

Cumulative figures of the last minute, one row a second, tell the present rates; windows of ten seconds, for an hour,
tell how much was offered; one row keeps the peaks of the whole run. All of it is in one mapped file, so it outlives
the process that writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peaker.shared_table import SharedTable

TICKS = 64
WINDOW_S = 10.0
WINDOWS = 360

_TICK = (
    "epoch_ms",
    "now_ms",
    "on_server",
    "on_sibling",
    "on_function",
    "refused",
    "direct",
    "functions_nanousd",
)
_WINDOW = (
    "span_ms",
    "spilled",
    "server_busy_us",
    "function_busy_us",
    "milliservers",
)
_PEAK = ("ticks", "windows", "offered_milli", "offered_epoch_ms", "held_milli", "milliservers_max")
COLUMNS = (*_TICK, *_WINDOW, *_PEAK)
_PEAK_ROW = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Cumulative figures at one moment; `now_s` is of the clock that never goes back."""

    epoch_s: float
    now_s: float
    on_server: int
    on_sibling: int
    on_function: int
    refused: int
    direct: int
    functions_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What happened within `span_s`.

    `server_busy_s` and `function_busy_s` are sums of latencies: divided by the span they are the mean number of
    requests in the system at once (Little's law). `servers` is the mean number of servers that were ready.
    """

    epoch_s: float
    span_s: float
    on_servers: int
    on_functions: int
    refused: int
    spilled: int
    server_busy_s: float
    function_busy_s: float
    servers: float

    @property
    def offered(self) -> float:
        """Requests in the system at once, had servers taken them all.

        What functions took or was refused counts with the mean latency of what servers took, or with the functions'
        own where servers took nothing.
        """
        elsewhere = self.on_functions + self.refused
        if self.on_servers:
            elsewhere_busy_s = elsewhere * self.server_busy_s / self.on_servers
        elif self.on_functions:
            elsewhere_busy_s = elsewhere * self.function_busy_s / self.on_functions
        else:
            elsewhere_busy_s = 0.0
        return (self.server_busy_s + elsewhere_busy_s) / self.span_s

    @property
    def held_per_server(self) -> float | None:
        """Requests that one server held at once; None where it was not full, so that it might have held more."""
        if not self.servers or not (self.spilled or self.refused):
            return None
        return self.server_busy_s / self.span_s / self.servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Of the whole run: the most that was offered, and the most that a full server was seen to hold (0: never full)."""

    windows: int = 0
    offered: float = 0.0
    offered_epoch_s: float = 0.0
    held_per_server: float = 0.0
    servers_max: float = 0.0


class WorkHistory:
    """The table of `COLUMNS`; control alone writes."""

    def __init__(self, table: SharedTable) -> None:
        self._table = table

    def add_tick(self, tick: Tick) -> None:
        """Keep one more second."""
        ticks = self._table.get(_PEAK_ROW, "ticks")
        row = 1 + ticks % TICKS
        self._write(
            row,
            {
                "epoch_ms": tick.epoch_s * 1e3,
                "now_ms": tick.now_s * 1e3,
                "on_server": tick.on_server,
                "on_sibling": tick.on_sibling,
                "on_function": tick.on_function,
                "refused": tick.refused,
                "direct": tick.direct,
                "functions_nanousd": tick.functions_usd * 1e9,
            },
        )
        self._table.set(_PEAK_ROW, "ticks", ticks + 1)

    def add_window(self, window: Window) -> None:
        """Keep one more window, and the peaks it may be."""
        peaks = self.peaks()
        row = 1 + TICKS + peaks.windows % WINDOWS
        self._write(
            row,
            {
                "epoch_ms": window.epoch_s * 1e3,
                "span_ms": window.span_s * 1e3,
                "on_server": window.on_servers,
                "on_function": window.on_functions,
                "refused": window.refused,
                "spilled": window.spilled,
                "server_busy_us": window.server_busy_s * 1e6,
                "function_busy_us": window.function_busy_s * 1e6,
                "milliservers": window.servers * 1e3,
            },
        )
        if window.offered > peaks.offered:
            self._write(_PEAK_ROW, {"offered_milli": window.offered * 1e3, "offered_epoch_ms": window.epoch_s * 1e3})
        if (held := window.held_per_server) is not None and held > peaks.held_per_server:
            self._write(_PEAK_ROW, {"held_milli": held * 1e3})
        if window.servers > peaks.servers_max:
            self._write(_PEAK_ROW, {"milliservers_max": window.servers * 1e3})
        self._table.set(_PEAK_ROW, "windows", peaks.windows + 1)

    def ticks(self) -> list[Tick]:
        """The last minute, the oldest first."""
        written = self._table.get(_PEAK_ROW, "ticks")
        # The one about to be overwritten is left out: it may be half old and half new.
        rows = [self._table.row(1 + number % TICKS) for number in range(max(0, written - TICKS + 1), written)]
        return [
            Tick(
                epoch_s=row["epoch_ms"] / 1e3,
                now_s=row["now_ms"] / 1e3,
                on_server=row["on_server"],
                on_sibling=row["on_sibling"],
                on_function=row["on_function"],
                refused=row["refused"],
                direct=row["direct"],
                functions_usd=row["functions_nanousd"] / 1e9,
            )
            for row in rows
        ]

    def windows(self) -> list[Window]:
        """The last hour, the oldest first."""
        written = self._table.get(_PEAK_ROW, "windows")
        first = 1 + TICKS
        rows = [self._table.row(first + number % WINDOWS) for number in range(max(0, written - WINDOWS + 1), written)]
        return [
            Window(
                epoch_s=row["epoch_ms"] / 1e3,
                span_s=row["span_ms"] / 1e3,
                on_servers=row["on_server"],
                on_functions=row["on_function"],
                refused=row["refused"],
                spilled=row["spilled"],
                server_busy_s=row["server_busy_us"] / 1e6,
                function_busy_s=row["function_busy_us"] / 1e6,
                servers=row["milliservers"] / 1e3,
            )
            for row in rows
        ]

    def peaks(self) -> Peaks:
        """Of the whole run."""
        row = self._table.row(_PEAK_ROW)
        return Peaks(
            windows=row["windows"],
            offered=row["offered_milli"] / 1e3,
            offered_epoch_s=row["offered_epoch_ms"] / 1e3,
            held_per_server=row["held_milli"] / 1e3,
            servers_max=row["milliservers_max"] / 1e3,
        )

    def _write(self, row: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._table.set(row, name, round(value))


def create_work_table(path: Path) -> SharedTable:
    """Made by the supervisor for each run."""
    return SharedTable.create(path, COLUMNS, 1 + TICKS + WINDOWS)


def open_work_table(path: Path) -> SharedTable:
    """Map the table made by the supervisor; raises StateError where it cannot be."""
    return SharedTable.open(path, COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """A second's worth of the last `span_s` seconds."""

    span_s: float
    on_server: float
    on_sibling: float
    on_function: float
    refused: float
    direct: float
    functions_usd: float


def rates(ticks: list[Tick], *, now_s: float, over_s: float = WINDOW_S, stale_s: float = 5.0) -> Rates | None:
    """Of the last `over_s` seconds; None where nothing was written lately, or too little to tell."""
    if not ticks or now_s - ticks[-1].now_s > stale_s:
        return None
    last = ticks[-1]
    within = [tick for tick in ticks if last.now_s - tick.now_s <= over_s + 0.5]
    span_s = last.now_s - within[0].now_s
    if span_s <= 0:
        return None
    names = ("on_server", "on_sibling", "on_function", "refused", "direct", "functions_usd")
    since = {name: max(0.0, getattr(last, name) - getattr(within[0], name)) / span_s for name in names}
    return Rates(span_s=span_s, **since)
