"""How much of the user's code a zygote holds when it forks."""

from __future__ import annotations

from enum import Enum


class Rung(Enum):
    """From the fastest to the one that is always safe."""

    WARMED = "warmed"
    """A web app imported, started, asked the warm-up request and stopped again."""
    IMPORTED = "imported"
    """Imported, nothing run; the best there is for a handler."""
    FRESH = "fresh"
    """Nothing: every instance imports the code itself."""

    @property
    def below(self) -> Rung:
        """The next rung down; FRESH has none below it."""
        return {Rung.WARMED: Rung.IMPORTED, Rung.IMPORTED: Rung.FRESH}[self]
