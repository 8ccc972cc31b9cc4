"""How many idle instances there should be now, learned level by level.

Level k of a function is busy while at least k invocations run or wait. A pool that uses the instance used last first
needs as many idle instances as there are idle levels inside one of their windows (idle_times.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from peaker.errors import PeakerError
from peaker.policy.idle_times import BINS, LEARNING, WORTH_S, IdleTimes, Learning, Window

LEVELS_MAX = 64
"""Levels above share the idle times of this one."""

VERSION = 1
_SLACK_S = 0.001
"""As in keep_alive.py: a timer may fire this much early."""

_FEW = 64

_NEW_SHARE_OF_FEW, _NEW_SHARE_OF_MANY = 1 / 16, 1 / 4
"""Windows are reckoned anew when this share of the observations is new: it takes a millisecond or two."""


class Levels:
    """Idle times of each level, and the windows that follow from them."""

    def __init__(self, worth_s: float = WORTH_S, learning: Learning = LEARNING) -> None:
        self._worth_s, self._learning = worth_s, learning
        self._times: dict[int, IdleTimes] = {}
        self._windows: dict[int, tuple[Window, ...]] = {}
        self._left: dict[int, int] = {}
        self._standard = IdleTimes().windows(worth_s, learning)

    def windows(self, level: int) -> tuple[Window, ...]:
        """When to have an instance for this level (counted from 1) after its last use."""
        return self._windows.get(min(level, LEVELS_MAX), self._standard)

    def add(self, level: int, idle_s: float) -> None:
        """The level was idle this long, then used."""
        row = min(level, LEVELS_MAX)
        times = self._times.setdefault(row, IdleTimes())
        times.add(idle_s, self._learning)
        self._left[row] = self._left.get(row, 1) - 1
        if self._left[row] <= 0:
            self._reckon(row, times)

    def to_json(self) -> dict[str, Any]:
        """For a file: the weights that are not 0, by level and bin."""
        return {
            str(row): {str(index): round(weight, 6) for index, weight in enumerate(times.relative()) if weight > 1e-6}
            for row, times in self._times.items()
        }

    def restore(self, found: Mapping[str, Any]) -> None:
        """Go on from `to_json`.

        Raises:
            PeakerError: it is not what `to_json` gives.
        """
        rows: dict[int, IdleTimes] = {}
        try:
            for row, bins in found.items():
                weights = [0.0] * BINS
                for index, weight in bins.items():
                    weights[_within(int(index), 0, BINS - 1)] = _weight(float(weight))
                rows[_within(int(row), 1, LEVELS_MAX)] = IdleTimes(weights)
        except (ValueError, TypeError, AttributeError) as error:
            raise PeakerError(f"these are no learned idle times: {error}.") from error
        for level, times in rows.items():
            self._times[level] = times
            self._reckon(level, times)

    def _reckon(self, row: int, times: IdleTimes) -> None:
        self._windows[row] = times.windows(self._worth_s, self._learning)
        count = times.count
        self._left[row] = max(1, int(count * (_NEW_SHARE_OF_FEW if count < _FEW else _NEW_SHARE_OF_MANY)))


def _within(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise ValueError(f"{number} is not within {low} and {high}")
    return number


def _weight(weight: float) -> float:
    if not 0 <= weight <= 1e6:
        raise ValueError(f"a weight of {weight}")
    return weight


class Kept(NamedTuple):
    """Idle instances there should be, and how many of them are started again ahead of their use."""

    instances: int
    ahead: int


class LearnedKeepAlive:
    """Follows the demand of one function. At most one entry a level, so as many as `concurrency_max`."""

    def __init__(self, levels: Levels | None = None) -> None:
        self.levels = levels or Levels()
        self._busy = 0
        self._since_s: list[float] = []
        self._idle: dict[int, tuple[float, tuple[Window, ...]]] = {}

    def demand(self, invocations: int, now_s: float) -> float | None:
        """So many run or wait now. Returns when `kept` is to be asked because of a level that fell idle now."""
        while self._busy < invocations:
            if self._busy < len(self._since_s):
                self.levels.add(self._busy + 1, now_s - self._since_s[self._busy])
            else:
                self._since_s.append(now_s)
            self._idle.pop(self._busy, None)
            self._busy += 1
        ask_s: float | None = None
        while self._busy > invocations:
            self._busy -= 1
            self._since_s[self._busy] = now_s
            windows = self.levels.windows(self._busy + 1)
            self._idle[self._busy] = (now_s, windows)
            own_s = now_s + (windows[0][1] if windows and windows[0][0] == 0 else 0.0)
            ask_s = own_s if ask_s is None else min(ask_s, own_s)
        return ask_s

    def kept(self, now_s: float) -> Kept:
        """How many idle instances there should be now."""
        instances = ahead = 0
        for level, (since_s, windows) in list(self._idle.items()):
            age_s = now_s - since_s + _SLACK_S
            if not windows or age_s >= windows[-1][1]:
                del self._idle[level]
                continue
            for from_s, to_s in windows:
                if from_s <= age_s < to_s:
                    instances += 1
                    ahead += from_s > 0
        return Kept(instances, ahead)

    def next_change_s(self, now_s: float) -> float | None:
        """When `kept` gives something else if nothing else happens; None for never."""
        edges_s = (
            since_s + edge_s
            for since_s, windows in self._idle.values()
            for window in windows
            for edge_s in window
            if since_s + edge_s > now_s + _SLACK_S
        )
        return min(edges_s, default=None)
