"""How long one level of a function has been idle between two uses: a histogram that forgets, and what it says to keep.

Level k of a function is busy while at least k of its invocations run or wait, so its idle times are those of the
traffic, whatever was kept. After "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020), whose histogram has 240
bins of a minute; here bins grow by 9 %, for instances of this machine start in milliseconds, and when to keep is chosen
by cost and not by percentiles.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from peaker.errors import PeakerError

FIRST_EDGE_S = 0.125
BINS_PER_OCTAVE = 8
OCTAVES = 20
EDGES_S = (
    0.0,
    *(FIRST_EDGE_S * 2.0 ** (step / BINS_PER_OCTAVE) for step in range(OCTAVES * BINS_PER_OCTAVE + 1)),
)
"""Bin i is [EDGES_S[i], EDGES_S[i + 1]); 0 s to 36 hours in 161 bins, and one more for all that is longer."""

BINS = len(EDGES_S)

_MIDDLES_S = (*((EDGES_S[i] + EDGES_S[i + 1]) / 2 for i in range(BINS - 1)), EDGES_S[-1])

Window = tuple[float, float]
"""From when to when after the last use there is to be an instance, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How idle times are learned; the values were chosen on the training traces of benchmarks/keep_alive alone.

    Args:
        half_life: observations after which one counts half.
        least: observations before anything but the standard is kept.
        prior: how many observations the guess counts that any idle time is as likely as one of twice that length.
        chance: how many observations the guess counts that requests come by chance alone at the mean rate seen.
        spread: share of an observation that counts in each of the two bins beside its own.
        restart: what starting an instance again ahead of its use costs, in cold starts.
        clear: what is learned is used where its cost is at most this share of that of the standard.
        standard_s: the fixed keep-alive that is used otherwise.
    """

    half_life: float = 500.0
    least: int = 8
    prior: float = 1.0
    chance: float = 5.0
    spread: float = 0.1
    restart: float = 0.1
    clear: float = 0.5
    standard_s: float = 600.0


LEARNING = Learning()

WORTH_S = 1800.0
"""The exchange rate: a cold start is worth half an hour of one idle instance."""


class IdleTimes:
    """Weights of the idle times of one level; at most `BINS` numbers."""

    def __init__(self, weights: Sequence[float] = ()) -> None:
        self.weights = [0.0] * BINS
        for index, weight in enumerate(weights):
            self.weights[index] = weight
        self._unit = 1.0
        """What the next observation weighs: it grows instead of all the others shrinking."""

    @property
    def count(self) -> float:
        """Observations, the old ones counting less."""
        return sum(self.weights) / self._unit

    def add(self, idle_s: float, learning: Learning = LEARNING) -> None:
        """It was idle this long, then used."""
        self._unit *= 2.0 ** (1.0 / learning.half_life)
        self.weights[bisect.bisect_right(EDGES_S, max(0.0, idle_s)) - 1] += self._unit
        if self._unit > 1e12:
            self.weights = [weight / self._unit for weight in self.weights]
            self._unit = 1.0

    def relative(self) -> list[float]:
        """The weights, in observations of now."""
        return [weight / self._unit for weight in self.weights]

    def windows(self, worth_s: float = WORTH_S, learning: Learning = LEARNING) -> tuple[Window, ...]:
        """When to have an instance after the last use, if a cold start is worth `worth_s` of an idle instance.

        Those of least expected cost where that is clearly less than the standard's, else the standard.

        Raises:
            PeakerError: `worth_s` is negative or no number.
        """
        if not worth_s >= 0:
            raise PeakerError(f"worth_s = {worth_s}: a cold start is worth 0 s of idle time or more.")
        standard: tuple[Window, ...] = ((0.0, learning.standard_s),)
        if round(self.count) < learning.least:
            return standard
        expected = _expected(self.relative(), learning)
        learned = cheapest_windows(expected, worth_s, learning.restart)
        is_clear = _cost(learned, expected, worth_s) <= learning.clear * _cost(standard, expected, worth_s)
        return learned if is_clear else standard


def _expected(weights: Sequence[float], learning: Learning) -> list[float]:
    """Each observation in its bin and a little in those beside it, and the two guesses."""
    own, beside, guess = 1.0 - 2.0 * learning.spread, learning.spread, learning.prior / BINS
    before, after = (weights[0], *weights[:-1]), (*weights[1:], weights[-1])
    mean_s = sum(w * middle_s for w, middle_s in zip(weights, _MIDDLES_S, strict=True)) / sum(weights)
    later = [learning.chance * math.exp(-edge_s / mean_s) for edge_s in EDGES_S] + [0.0]
    return [
        own * w + beside * (b + a) + guess + later[index] - later[index + 1]
        for index, (w, b, a) in enumerate(zip(weights, before, after, strict=True))
    ]


def _cost(windows: Sequence[Window], expected: Sequence[float], worth_s: float) -> float:
    """Cold starts and idle time, in cold starts, each use in the middle of its bin."""
    if worth_s <= 0:
        return float(bool(windows))
    cost = 0.0
    for middle_s, weight in zip(_MIDDLES_S, expected, strict=True):
        kept_s = sum(max(0.0, min(middle_s, to_s) - from_s) for from_s, to_s in windows)
        is_warm = any(from_s <= middle_s < to_s for from_s, to_s in windows)
        cost += weight * (kept_s / worth_s + (not is_warm))
    return cost


def cheapest_windows(expected: Sequence[float], worth_s: float, restart: float) -> tuple[Window, ...]:
    """The windows of least cost: a cold start costs 1, an idle second 1 / worth_s, a start ahead `restart`.

    A walk back from the longest idle time. Of S uses that come at EDGES_S[i] or later, w come in bin i, on average in
    its middle. With an instance the bin costs (S - w / 2) * width / worth_s; without, w. What follows is known by then:

        on[i]  = min(with + on[i + 1], off[i])
        off[i] = min(without + off[i + 1], S * restart + with + on[i + 1])

    Args:
        expected: weight of each bin, the last for all longer times; `BINS` of them.
        worth_s: idle seconds of an instance that a cold start is worth, 0 for nothing kept.
        restart: in cold starts.
    """
    if worth_s <= 0:
        return ()
    left = later_on = later_off = expected[-1]
    stays, starts = [False] * (BINS - 1), [False] * (BINS - 1)
    for index in range(BINS - 2, -1, -1):
        weight = expected[index]
        left += weight
        kept = (left - 0.5 * weight) * (EDGES_S[index + 1] - EDGES_S[index]) / worth_s + later_on
        without, begun = weight + later_off, left * restart + kept
        starts[index] = begun < without
        later_off = min(without, begun)
        stays[index] = kept <= later_off
        later_on = min(kept, later_off)
    return _windows(stays, starts)


def _windows(stays: Sequence[bool], starts: Sequence[bool]) -> tuple[Window, ...]:
    found: list[Window] = []
    is_on, since_s = True, 0.0
    for index, edge_s in enumerate(EDGES_S[:-1]):
        if is_on and not stays[index]:
            if edge_s > since_s:
                found.append((since_s, edge_s))
            is_on = False
        elif not is_on and starts[index]:
            is_on, since_s = True, edge_s
    if is_on:
        found.append((since_s, EDGES_S[-1]))
    return tuple(found)
