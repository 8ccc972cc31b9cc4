"""Times of day in a time zone, and the moments they stand for."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


def zone_of(name: str) -> tzinfo | None:
    """The time zone of this IANA name, None where this system knows none; UTC needs no data."""
    if name == "UTC":
        return UTC
    # Only those who have schedules pay for this import.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory of zones
        return None


def local_at(epoch_s: float, zone: tzinfo) -> datetime:
    """What the clocks of `zone` show at this moment, without the zone."""
    return datetime.fromtimestamp(epoch_s, zone).replace(tzinfo=None, fold=0)


def moment_of(local: datetime, zone: tzinfo) -> float | None:
    """The epoch second at which the clocks of `zone` show `local`.

    Of a time that comes twice, as clocks are set back, it is the first; None for one that never comes, as clocks are
    set forward over it.
    """
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None, fold=0) != local:
        return None
    return moment.timestamp()
