"""How fast a streamed response may leave: a first part as fast as can be, the rest at a steady rate.

Source: AWS Lambda Developer Guide, "Response streaming for Lambda functions", "Bandwidth limits for response
streaming": the first 6 MB uncapped, the remainder at most 2 MBps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamPace:
    """`free_bytes` at once, then `bytes_per_s`."""

    free_bytes: float
    bytes_per_s: float

    def least_s(self, sent_bytes: int) -> float:
        """How long so many bytes take at the least, counted from when the free ones had been sent."""
        return max(0.0, sent_bytes - self.free_bytes) / self.bytes_per_s


UNPACED = StreamPace(math.inf, math.inf)
LAMBDA_PACE = StreamPace(6 * 1024 * 1024, 2 * 1024 * 1024)
