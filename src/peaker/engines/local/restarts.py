"""When each role may be filled again after its process died."""

from __future__ import annotations

from collections.abc import Collection

from peaker.policy.supervision import Role, failures_in_a_row, restart_delay_s

COULD_NOT_START_S = 1.0


class Restarts:
    """Deaths in a row by role; all times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures: dict[Role, int] = {}
        self._not_before_s: dict[Role, float] = {}

    def died(self, role: Role, *, ready_for_s: float | None, now_s: float) -> tuple[int, float]:
        """Count one death (`ready_for_s` is None for a process that never was); deaths in a row, and the pause."""
        failures = failures_in_a_row(self._failures.get(role, 0), ready_for_s)
        delay_s = restart_delay_s(failures)
        self._failures[role] = failures
        self._not_before_s[role] = now_s + delay_s
        return failures, delay_s

    def could_not_start(self, role: Role, now_s: float) -> None:
        """The system gave no process; asking again at once would only burden it."""
        _, delay_s = self.died(role, ready_for_s=None, now_s=now_s)
        self._not_before_s[role] = now_s + max(COULD_NOT_START_S, delay_s)

    def may_start(self, role: Role, now_s: float) -> bool:
        """The pause after the last death is over."""
        return self._not_before_s.get(role, 0.0) <= now_s

    def keep(self, wanted: Collection[Role]) -> None:
        """Forget roles that are not wanted any more."""
        self._not_before_s = {role: moment for role, moment in self._not_before_s.items() if role in wanted}
        self._failures = {role: failures for role, failures in self._failures.items() if role in wanted}

    def next_s(self, now_s: float) -> float | None:
        """When the next pause ends."""
        return min((moment for moment in self._not_before_s.values() if moment > now_s), default=None)
