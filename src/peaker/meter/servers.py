"""How long servers were paid for. A server is paid from the moment it is launched until the last of it is gone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

BILLED_S_MIN = 60.0
"""EC2 bills Linux by the second, at least a minute a launch (EC2 User Guide, "How your instances are billed")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTimes:
    """Launch times (seconds since 1970) of the servers there are, by number, and the sums of those that are gone."""

    launched_epoch_s: Mapping[str, float] = field(default_factory=dict[str, float])
    launches: int = 0
    past_s: float = 0.0
    past_billed_s: float = 0.0

    def seconds(self, epoch_s: float) -> float:
        """Server seconds up to now, starting and draining included."""
        return self.past_s + sum(max(0.0, epoch_s - launched) for launched in self.launched_epoch_s.values())

    def billed_s(self, epoch_s: float) -> float:
        """The seconds that EC2 would bill for those up to now."""
        return self.past_billed_s + sum(
            billed_seconds(epoch_s - launched) for launched in self.launched_epoch_s.values()
        )


def billed_seconds(lived_s: float) -> float:
    """Whole seconds, rounded up, and no less than the minimum; a microsecond of binary rounding is forgiven."""
    return max(BILLED_S_MIN, float(math.ceil(lived_s - 1e-6)))


def with_servers(times: ServerTimes, there: Mapping[int, float], epoch_s: float) -> ServerTimes:
    """The times once exactly these servers are there, each with the moment its first process was started.

    Missing ones have just gone. One that is known keeps its launch: it was paid for while its processes came and went.
    """
    names = {str(number): launched_s for number, launched_s in there.items()}
    if set(names) == set(times.launched_epoch_s):
        return times
    gone = [launched for name, launched in times.launched_epoch_s.items() if name not in names]
    kept = {name: launched for name, launched in times.launched_epoch_s.items() if name in names}
    fresh = {name: min(epoch_s, launched_s) for name, launched_s in names.items() if name not in kept}
    return ServerTimes(
        launched_epoch_s={**kept, **fresh},
        launches=times.launches + len(fresh),
        past_s=times.past_s + sum(max(0.0, epoch_s - launched) for launched in gone),
        past_billed_s=times.past_billed_s + sum(billed_seconds(epoch_s - launched) for launched in gone),
    )
