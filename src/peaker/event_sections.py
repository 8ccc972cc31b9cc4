"""Sections of `peaker.toml` that are about events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from peaker.errors import SettingsError
from peaker.section_reader import setting
from peaker.setting_checks import between


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsSection:
    """Events: what is kept, and how often a function is tried."""

    retries_max: int = setting(2, "Runs after the first that failed.", between(0, 2))
    age_s_max: float = setting(21_600.0, "An event older than this is given up.", between(60, 21_600))
    retry_s: float = setting(
        60.0, "Wait after the first run that failed; twice as long after the second.", between(0.01, 3600)
    )
    hops_max: int = setting(
        16, "Runs in a row that may lead from one to the next by events; what comes after is a dead letter.",
        between(1, 1000),
    )  # fmt: skip
    lease_s: float = setting(
        15.0, "After the events process was killed, what it was running is asked for again this much later.",
        between(0.5, 900),
    )  # fmt: skip
    waiting_max: int = setting(100_000, "Events that wait or run; more are refused.", between(1, 10_000_000))
    waiting_mb_max: int = setting(512, "Payloads of those, in MB.", between(1, 1_000_000))
    dead_max: int = setting(10_000, "Dead letters kept; the oldest goes for a new one.", between(1, 10_000_000))


class HasDestinations(Protocol):
    """What has them: a `[[function]]`."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def on_success(self) -> str:
        """Where the record of an event that succeeded goes, "" for nowhere."""

    @property
    def on_failure(self) -> str:
        """Where the record of an event that was given up goes."""


def check_destinations(functions: Sequence[HasDestinations], line_of: Callable[..., str]) -> None:
    """Refuse a destination that is not there, or is the function itself; `line_of` gets the place after `function`.

    Raises:
        SettingsError: where, the value, and what is allowed.
    """
    names = {function.name for function in functions}
    for number, function in enumerate(functions):
        for key in ("on_success", "on_failure"):
            given: str = getattr(function, key)
            target = given.removeprefix("function:")
            if not given.startswith("function:") or (target in names and target != function.name):
                continue
            why = "the function itself, which would have no end" if target in names else "no function of this app"
            known = ", ".join(f"function:{name}" for name in sorted(names - {function.name})) or "there is no other"
            raise SettingsError(
                f"function.{key} = {given!r} of {function.name!r} is {why}; allowed: {known}.",
                where=line_of(number, key),
            )
