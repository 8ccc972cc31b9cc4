"""The highest value of a trailing window, in constant space and time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.provision import DEMAND_MAX

BLOCKS = 16


class TrailingMax:
    """The highest of the last `window_s`, kept as the maxima of sixteen blocks: the oldest block leaves as a whole.

    So the window is at least 15/16 of what it is called, and exact where a step is no shorter than a block.
    """

    __slots__ = ("_block_s", "_blocks", "_blocks_max", "_closed_max", "_in_block_s", "_open_max")

    def __init__(self, window_s: float, step_s: float) -> None:
        self._block_s = max(step_s, window_s / BLOCKS)
        self._blocks_max = max(0, round(window_s / self._block_s) - 1)
        self._blocks: deque[float] = deque(maxlen=self._blocks_max)
        self._closed_max = self._open_max = 0.0
        self._in_block_s = 0.0

    def add(self, value: float, for_s: float) -> float:
        """A step has ended; gives the highest of the window."""
        # A block that is full is closed only now, so that the window ends with the step seen last.
        if self._in_block_s >= self._block_s - 1e-6:
            self._blocks.append(self._open_max)
            self._closed_max = max(self._blocks, default=0.0)
            self._open_max, self._in_block_s = 0.0, 0.0
        self._open_max = max(self._open_max, value)
        self._in_block_s += for_s
        return max(self._open_max, self._closed_max)

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"blocks": list(self._blocks), "open_max": self._open_max, "in_block_s": self._in_block_s}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        blocks = saved.numbers(state, "blocks", 0.0, DEMAND_MAX, BLOCKS)
        open_max = saved.number(state, "open_max", 0.0, DEMAND_MAX)
        self._in_block_s = saved.number(state, "in_block_s")
        self._blocks = deque(blocks, maxlen=self._blocks_max)
        self._closed_max, self._open_max = max(self._blocks, default=0.0), open_max
