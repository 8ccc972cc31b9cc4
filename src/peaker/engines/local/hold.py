"""A number of servers that somebody has set by hand: it holds, over restarts, until it is given back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from peaker.engines.local.state_dir import write_private
from peaker.errors import StateError
from peaker.policy.supervision import servers_at_least
from peaker.settings import Settings
from peaker.state import StateDirectory


@dataclass(frozen=True, slots=True)
class Hold:
    """What `peaker scale N` has set, and when."""

    servers: int
    since_epoch_s: float


def read_hold(state: StateDirectory) -> Hold | None:
    """The number that is held; None where nothing is. Raises StateError where the file cannot be read."""
    try:
        document = json.loads(state.hold.read_text(encoding="utf-8"))
        return Hold(int(document["servers"]), float(document["since_epoch_s"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"the number of servers that is held cannot be read: {error}.",
            where=str(state.hold),
            remedy="`peaker scale auto` or `peaker scale N` writes it anew.",
        ) from error


def write_hold(state: StateDirectory, hold: Hold) -> None:
    """Keep it; only the supervisor does this. Raises OSError."""
    write_private(state.hold, json.dumps(asdict(hold)) + "\n")


def drop_hold(state: StateDirectory) -> None:
    """Nothing is held any more."""
    state.hold.unlink(missing_ok=True)


def servers_at_first(state: StateDirectory, settings: Settings) -> int:
    """With how many servers a fresh start begins: those that are held, else the fewest. Raises as `read_hold`."""
    least = servers_at_least(settings)
    if not settings.app.web or (hold := read_hold(state)) is None:
        return least
    return min(max(hold.servers, least), settings.servers.count_max)
