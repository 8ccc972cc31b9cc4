"""What one request costs on a function, learned from what functions were billed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peaker.policy import saved

REQUESTS_KEPT = 2000
"""The mean is over so many of the last requests, the older ones fading."""

REQUESTS_SURE = 20
"""With fewer than these, a guess still counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPrice:
    """Sums over the last requests that functions ran, and what is guessed from servers' times meanwhile."""

    usd: float = 0.0
    requests: float = 0.0
    guess_usd: float = 0.0

    @property
    def per_request_usd(self) -> float:
        """Dollars a request, 0 where nothing is known: a guess counts for as many requests as are missing."""
        missing = max(0.0, REQUESTS_SURE - self.requests) if self.guess_usd else 0.0
        weight = self.requests + missing
        return (self.usd + missing * self.guess_usd) / weight if weight else 0.0

    @property
    def is_measured(self) -> bool:
        """Enough was billed to tell."""
        return self.requests >= REQUESTS_SURE

    def to_document(self) -> dict[str, float]:
        """As JSON has it."""
        return {"usd": self.usd, "requests": self.requests, "guess_usd": self.guess_usd}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> RequestPrice:
        """The reverse; raises StateError."""
        return cls(**{name: saved.number(document, name) for name in ("usd", "requests", "guess_usd")})


def with_billed(price: RequestPrice, usd: float, requests: int, guess_usd: float | None) -> RequestPrice:
    """After one more step in which functions ran `requests` for `usd`."""
    kept = max(0.0, 1 - requests / REQUESTS_KEPT)
    return RequestPrice(
        usd=price.usd * kept + max(0.0, usd),
        requests=price.requests * kept + max(0, requests),
        guess_usd=price.guess_usd if guess_usd is None else guess_usd,
    )
