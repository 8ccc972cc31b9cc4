"""Which requests `peaker measure` sends: paths given, weights from a log where one is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peaker.errors import SettingsError
from peaker.traffic.mix import METHODS, Target, parse_target

if TYPE_CHECKING:
    from peaker.traffic.requests import RouteTraffic, Traffic

SAFE_METHODS = ("GET", "HEAD")
TARGETS_MAX = 50
BODY_BYTES_MAX = 4_500_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is sent, and sentences about what of the log it stands for."""

    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()


def allowed_methods(given: Sequence[str]) -> frozenset[str]:
    """GET and HEAD, which by RFC 9110 change nothing, and those that were named.

    Raises:
        SettingsError: one is no method.
    """
    for method in given:
        if method.upper() not in METHODS:
            raise SettingsError(f"{method!r} is not allowed; allowed: {', '.join(METHODS)}.", where="--method")
    return frozenset([*SAFE_METHODS, *(method.upper() for method in given)])


def targets_given(paths: Sequence[str], methods: frozenset[str]) -> list[Target]:
    """The paths of the command line.

    Raises:
        SettingsError: one is malformed, too many, twice, or of a method that was not allowed.
    """
    targets = [parse_target(path) for path in paths]
    if len(targets) > TARGETS_MAX:
        raise SettingsError(f"{len(targets)} paths are not allowed; allowed: 1 to {TARGETS_MAX}.", where="--path")
    seen = set()
    for target in targets:
        name = f"{target.method} {target.path}"
        if target.method not in methods:
            raise SettingsError(
                f"{name} may change what your app keeps, so it is not sent.",
                where="--path",
                remedy=f"Add --method {target.method} if it may be sent some thousand times.",
            )
        if name in seen:
            raise SettingsError(f"{name} stands twice.", where="--path")
        seen.add(name)
    return targets


def read_body(path: Path | None) -> bytes:
    """The body to send with POST, PUT and PATCH; raises SettingsError where it cannot be read or is too large."""
    if path is None:
        return b""
    try:
        with path.open("rb") as file:
            body = file.read(BODY_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"it cannot be read: {error.strerror}.", where=f"--body {path}") from error
    if len(body) > BODY_BYTES_MAX:
        raise SettingsError(f"it has more than {BODY_BYTES_MAX:,} bytes.", where=f"--body {path}")
    return body


def weighted_by_log(given: Sequence[Target], traffic: Traffic, log: str) -> Chosen:
    """Routes of a log as targets.

    A route is asked by a path that was given and belongs to it, with the route's own weight; without one by its own
    path, if it is answered to GET and nothing in it changes from request to request.

    Raises:
        SettingsError: no route can be asked, or a given path belongs to no route of the log.
    """
    from peaker.traffic.route_names import route_of

    targets: list[Target] = []
    left = list(given)
    covered = 0.0
    missing: list[RouteTraffic] = []
    for route in traffic.routes:
        own = next((t for t in left if route_of(t.path.partition("?")[0].encode()) == route.pattern), None)
        if own is not None:
            left.remove(own)
        elif "{}" not in route.pattern and route.pattern.startswith("/") and route.methods.get("GET"):
            own = Target("GET", route.pattern)
        if own is None or len(targets) >= TARGETS_MAX:
            missing.append(route)
            continue
        targets.append(Target(own.method, own.path, route.share))
        covered += route.share
    if left:
        raise SettingsError(f"{left[0].path} belongs to no route of {log}.", where="--path")
    if not targets:
        raise SettingsError(
            "no route in it can be asked as it is.", where=log, remedy="Give a path for each with --path."
        )
    notes = []
    if missing:
        names = ", ".join(f"{route.pattern} ({route.share:.0%})" for route in missing[:4])
        notes.append(
            f"the requests sent stand for {covered:.0%} of the log; without a path of their own: {names}. "
            "Give one with --path."
        )
    return Chosen(tuple(targets), tuple(notes))
