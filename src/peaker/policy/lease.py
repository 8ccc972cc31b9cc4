"""How the day's spend limit is shared out among the workers' gates.

Control is the one owner of the limit. It gives each gate a lease: the sum this gate may have spent since its row of the
table began. A lease only ever grows, so no race between a gate that spends and control that takes back can exist: what
is leased counts as spent until the worker is gone. The price is what idle workers hold; each is given no more than a
sixteenth of an equal share at a time, so at most about 6 % of the limit can lie idle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

UNLIMITED_MICROUSD = 2**62
SHARE_DIVISOR = 16

LEFT_SHARE_MIN = 0.001
"""Of the limit, a minute and a half of a day in which it is spent evenly."""
RUN_MICROUSD = 10
"""A run of 0.75 GB for a second. A gate whose share does not hold one runs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One gate: what it may spend in all, and what it has spent."""

    lease_microusd: int
    spent_microusd: int

    @property
    def unspent_microusd(self) -> int:
        """What may still be spent without asking."""
        return max(0, self.lease_microusd - self.spent_microusd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What is kept between ticks and over restarts.

    `day` counts UTC days since 1970; `spent_microusd` is this day's; `counted_microusd` is how far the running total
    of `run`, named by when its table was made, had come when it was last read.
    """

    day: int = 0
    spent_microusd: int = 0
    run: int = 0
    counted_microusd: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """The outcome of one tick: what to remember, and the leases to write by row (only those that change)."""

    ledger: Ledger
    leases: dict[int, int] = field(default_factory=dict[int, int])


def count_spend(ledger: Ledger, *, day: int, run: int, total_microusd: int) -> Ledger:
    """Add what came since the last reading.

    A new run counts from zero. The day only moves forward: a clock set back must not give the budget twice.
    """
    before = ledger.counted_microusd if run == ledger.run else 0
    since = max(0, total_microusd - before)
    carried = ledger.spent_microusd if day <= ledger.day else 0
    # Totals do not fall; should one all the same, the higher mark stays, so that nothing is counted twice.
    return replace(
        ledger,
        day=max(day, ledger.day),
        spent_microusd=carried + since,
        run=run,
        counted_microusd=max(before, total_microusd),
    )


def is_used_up(ledger: Ledger, gates: int, limit_microusd: int | None) -> bool:
    """Whether so little is left that functions no longer carry a load.

    Shares shrink with what is left, so that the limit itself is approached and never quite reached.
    """
    if limit_microusd is None:
        return False
    left = limit_microusd - ledger.spent_microusd
    return left < max(LEFT_SHARE_MIN * limit_microusd, SHARE_DIVISOR * gates * RUN_MICROUSD)


def share_out(ledger: Ledger, holdings: Mapping[int, Holding], limit_microusd: int | None) -> dict[int, int]:
    """New leases by row, so that spent + all that is leased and unspent stays within the limit."""
    if limit_microusd is None:
        return {row: UNLIMITED_MICROUSD for row, held in holdings.items() if held.lease_microusd != UNLIMITED_MICROUSD}
    outstanding = sum(held.unspent_microusd for held in holdings.values())
    free = limit_microusd - ledger.spent_microusd - outstanding
    if not holdings or free <= 0:
        return {}
    target = (limit_microusd - ledger.spent_microusd) // (SHARE_DIVISOR * len(holdings))
    leases: dict[int, int] = {}
    # The emptiest first: where the rest does not suffice for all, it goes to those that spend.
    for row, held in sorted(holdings.items(), key=lambda item: (item[1].unspent_microusd, item[0])):
        grant = min(target - held.unspent_microusd, free)
        if grant <= 0:
            continue
        # A gate may have overdrawn by what one reply cost more than expected; that is not given twice.
        leases[row] = max(held.lease_microusd, held.spent_microusd) + grant
        free -= grant
    return leases
