"""Which traces, sizes, prices and times."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

RATIOS = (2.3, 4.6, 16.0, 33.0)
MEANS = (5.0, 50.0)
SERVER_USD_PER_HOUR = 0.04
"""About a vCPU with 2 GB; only the ratio matters here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One trace under one set of conditions; `days_max` cuts a long one."""

    trace: str
    servers_mean: float
    price_ratio: float
    smooth_s: float = 0.0
    step_s: float = 30.0
    start_s: float = 90.0
    days_max: float | None = None
    weight: float = 1.0

    @property
    def name(self) -> str:
        """For a person."""
        changed = "" if (self.step_s, self.start_s) == (30.0, 90.0) else f" {self.step_s:g}s/{self.start_s:g}s"
        return f"{self.trace} mean {self.servers_mean:g} ratio {self.price_ratio:g}{changed}"


_TRACES = (
    ("twitter_2021_08_1s", 0.0, 22.0),
    ("worldcup98_1min", 0.0, 87.0),
    ("nasa_jul95_1s", 300.0, 28.0),
    ("nab_elb_request_count_5min", 0.0, 14.0),
    ("clarknet_1995_1h", 0.0, 14.0),
    ("azure2019_f_cf75ee62_1min", 0.0, 1.0),
)

CELLS = tuple(
    Cell(trace=trace, smooth_s=smooth_s, servers_mean=mean, price_ratio=ratio, weight=days * (1 + mean / 50))
    for (trace, smooth_s, days), mean, ratio in product(_TRACES, MEANS, RATIOS)
)

_OTHERS = (
    ("wikipedia_2018_2023_1h", 30.0),
    ("azure2019_f_b384e9ac_1min", None),
    ("azure_llm_2023_code_1s", None),
    ("nasa_jul95_1s", None),
)
_CONDITIONS = ((10.0, 45.0), (30.0, 90.0), (60.0, 300.0), (60.0, 0.0))
"""Seconds of a step and of a start."""

HELD_OUT = (
    *(
        Cell(trace=trace, servers_mean=mean, price_ratio=ratio, days_max=days)
        for (trace, days), mean, ratio in product(_OTHERS, (12.0,), (3.0, 8.0, 24.0))
    ),
    *(
        Cell(
            trace=trace,
            smooth_s=smooth_s,
            servers_mean=20.0,
            price_ratio=8.0,
            step_s=step_s,
            start_s=start_s,
            days_max=14.0,
        )
        for (trace, smooth_s, _), (step_s, start_s) in product(_TRACES, _CONDITIONS)
    ),
)
"""Traces, times and prices by which nothing was chosen."""
