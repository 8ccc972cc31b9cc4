"""What a decision has cost, seen afterwards: beside what the number of servers before it would have cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from peaker.errors import StateError
from peaker.policy.provision import Economics

JUDGED_STEPS = 60
"""A decision is judged after so many steps, ten minutes of ten seconds, or at the next one if that comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One change of the number of servers, and what has come since.

    Attributes:
        number: of the journal's line that it is about.
        epoch_s: when it was.
        before, after: servers.
        forecast_servers, forecast_for_s: what the policy expected, and over which time; None without a forecast.
        steps, span_s: that were seen since; `missing_steps` of which nothing is known.
        cost_usd, otherwise_usd: with `after` and with `before` servers: those that are paid for, and functions for the
            demand above them.
        demand_sum: of demand times seconds; `demand_max` the most, both in servers.
    """

    number: int
    epoch_s: float
    before: int
    after: int
    forecast_servers: float | None = None
    forecast_for_s: float = 0.0
    steps: int = 0
    missing_steps: int = 0
    span_s: float = 0.0
    cost_usd: float = 0.0
    otherwise_usd: float = 0.0
    demand_sum: float = 0.0
    demand_max: float = 0.0

    @property
    def is_due(self) -> bool:
        """Enough has been seen."""
        return self.steps + self.missing_steps >= JUDGED_STEPS

    @property
    def demand_mean(self) -> float:
        """Servers' worth that came since, 0 where nothing was seen."""
        return self.demand_sum / self.span_s if self.span_s else 0.0

    @property
    def was_wrong(self) -> bool:
        """Leaving the number as it was would have cost less."""
        return self.cost_usd > self.otherwise_usd

    def to_document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Pending:
        """The reverse; raises StateError where it is none."""
        try:
            found = cls(**{field.name: document[field.name] for field in fields(cls)})
        except (KeyError, TypeError) as error:
            raise StateError(f"saved judgement: {error}.") from error
        for name in ("number", "epoch_s", "before", "after", "span_s", "cost_usd", "otherwise_usd", "demand_sum"):
            if isinstance(value := getattr(found, name), bool) or not isinstance(value, int | float):
                raise StateError(f"saved judgement: {name} = {value!r} is no number.")
        return found


def with_step(pending: Pending, demand_servers: float | None, span_s: float, economics: Economics) -> Pending:
    """After one more step, whose demand may be missing.

    Cost of n servers for a time h with demand d: n X h + max(0, d - n) Y h, with X and Y the prices of a server and of
    functions for a server's work. A server that starts is paid for and carries nothing yet, which is left out here: the
    step in which it started is one of many.
    """
    if demand_servers is None:
        return replace(pending, missing_steps=pending.missing_steps + 1)
    return replace(
        pending,
        steps=pending.steps + 1,
        span_s=pending.span_s + span_s,
        cost_usd=pending.cost_usd + cost_usd(pending.after, demand_servers, span_s, economics),
        otherwise_usd=pending.otherwise_usd + cost_usd(pending.before, demand_servers, span_s, economics),
        demand_sum=pending.demand_sum + demand_servers * span_s,
        demand_max=max(pending.demand_max, demand_servers),
    )


def cost_usd(servers: int, demand_servers: float, span_s: float, economics: Economics) -> float:
    """Of so many servers and of functions above them, for `span_s`."""
    hours = span_s / 3600
    above = max(0.0, demand_servers - servers)
    return (servers * economics.server_usd_per_hour + above * economics.function_usd_per_server_hour) * hours
