"""The course of one app's baseline: from what a step showed to the number of servers to ask for.

It joins what is learned (`server_capacity.py`, `request_price.py`, the time a server takes to start), the rule
(`baseline.py`), what holds it back (`steering.py`) and what its changes have cost (`hindsight.py`). The control loop
gives it observations and does what it says; tests give it made ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peaker.errors import StateError
from peaker.policy import saved
from peaker.policy.baseline import Bounds, Decision, Economics, Seen, make_baseline
from peaker.policy.hindsight import Pending
from peaker.policy.hindsight import with_step as judged_with
from peaker.policy.request_price import RequestPrice, with_billed
from peaker.policy.server_capacity import Capacity, Load
from peaker.policy.server_capacity import with_step as learned_with
from peaker.policy.steering import Situation, Steered, steer

VERSION = 1

PRICE_RATIO_GUESS = 4.0
"""Function price over server price until a request has told it."""

REFUSED_PRICE_RATIO = 30.0
"""Where nothing may leave the servers, load above them is refused: that is as dear as functions ever were."""

START_WEIGHT = 0.3
START_S_MAX = 3600.0
DEMAND_BACK_S = 60.0
_USD_MIN, _USD_MAX = 1e-9, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the settings fix.

    Attributes:
        policy: a name of `baseline.NAMES`, but for fixed.
        server_usd_per_hour: list price of one server.
        bounds: the least and the most servers.
        step_s: time between two decisions.
        stay_s: how long a server that was added stays at least.
        start_guess_s: how long a server takes to start, until it was measured.
        may_spill: functions take what servers have no room for.
    """

    policy: str
    server_usd_per_hour: float
    bounds: Bounds
    step_s: float = 10.0
    stay_s: float = 60.0
    start_guess_s: float = 5.0
    may_spill: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """One step that has ended, and how things stand.

    Attributes:
        now_s: of the clock that never goes back; `epoch_s` of the calendar.
        load: what happened in it, None where that is missing or late.
        ready, starting: servers.
        asked: servers that were asked for.
        held_servers: set by hand, None where the rule decides.
        functions_may_run: the day's spend is not used up.
        functions_usd, functions_requests: what functions ran for the web app in the step.
        request_usd_guess: what one request would cost on a function, from its times on servers; None where unknown.
    """

    now_s: float
    epoch_s: float
    load: Load | None
    ready: int
    starting: int
    asked: int
    held_servers: int | None = None
    functions_may_run: bool = True
    functions_usd: float = 0.0
    functions_requests: int = 0
    request_usd_guess: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What comes of a step: the demand in servers (None: not known), what is wanted and why, what to ask for.

    `judged` is an earlier change whose cost is known now.
    """

    demand_servers: float | None
    decision: Decision
    steered: Steered
    economics: Economics
    judged: Pending | None = None


@dataclass(slots=True)
class Counts:
    """Since the history began."""

    steps: int = 0
    missing: int = 0
    added: int = 0
    removed: int = 0
    changes: int = 0
    wrong: int = 0


class Course:
    """One object follows one app. Its state is bounded and goes through JSON."""

    def __init__(self, terms: Terms, capacity: Capacity | None = None) -> None:
        self.terms = terms
        self.capacity = capacity or Capacity()
        self.price = RequestPrice()
        self.start_s: float | None = None
        self.counts = Counts()
        self._added_s: float | None = None
        self._removed_s: float | None = None
        self._recent: list[float] = []
        self._pending: Pending | None = None
        self._baseline = make_baseline(terms.policy, self.economics, terms.bounds)

    @property
    def economics(self) -> Economics:
        """Prices of a server and of functions for its work, as they are known now."""
        terms, server_usd = self.terms, self.terms.server_usd_per_hour
        per_server_hour = self.price.per_request_usd * self.capacity.per_s * 3600
        if not terms.may_spill:
            per_server_hour = max(per_server_hour, REFUSED_PRICE_RATIO * server_usd)
        return Economics(
            server_usd_per_hour=min(max(server_usd, _USD_MIN), _USD_MAX),
            function_usd_per_server_hour=min(
                max(per_server_hour or PRICE_RATIO_GUESS * server_usd, _USD_MIN), _USD_MAX
            ),
            server_start_s=self.start_s if self.start_s is not None else terms.start_guess_s,
            step_s=terms.step_s,
        )

    def step(self, seen: StepSeen) -> Step:
        """Learn from the step, decide, and say what to ask for. What was asked for is told by `changed`."""
        demand = self._learn(seen)
        economics = self.economics
        self._baseline.reprice(economics)
        decision = self._baseline.decide(
            Seen(
                now_s=seen.epoch_s,
                demand_servers=demand,
                servers_ready=seen.ready,
                servers_starting=seen.starting,
            )
        )
        return Step(
            demand_servers=demand,
            decision=decision,
            steered=steer(decision.servers, self._situation(seen, economics)),
            economics=economics,
            judged=self._judge(demand, seen.load, economics),
        )

    def _learn(self, seen: StepSeen) -> float | None:
        self.counts.steps += 1
        self.price = with_billed(self.price, seen.functions_usd, seen.functions_requests, seen.request_usd_guess)
        load = seen.load
        if load is None or load.span_s <= 0:
            self.counts.missing += 1
            return None
        self.capacity = learned_with(self.capacity, load)
        demand = self.capacity.servers(load.requests / load.span_s) if load.requests else 0.0
        if demand is not None:
            back = max(1, round(DEMAND_BACK_S / self.terms.step_s))
            self._recent = [*self._recent, demand][-back:]
        return demand

    def _situation(self, seen: StepSeen, economics: Economics) -> Situation:
        bounds = self.terms.bounds
        return Situation(
            now_s=seen.now_s,
            servers=seen.asked,
            servers_min=bounds.servers_min,
            servers_max=bounds.servers_max,
            demand_servers=max(self._recent, default=None),
            held_servers=seen.held_servers,
            functions_may_run=seen.functions_may_run,
            added_s=self._added_s,
            removed_s=self._removed_s,
            start_s=economics.server_start_s,
            stay_s=self.terms.stay_s,
        )

    def _judge(self, demand: float | None, load: Load | None, economics: Economics) -> Pending | None:
        if self._pending is None:
            return None
        span_s = load.span_s if load is not None else self.terms.step_s
        self._pending = judged_with(self._pending, demand, span_s, economics)
        return self._take_pending() if self._pending.is_due else None

    def _take_pending(self) -> Pending | None:
        taken, self._pending = self._pending, None
        if taken is not None and taken.was_wrong:
            self.counts.wrong += 1
        return taken

    def changed(self, before: int, after: int, step: Step, *, now_s: float, epoch_s: float) -> Pending | None:
        """The number was changed as `step` said; gives the change before it, which ends being judged."""
        if after > before:
            self._added_s, self.counts.added = now_s, self.counts.added + after - before
        else:
            self._removed_s, self.counts.removed = now_s, self.counts.removed + before - after
        judged = self._take_pending()
        self.counts.changes += 1
        reason = step.decision.reason
        self._pending = Pending(
            number=self.counts.changes,
            epoch_s=epoch_s,
            before=before,
            after=after,
            forecast_servers=reason.forecast_servers,
            forecast_for_s=reason.forecast_for_s,
        )
        # Too short to say anything of.
        return judged if judged is not None and judged.steps else None

    def started(self, took_s: float) -> None:
        """A server was ready so long after it was asked for."""
        took_s = min(max(took_s, 0.0), START_S_MAX)
        self.start_s = took_s if self.start_s is None else self.start_s + START_WEIGHT * (took_s - self.start_s)

    def state(self, *, now_s: float, epoch_s: float) -> dict[str, Any]:
        """All that it has learned, as JSON has it."""

        def ago_to_epoch(moment_s: float | None) -> float | None:
            return None if moment_s is None else epoch_s - (now_s - moment_s)

        return {
            "version": VERSION,
            "policy": self.terms.policy,
            "capacity": self.capacity.to_document(),
            "price": self.price.to_document(),
            "start_s": self.start_s,
            "counts": {name: getattr(self.counts, name) for name in Counts.__slots__},
            "added_epoch_s": ago_to_epoch(self._added_s),
            "removed_epoch_s": ago_to_epoch(self._removed_s),
            "pending": None if self._pending is None else self._pending.to_document(),
            "baseline": self._baseline.state(),
        }

    def restore(self, state: Mapping[str, Any], *, now_s: float, epoch_s: float) -> None:
        """Go on from `state()`; of another policy the measurements go on, and what it had learned does not.

        Raises:
            StateError: it is not what `state` gives; nothing was taken from it.
        """
        if saved.whole(state, "version") != VERSION:
            raise StateError(f"saved baseline: version {state.get('version')!r} is not {VERSION}.")
        start_s = saved.optional(state, "start_s", 0.0, START_S_MAX)
        capacity = Capacity.from_document(saved.part(state, "capacity"))
        price = RequestPrice.from_document(saved.part(state, "price"))
        kept = saved.part(state, "counts")
        counts = Counts(**{name: saved.whole(kept, name, 0, 10**12) for name in Counts.__slots__})
        moments = [saved.optional(state, name) for name in ("added_epoch_s", "removed_epoch_s")]
        pending = None if state.get("pending") is None else Pending.from_document(saved.part(state, "pending"))
        before = self.capacity, self.price, self.start_s
        self.capacity, self.price, self.start_s = capacity, price, start_s
        try:
            if state.get("policy") == self.terms.policy:
                self._baseline = make_baseline(
                    self.terms.policy, self.economics, self.terms.bounds, state=saved.part(state, "baseline")
                )
            else:
                self._baseline = make_baseline(self.terms.policy, self.economics, self.terms.bounds)
        except StateError:
            self.capacity, self.price, self.start_s = before
            raise
        self.counts, self._pending = counts, pending
        # A clock that was set back meanwhile makes a change look as if it were still to come: it counts as just now.
        self._added_s, self._removed_s = (
            None if moment is None else now_s - max(0.0, epoch_s - moment) for moment in moments
        )
