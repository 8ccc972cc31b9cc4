"""Which route a request belongs to, and what has been learned about it."""

from __future__ import annotations

from peaker.settings import Settings


class Route:
    """One route."""

    def __init__(self, key: str) -> None:
        self.key = key


class Routes:
    """Every route of the app, declared or seen; bounded."""

    def __init__(self, settings: Settings) -> None:
        self._known: dict[tuple[str, str], Route] = {}
        self._only = Route("")

    def of(self, method: str, path: str) -> Route:
        """The route of this request."""
        return self._known.get((method, path), self._only)
