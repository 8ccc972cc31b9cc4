"""Functions to simulate: real request traces thinned to the rate of a function, real functions, and timers.

Counts by step say nothing about where in the step a request came; they are spread evenly at random over it.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peaker.errors import SettingsError

Floats = NDArray[np.float64]
DAY_S = 86_400.0
RATE_MIN, RATE_MAX = 0.001, 1.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """One function's traffic: when requests come, how long each runs, and when watching ends, in seconds."""

    name: str
    arrivals_s: Floats
    runs_s: Floats
    end_s: float
    memory_gb: float


class Data:
    """The folder of traces and of run times of functions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        index = self._open("traces/INDEX.json")
        self._steps_s = {trace["name"]: float(trace["step_s"]) for trace in json.loads(index.read_text("utf-8"))}
        self._quantiles_s = self._run_quantiles_s()

    def _open(self, name: str) -> Path:
        path = self._folder / name
        if not path.is_file():
            raise SettingsError(
                "there is no such file, and the traces are not part of the repository.",
                where=str(path),
                remedy="Name the folder with traces/ and functions/: python -m benchmarks keep_alive -- --data DIR.",
            )
        return path

    def _run_quantiles_s(self) -> Floats:
        path = self._open("functions/azure2019_10000_run.csv.gz")
        names = [f"percentile_Average_{number}" for number in (0, 1, 25, 50, 75, 99, 100)]
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [[float(row[name]) for name in names] for row in csv.DictReader(file)]
        return np.sort(np.maximum(np.array(rows), 1.0), axis=1) / 1000

    def counts(self, name: str) -> tuple[Floats, float]:
        """Requests by step (0 where none were collected), and the step in seconds."""
        with gzip.open(self._open(f"traces/{name}.csv.gz"), "rt", encoding="utf-8") as file:
            counts = np.array([int(line) for line in list(file)[1:]], dtype=float)
        return np.maximum(counts, 0.0), self._steps_s[name]

    def runs_s(self, count: int, chance: np.random.Generator) -> Floats:
        """Run times of one function drawn from the ten thousand; at most a minute."""
        quantiles_s = self._quantiles_s[chance.integers(len(self._quantiles_s))]
        drawn = np.interp(chance.random(count), (0, 0.01, 0.25, 0.5, 0.75, 0.99, 1), quantiles_s)
        return np.minimum(drawn, 60.0)

    def made(self, name: str, arrivals_s: Floats, end_s: float, chance: np.random.Generator) -> Traffic:
        """A function with these arrivals."""
        return Traffic(name, arrivals_s, self.runs_s(len(arrivals_s), chance), end_s, memory_gb=0.5)


def spread(counts: NDArray[np.int64], step_s: float, chance: np.random.Generator) -> Floats:
    """Times of arrival, in order."""
    steps = np.repeat(np.arange(len(counts)), counts)
    return np.sort((steps + chance.random(len(steps))) * step_s)


def whole(data: Data, name: str, seed: int) -> list[Traffic]:
    """A trace as one function."""
    chance = np.random.default_rng(seed)
    counts, step_s = data.counts(name)
    return [data.made(name, spread(counts.astype(np.int64), step_s, chance), len(counts) * step_s, chance)]


def thinned(data: Data, name: str, functions: int, days: float, *, seed: int, skip_days: float = 0.0) -> list[Traffic]:
    """As many functions, each getting every request with a chance of its own.

    Mean rates are log-uniform from 0.001 to 1 request a second, or to the trace's own rate where that is lower.
    """
    chance = np.random.default_rng(seed)
    counts, step_s = data.counts(name)
    counts = counts[round(skip_days * DAY_S / step_s) : round((skip_days + days) * DAY_S / step_s)]
    mean = counts.sum() / (len(counts) * step_s)
    made = []
    for number in range(functions):
        rate = RATE_MIN * (min(RATE_MAX, mean) / RATE_MIN) ** ((number + chance.random()) / functions)
        own = chance.binomial(counts.astype(np.int64), min(1.0, rate / mean))
        made.append(data.made(f"{name}-{number}", spread(own, step_s, chance), len(counts) * step_s, chance))
    return made


def timers(
    data: Data, name: str, periods_s: tuple[float, ...], functions: int, days: float, *, seed: int
) -> list[Traffic]:
    """Cron-like functions: a period each, late by an exponential time of mean 0.5 s, one tick in 50 left out."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(functions):
        period_s = float(chance.choice(periods_s))
        ticks_s = np.arange(chance.random() * period_s, days * DAY_S, period_s)
        ticks_s = ticks_s[chance.random(len(ticks_s)) > 0.02]
        arrivals_s = np.sort(ticks_s + chance.exponential(0.5, len(ticks_s)))
        made.append(data.made(f"{name}-{number}", arrivals_s, days * DAY_S, chance))
    return made


def sessions(data: Data, name: str, functions: int, days: float, seed: int) -> list[Traffic]:
    """Sessions at random 20 minutes to 6 hours apart, of geometrically many requests (mean 10) 1 to 20 s apart."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(functions):
        apart_s, within_s = np.exp(chance.uniform(np.log((1200, 1)), np.log((21_600, 20))))
        begins_s = np.cumsum(chance.exponential(apart_s, int(days * DAY_S / apart_s * 2) + 10))
        begins_s = begins_s[begins_s < days * DAY_S]
        parts = [begin + np.cumsum(chance.exponential(within_s, chance.geometric(0.1))) for begin in begins_s]
        arrivals_s = np.sort(np.concatenate(parts)) if parts else np.zeros(0)
        made.append(data.made(f"{name}-{number}", arrivals_s[arrivals_s < days * DAY_S], days * DAY_S, chance))
    return made
