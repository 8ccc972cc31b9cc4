"""What keeps any rule within a bound of what break-even would have cost, whatever demand does.

Break-even has a fleet on paper beside the real one. In seconds of a server, `slack` is what may still be spent:

    slack = SHARE * (what break-even has cost) + one start - (what was spent),    SHARE = 1.01

A number of servers W is allowed in a step if slack covers the worst that can follow from it when break-even's number
is taken from the next step on. With p servers paid and R(j) servers ready j steps from now, both after this step's
order, so that p = W:

    need(W) = (p - p') + price_ratio * sum over j = 0..start_steps of max(0, R'(j) - R(j))          (' is break-even's)

in units of a server for a step: this step's servers cost p - p' more, and in each step until servers ordered in the
next one are ready, demand may find as many servers fewer than break-even has. The sum's j = 0 is this step.

That break-even's own number is always allowed follows by induction: after a step in which need(W) <= slack, slack has
fallen by (p - p') + price_ratio * (R'(0) - R(0)) at the most, so it still covers the sum over j = 1..start_steps; and
the need of break-even's number is that sum, since both then pay for as many servers and what is ordered from then on
is ready together. Giving up servers, the last ones first, never widens a gap. So slack is never below 0, which is the
bound. `docs/explanation/baseline.md` has the proof in full; arbitrary demands are tried in tests/property.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.break_even import starting_time_s
from peaker.policy.paper_fleet import PaperFleet
from peaker.policy.provision import SERVERS_MAX, Economics, Seen

SHARE = 1.01

HOLD_SHARE = 0.5
"""A server is kept beyond break-even when slack pays for keeping it half as long as is rational: for as long as it
costs what starting it anew costs, and functions until it is ready."""

_ROUNDING = 1e-9
_SLACK_MAX_S = 1e15


class CostBound:
    """The two fleets and the slack. In each step: `account` for the last one, `begin`, `allowed`, `order`."""

    def __init__(self, economics: Economics) -> None:
        self._slack_s = economics.start_steps * economics.step_s
        self._own, self._even = PaperFleet(), PaperFleet()
        self._apart = 0

    @property
    def slack_s(self) -> float:
        """What may still be spent above break-even, in seconds of a server."""
        return self._slack_s

    def account(self, demand: float, for_s: float, price_ratio: float) -> None:
        """A step with this demand has ended."""
        own, even = self._own, self._even
        spent = own.servers + price_ratio * max(0.0, demand - own.ready)
        would_have = even.servers + price_ratio * max(0.0, demand - even.ready)
        self._slack_s = min(_SLACK_MAX_S, self._slack_s + (SHARE * would_have - spent) * for_s)
        own.pass_time(for_s)
        even.pass_time(for_s)

    def begin(self, break_even: int, seen: Seen, economics: Economics) -> None:
        """A step begins: what there is, and what break-even wants."""
        start_s = starting_time_s(economics)
        self._own.set_to(seen.servers_ready, seen.servers_starting, start_s)
        self._even.order(break_even, start_s)

    def order(self, servers: int, economics: Economics) -> None:
        """What was decided in the end, a number that was allowed."""
        self._own.order(servers, starting_time_s(economics))
        self._apart = servers - self._even.servers

    def allowed(self, wanted: int, economics: Economics, *, to_stay: bool) -> int:
        """The number nearest to `wanted`, from there to break-even's, that slack covers.

        With `to_stay` it must also suffice for staying as far from break-even's number (`_reserve`).
        """
        break_even = self._even.servers
        slack = self._slack_s / economics.step_s + _ROUNDING
        gaps = self._gaps(economics)

        def need(servers: int) -> float:
            missing = sum(steps * max(0, theirs - min(servers, ours)) for steps, ours, theirs in gaps)
            apart = servers - break_even
            reserve = self._reserve(apart, economics) if to_stay else 0.0
            return apart + economics.price_ratio * missing + reserve

        near, far = break_even, wanted
        if far == near or need(far) <= slack:
            near = far
        # `need` grows with the distance from break-even's number, on either side: halve what is between.
        while abs(far - near) > 1:
            middle = (near + far) // 2
            near, far = (middle, far) if need(middle) <= slack else (near, middle)
        return near

    def _reserve(self, apart: int, economics: Economics) -> float:
        """What it takes, beside `need`, to go further from break-even's number than before, so as to stay there.

        Being apart pays only if it lasts: servers that are kept until load comes back, or missed until it has gone.
        Slack that does not suffice for that is saved until it does, instead of being spent on a step here and there.
        """
        if apart > max(0, self._apart):
            return apart * economics.start_steps * (1 + economics.price_ratio) * HOLD_SHARE
        if apart < min(0, self._apart):
            return -apart * economics.price_ratio * economics.start_steps
        return 0.0

    def _gaps(self, economics: Economics) -> list[tuple[int, float, int]]:
        """Runs of steps in which nothing gets ready: how many steps, and the servers of both fleets.

        The last step is that in which what is ordered now is ready, so only what is wanted bounds the own ones there.
        """
        step_s, last = economics.step_s, economics.start_steps
        own, even = self._own, self._even
        edges = {math.ceil(left_s / step_s - _ROUNDING) for fleet in (own, even) for left_s in fleet.times_left_s()}
        begins = [0, *sorted(edge for edge in edges if 0 < edge < last), last]
        runs: list[tuple[int, float, int]] = [
            (end - begin, own.ready_after(begin * step_s), even.ready_after(begin * step_s))
            for begin, end in itertools.pairwise(begins)
        ]
        return [*runs, (1, math.inf, even.ready_after(last * step_s))]

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"slack_s": self._slack_s, "apart": self._apart, "own": self._own.state(), "even": self._even.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        self._slack_s = saved.number(state, "slack_s", -_SLACK_MAX_S, _SLACK_MAX_S)
        self._apart = saved.whole(state, "apart", -SERVERS_MAX, SERVERS_MAX)
        self._own.restore(saved.part(state, "own"))
        self._even.restore(saved.part(state, "even"))
