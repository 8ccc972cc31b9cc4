"""Traffic made from a description: a day's swing, quiet seasons, bursts; seeded, so the same every time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peaker.errors import TraceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY_S = 86_400.0
HOUR_S = 3600.0
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """`per_s` more requests a second for `lasts_min`, every `every_h` from `first_h` on; full within `rises_min`."""

    per_s: float
    every_h: float
    lasts_min: float
    first_h: float = 0.0
    rises_min: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A load over `days` in steps of `step_s`.

    Attributes:
        base_per_s: mean rate of an ordinary day while the season is on.
        day_swing: 0 is flat; 1 falls to nothing at night and doubles by day.
        active_share: share of the days, from the first on, that the season lasts.
        quiet_per_s: rate outside the season.
        bursts: on top of it.
        seed: of the chance by which requests come.
    """

    days: float
    step_s: float
    base_per_s: float
    day_swing: float = 0.0
    active_share: float = 1.0
    quiet_per_s: float = 0.0
    bursts: tuple[Burst, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("days", 0.01, 3660.0),
            ("step_s", 1.0, 3600.0),
            ("base_per_s", 0.0, 1e6),
            ("day_swing", 0.0, 1.0),
            ("active_share", 0.0, 1.0),
            ("quiet_per_s", 0.0, 1e6),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise TraceError(f"{name} = {value:g} is not allowed; allowed: {low:g} to {high:g}.", where="traffic")


def rates(of: Description) -> NDArray[np.float64]:
    """Mean requests a second in each step."""
    at_s = (np.arange(max(1, round(of.days * DAY_S / of.step_s))) + 0.5) * of.step_s
    swing = 1 - of.day_swing * np.cos(2 * np.pi * at_s / DAY_S)
    is_on = at_s < of.active_share * of.days * DAY_S
    found: NDArray[np.float64] = np.where(is_on, of.base_per_s * swing, of.quiet_per_s)
    for burst in of.bursts:
        since_s = np.mod(at_s - burst.first_h * HOUR_S, burst.every_h * HOUR_S)
        rise = np.clip(since_s / (burst.rises_min * MINUTE_S), 0.0, 1.0)
        burns = (since_s < burst.lasts_min * MINUTE_S) & (at_s >= burst.first_h * HOUR_S)
        found = found + np.where(burns, burst.per_s * rise, 0.0)
    return found


def counts(of: Description) -> NDArray[np.float64]:
    """Requests in each step: Poisson around the rates."""
    chance = np.random.default_rng(of.seed)
    return chance.poisson(rates(of) * of.step_s).astype(np.float64)
