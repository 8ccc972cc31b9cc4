"""How the workers of one machine share connections and requests between them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

DECLINES_MAX = 50
"""A full worker leaves a waiting connection to its siblings this often in a row (2 ms apart), then takes it itself:
a sibling that looks free and does not accept must not keep clients waiting for ever."""

_SLACK_SHIFT = 5
"""A worker may hold 1/32 more connections than the emptiest sibling before it waits. With none at all, a thousand
clients that connect at once would be taken one per 2 ms."""

_SPREAD_DECLINES_MAX = 5
_EXCESS_SHIFT = 3
"""One more wait for each eight connections held more than the emptiest sibling."""


class Neighbour(NamedTuple):
    """A sibling that is ready, of the same generation and not stuck; `free_slots` is 0 while its loop lags."""

    row: int
    free_slots: int
    connections: int


class Acceptance(Enum):
    """What to do about a connection that waits on the shared socket."""

    NOW = "now"
    LATER = "later"
    TURN_AWAY = "turn away"


def most_free(neighbours: Sequence[Neighbour], draw: float) -> int | None:
    """Row of the sibling with the most free slots; `draw` in [0, 1) decides between equals, None where all are full.

    Without the draw, workers that are full at the same moment would all choose the same one.
    """
    most = 0
    equals: list[int] = []
    for row, free_slots, _ in neighbours:
        if free_slots > most:
            most, equals = free_slots, [row]
        elif free_slots == most and most:
            equals.append(row)
    return equals[int(draw * len(equals))] if equals else None


def accept(
    neighbours: Sequence[Neighbour], *, connections: int, connections_max: int, is_full: bool, declines: int
) -> Acceptance:
    """Whether this worker takes a waiting connection, it having left it to the others `declines` times in a row.

    A full worker leaves it to a sibling with a free slot. With no such sibling it accepts, since only a request that
    has been read can be spilled. A worker that holds more connections than the emptiest of the siblings that would
    accept waits 2 ms, or up to five times that where it holds many more: keep-alive connections stay where they were
    accepted, so this is what spreads them, and a sibling may just not have been given the processor.
    """
    takers = [neighbour for neighbour in neighbours if neighbour.connections < connections_max]
    has_free_taker = any(neighbour.free_slots for neighbour in takers)
    if connections >= connections_max:
        return Acceptance.LATER if takers and declines < DECLINES_MAX else Acceptance.TURN_AWAY
    if is_full and has_free_taker:
        return Acceptance.LATER if declines < DECLINES_MAX else Acceptance.NOW
    held = [neighbour.connections for neighbour in takers if neighbour.free_slots or not has_free_taker]
    if held and declines < _SPREAD_DECLINES_MAX:
        excess = connections - min(held)
        if excess > min(held) >> _SLACK_SHIFT and declines <= excess >> _EXCESS_SHIFT:
            return Acceptance.LATER
    return Acceptance.NOW
