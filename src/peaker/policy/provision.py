"""The values that steer the baseline: what it costs, what was seen, what is wanted and why.

Demand is measured in servers: 1.0 is the work that one server carries when it is as full as it may be. It is cut into
levels: level n is the part between n - 1 and n, and the n-th server is there for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from peaker.errors import SettingsError

SERVERS_MAX = 100_000
DEMAND_MAX = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Economics:
    """Prices and times by which a number of servers is chosen.

    Attributes:
        server_usd_per_hour: one server, ready or starting.
        function_usd_per_server_hour: functions that carry for an hour what one full server would.
        server_start_s: from the decision to add a server until it is ready, as measured.
        step_s: how often is decided; a demand that is seen is the mean of so many seconds.
    """

    server_usd_per_hour: float
    function_usd_per_server_hour: float
    server_start_s: float
    step_s: float = 10.0

    def __post_init__(self) -> None:
        _require("server_usd_per_hour", self.server_usd_per_hour, 1e-9, 1e6)
        _require("function_usd_per_server_hour", self.function_usd_per_server_hour, 1e-9, 1e6)
        _require("server_start_s", self.server_start_s, 0.0, 86_400.0)
        _require("step_s", self.step_s, 0.1, 86_400.0)

    @property
    def price_ratio(self) -> float:
        """Function price over server price for the same work."""
        return self.function_usd_per_server_hour / self.server_usd_per_hour

    @property
    def start_steps(self) -> int:
        """Whole steps in which a server is paid for before it is ready."""
        return math.ceil(self.server_start_s / self.step_s - 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The least and the most servers that may be wanted."""

    servers_min: int = 0
    servers_max: int = 1000

    def __post_init__(self) -> None:
        _require("servers_max", self.servers_max, 1, SERVERS_MAX)
        _require("servers_min", self.servers_min, 0, self.servers_max)

    def hold(self, servers: int) -> int:
        """The nearest number that is allowed."""
        return min(max(servers, self.servers_min), self.servers_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known when a step begins.

    Attributes:
        now_s: seconds since 1970, UTC: the day and the week are read from it.
        demand_servers: mean demand of the step that has just ended, in servers, with what spilled; None when it is
            missing or late.
        servers_ready: that serve now.
        servers_starting: that have been asked for and are not ready.
    """

    now_s: float
    demand_servers: float | None
    servers_ready: int
    servers_starting: int = 0

    @property
    def servers(self) -> int:
        """Ready or starting: what is paid for."""
        return self.servers_ready + self.servers_starting


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """The figures that led to a decision.

    For a change, `level` is the lowest level that gains or loses its server, else the next one above the servers.
    "In the last 10 min functions cost $0.31 for load that one server carries for $0.012" is `functions_usd`,
    `window_s` and `server_usd`.

    Attributes:
        rule: what decided: a policy's name, or of the default policy the simple policy that leads.
        level: the server this is about, counted from 1.
        window_s: over which the two sums are taken.
        functions_usd: what functions cost, or would have cost without the server, for the work of the level.
        server_usd: what one server costs in the window.
        demand_servers: the demand last seen, None before the first.
        forecast_servers: demand expected over `forecast_for_s`, at `quantile`; None where the rule does not forecast.
        held_by: "bounds" where they changed what the rule wanted, "guard" where the cost bound did, else "".
    """

    rule: str
    level: int = 1
    window_s: float = 0.0
    functions_usd: float = 0.0
    server_usd: float = 0.0
    demand_servers: float | None = None
    forecast_servers: float | None = None
    forecast_for_s: float = 0.0
    quantile: float | None = None
    held_by: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many servers there should be, ready and starting together, and why."""

    servers: int
    reason: Reason


class Baseline(Protocol):
    """A rule for the number of servers. One object follows one app; its state is bounded and goes through JSON."""

    def decide(self, seen: Seen) -> Decision:
        """Once a step, before the step's demand is known."""

    def reprice(self, economics: Economics) -> None:
        """Prices or the measured start-up time have changed; what was learned stays."""

    def state(self) -> dict[str, Any]:
        """All that it has learned, as JSON has it."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`.

        Raises:
            StateError: it is not what `state` of this policy gives.
        """


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # Not a number fails too.
        raise SettingsError(f"{name} = {value:g} is not allowed; allowed: {low:g} to {high:g}.", where="baseline")
