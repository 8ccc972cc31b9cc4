"""When a schedule is due.

As EventBridge Scheduler does it (User Guide, "Schedule types", "Daylight savings time on EventBridge Scheduler"): a
cron expression is read in its time zone; a time that the clocks skip in spring is skipped, and one that comes twice in
autumn counts the first time only. A rate counts seconds and knows no clocks: its first run is at once (its anchor), a
day is 24 hours. A day that a month does not have (31W in April, a fifth Friday) is left out.
"""

from __future__ import annotations

import calendar
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from peaker.local_time import local_at, moment_of
from peaker.schedule_expression import At, Cron, DayKind, Days, Expression, Rate

LATE_S_MAX = 60.0
"""A run is on time within this, as schedules of EventBridge are: it is never counted as missed."""

CLOCK_BACK_S_MAX = 86_400.0
"""A clock that stands further behind the last run was wrong then, or is now: the schedule begins anew."""

_SATURDAY, _SUNDAY = 5, 6


@dataclass(frozen=True, slots=True)
class Schedule:
    """An expression and the time zone it is in."""

    expression: Expression
    zone: tzinfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a schedule asks for now, in epoch seconds.

    `run_s` is the moment to run for, None where there is none; `missed` moments before it are left out. `lapsed_s` is
    the first moment that is too old to be made up for. Moments up to `done_s` are settled with that. `next_s` is when
    to look again, None where nothing comes any more.
    """

    run_s: float | None
    missed: int
    lapsed_s: float | None
    done_s: float
    next_s: float | None


def decide(schedule: Schedule, *, anchor_s: float, done_s: float, now_s: float, missed_s_max: float) -> Due:
    """What is due at `now_s`, where moments up to `done_s` are settled.

    Of several moments that passed since (nothing ran, the machine slept, the clock was set forward) the last is run
    for, once, if it is no older than `missed_s_max`; one up to LATE_S_MAX old is always. Where the clock was set back,
    moments that were run for do not come again, but for a clock that was wrong by more than CLOCK_BACK_S_MAX.

    Args:
        schedule: what is asked.
        anchor_s: when it was first seen; the beginning of a rate.
        done_s: the moment up to which all is settled.
        now_s: what the clock says.
        missed_s_max: how old a missed moment may be to be made up for.
    """
    if now_s < done_s - CLOCK_BACK_S_MAX:
        done_s = now_s
    # However long nothing ran: what is older than this can only lapse, so the search is short.
    oldest_s = now_s - max(missed_s_max, LATE_S_MAX)
    first_s = next_after(schedule, done_s, anchor_s=anchor_s)
    lapsed_s = first_s if first_s is not None and first_s < oldest_s else None
    if lapsed_s is not None:
        done_s = math.nextafter(oldest_s, 0.0)  # a moment of just this age is made up for
    run_s, passed, next_s = None, 0, None
    for moment_s in moments_after(schedule, done_s, anchor_s=anchor_s):
        if moment_s > now_s:
            next_s = moment_s
            break
        run_s, passed = moment_s, passed + 1
    return Due(
        run_s=run_s,
        missed=max(0, passed - 1),
        lapsed_s=lapsed_s,
        done_s=done_s if run_s is None else run_s,
        next_s=next_s,
    )


def next_after(schedule: Schedule, moment_s: float, *, anchor_s: float = 0.0) -> float | None:
    """The first moment after `moment_s` (epoch seconds) at which the schedule is due, None where there is none.

    A rate is due at `anchor_s` and at each of its steps after it.
    """
    return next(moments_after(schedule, moment_s, anchor_s=anchor_s), None)


def moments_after(schedule: Schedule, moment_s: float, *, anchor_s: float = 0.0) -> Iterator[float]:
    """All moments after `moment_s` at which the schedule is due, in order, as `next_after` would give them."""
    expression, zone = schedule.expression, schedule.zone
    if isinstance(expression, Rate):
        step = max(0, math.floor((moment_s - anchor_s) / expression.every_s) + 1)
        while True:
            yield anchor_s + step * expression.every_s
            step += 1
    if isinstance(expression, At):
        locals_ = iter((expression.local,))
    else:
        # As clocks are set back, local times up to an hour on may already have come: the moment tells below.
        locals_ = local_times(expression, local_at(moment_s, zone))
    for local in locals_:
        found_s = moment_of(local, zone)
        if found_s is not None and found_s > moment_s:
            yield found_s


def local_times(cron: Cron, start: datetime) -> Iterator[datetime]:
    """The local times a cron expression names, in order, from the minute of `start` on."""
    start = start.replace(second=0, microsecond=0)
    for year in cron.years[bisect_left(cron.years, start.year) :]:
        for month in cron.months:
            if (year, month) < (start.year, start.month):
                continue
            for day in days_of_month(cron.days, year, month):
                if (year, month, day) < (start.year, start.month, start.day):
                    continue
                midnight = datetime(year, month, day)  # noqa: DTZ001 - local times have no zone
                for hour in cron.hours:
                    if midnight + timedelta(hours=hour + 1) <= start:
                        continue
                    for minute in cron.minutes:
                        local = midnight.replace(hour=hour, minute=minute)
                        if local >= start:
                            yield local


def days_of_month(days: Days, year: int, month: int) -> list[int]:
    """The days of this month that `days` names, in order."""
    first_weekday, last = calendar.monthrange(year, month)  # Monday is 0
    number = days.numbers[0] if days.numbers else 0
    named: Iterable[int]
    match days.kind:
        case DayKind.EVERY_DAY:
            named = range(1, last + 1)
        case DayKind.OF_MONTH:
            named = days.numbers
        case DayKind.BEFORE_LAST_OF_MONTH:
            named = [last - number]
        case DayKind.NEAREST_WEEKDAY:
            named = [_nearest_weekday(number, first_weekday, last)] if number <= last else []
        case DayKind.LAST_WEEKDAY:
            named = [_nearest_weekday(last, first_weekday, last)]
        case DayKind.OF_WEEK:
            wanted = {_first_of(weekday, first_weekday) % 7 for weekday in days.numbers}
            named = (day for day in range(1, last + 1) if day % 7 in wanted)
        case DayKind.LAST_OF_WEEKDAY:
            first = _first_of(number, first_weekday)
            named = [first + (last - first) // 7 * 7]
        case DayKind.NTH_OF_WEEKDAY:
            named = [_first_of(number, first_weekday) + 7 * (days.numbers[1] - 1)]
    return [day for day in named if 1 <= day <= last]


def _first_of(number: int, first_weekday: int) -> int:
    """The first day of a month that is this day of the week (1 is Sunday); `first_weekday` is day 1's (0 is Monday)."""
    return 1 + (number - 2 - first_weekday) % 7


def _nearest_weekday(day: int, first_weekday: int, last: int) -> int:
    """The weekday nearest to a day without leaving the month: of a Saturday Friday, of a Sunday Monday, if they can."""
    weekday = (first_weekday + day - 1) % 7
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < last else day - 2
    return day
