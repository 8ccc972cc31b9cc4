"""AWS schedule expressions as values: `rate(5 minutes)`, `cron(0 9 ? * MON-FRI *)`, `at(2030-01-31T09:00:00)`.

The grammar is that of EventBridge Scheduler (User Guide, "Schedule types", and EventBridge User Guide, "Cron
expressions reference"), whose dialect is Quartz's: where those pages are silent it is read as there. So a range may
run on from the end of its field to its beginning (FRI-MON, 22-2), and L-3 is the third day before the last. A list with
L, W or # in it is refused. When an expression is due is decided in `policy/schedule.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

RATE_MAX = 9_999
YEAR_MIN, YEAR_MAX = 1970, 2199

_UNITS_S = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class ExpressionError(ValueError):
    """It is no schedule expression; the message says which part, its value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Every so many seconds; a day is 24 hours, whatever the clocks do."""

    every_s: int


@dataclass(frozen=True, slots=True)
class At:
    """Once, at this time of day in the schedule's time zone."""

    local: datetime


class DayKind(Enum):
    """In which way a cron expression names days."""

    EVERY_DAY = "every day"
    OF_MONTH = "days of the month"
    BEFORE_LAST_OF_MONTH = "so many days before the last of the month"
    NEAREST_WEEKDAY = "weekday nearest to a day of the month"
    LAST_WEEKDAY = "last weekday of the month"
    OF_WEEK = "days of the week"
    LAST_OF_WEEKDAY = "last such day of the month"
    NTH_OF_WEEKDAY = "nth such day of the month"


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a cron expression.

    `numbers` are days of the month (1..31) or of the week (1 is Sunday); of NTH_OF_WEEKDAY the day and which one, of
    BEFORE_LAST_OF_MONTH how many days before.
    """

    kind: DayKind
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Each field's values in order."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: tuple[int, ...]
    years: tuple[int, ...]


Expression = Rate | Cron | At


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    wildcards: str
    names: tuple[str, ...] = ()

    def refusal(self, text: str) -> ExpressionError:
        named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return ExpressionError(
            f"{self.name} is {text!r}; allowed: {self.low} to {self.high}{named}, and {self.wildcards}"
        )


_MINUTES = _Field("minutes", 0, 59, ", - * /")
_HOURS = _Field("hours", 0, 23, ", - * /")
_DAY_OF_MONTH = _Field("day-of-month", 1, 31, ", - * ? / L W")
_BEFORE_LAST = _Field("day-of-month after L-", 1, 30, "nothing else")
_MONTH = _Field("month", 1, 12, ", - * /", _MONTHS)
_DAY_OF_WEEK = _Field("day-of-week", 1, 7, ", - * ? / L #", _WEEKDAYS)
_YEAR = _Field("year", YEAR_MIN, YEAR_MAX, ", - * /")


def parse_expression(text: str) -> Expression:
    """What `text` says.

    Raises:
        ExpressionError: it is none of the three forms, or a part of it is out of range; names part and range.
    """
    form = re.fullmatch(r"\s*(rate|cron|at)\((.*)\)\s*", text)
    if form is None:
        raise ExpressionError(
            f"{text!r} is no schedule; allowed: rate(5 minutes), cron(0 9 ? * MON-FRI *) or at(2030-01-31T09:00:00)"
        )
    readers: dict[str, Callable[[str], Expression]] = {"rate": _parse_rate, "cron": _parse_cron, "at": _parse_at}
    return readers[form[1]](form[2].strip())


def _parse_rate(text: str) -> Rate:
    found = re.fullmatch(r"(\d{1,9})\s+(minute|hour|day)s?", text)
    if found is None or not 1 <= int(found[1]) <= RATE_MAX:
        raise ExpressionError(f"rate is {text!r}; allowed: 1 to {RATE_MAX:,}, a space, and minutes, hours or days")
    return Rate(int(found[1]) * _UNITS_S[found[2]])


def _parse_at(text: str) -> At:
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text) is None:
        raise ExpressionError(f"at is {text!r}; allowed: yyyy-mm-ddThh:mm:ss")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ExpressionError(f"at is {text!r}: {error}; allowed: yyyy-mm-ddThh:mm:ss") from error
    if not YEAR_MIN <= moment.year <= YEAR_MAX:
        raise ExpressionError(f"the year of at is {moment.year}; allowed: {YEAR_MIN} to {YEAR_MAX}")
    return At(moment)


def _parse_cron(text: str) -> Cron:
    fields = text.split()
    if len(fields) != 6:
        raise ExpressionError(
            f"cron has {len(fields)} fields; allowed: 6, which are minutes hours day-of-month month day-of-week year"
        )
    minutes, hours, day_of_month, month, day_of_week, year = (field.upper() for field in fields)
    return Cron(
        minutes=_values(minutes, _MINUTES),
        hours=_values(hours, _HOURS),
        days=_parse_days(day_of_month, day_of_week),
        months=_values(month, _MONTH),
        years=_values(year, _YEAR),
    )


def _parse_days(of_month: str, of_week: str) -> Days:
    if (of_month == "?") == (of_week == "?"):
        raise ExpressionError(
            f"day-of-month is {of_month!r} and day-of-week is {of_week!r}; allowed: exactly one of them is ?"
        )
    return _days_of_week(of_week) if of_month == "?" else _days_of_month(of_month)


def _days_of_month(text: str) -> Days:
    if text == "*":
        return Days(DayKind.EVERY_DAY)
    if text == "L":
        return Days(DayKind.BEFORE_LAST_OF_MONTH, (0,))
    if text.startswith("L-"):
        return Days(DayKind.BEFORE_LAST_OF_MONTH, (_number(text[2:], _BEFORE_LAST, text),))
    if text in {"LW", "WL"}:
        return Days(DayKind.LAST_WEEKDAY)
    if text.endswith("W"):
        return Days(DayKind.NEAREST_WEEKDAY, (_number(text[:-1], _DAY_OF_MONTH, text),))
    return Days(DayKind.OF_MONTH, _values(text, _DAY_OF_MONTH))


def _days_of_week(text: str) -> Days:
    if text == "*":
        return Days(DayKind.EVERY_DAY)
    if text == "L":  # the last day of the week
        return Days(DayKind.OF_WEEK, (7,))
    if text.endswith("L"):
        return Days(DayKind.LAST_OF_WEEKDAY, (_number(text[:-1], _DAY_OF_WEEK, text),))
    day, hash_, which = text.partition("#")
    if hash_:
        if which not in {"1", "2", "3", "4", "5"}:
            raise ExpressionError(f"day-of-week is {text!r}; allowed after #: 1 to 5, and one expression only")
        return Days(DayKind.NTH_OF_WEEKDAY, (_number(day, _DAY_OF_WEEK, text), int(which)))
    return Days(DayKind.OF_WEEK, _values(text, _DAY_OF_WEEK))


def _values(text: str, field: _Field) -> tuple[int, ...]:
    """The values of a list of numbers, ranges and steps, in order."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = 1
        if slash:
            if not (step_text.isascii() and step_text.isdigit()) or not 1 <= int(step_text) <= field.high:
                raise ExpressionError(f"{field.name} is {text!r}; allowed after /: 1 to {field.high}")
            step = int(step_text)
        first, last = _span(span, field, text, is_open=bool(slash))
        size = field.high - field.low + 1
        reach = last - first if last >= first else last - first + size
        found.update(field.low + (first - field.low + offset) % size for offset in range(0, reach + 1, step))
    return tuple(sorted(found))


def _span(text: str, field: _Field, whole: str, *, is_open: bool) -> tuple[int, int]:
    """First and last value of `*`, `a-b` or `a`; a step makes of `a` all from there on."""
    if text == "*":
        return field.low, field.high
    start, dash, end = text.partition("-")
    first = _number(start, field, whole)
    if not dash:
        return first, field.high if is_open else first
    last = _number(end, field, whole)
    if last < first and field is _YEAR:
        raise ExpressionError(f"year is {whole!r}, which runs backwards; allowed: {YEAR_MIN} to {YEAR_MAX} in order")
    return first, last


def _number(text: str, field: _Field, whole: str) -> int:
    if text in field.names:
        return field.names.index(text) + field.low
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and field.low <= int(text) <= field.high):
        raise field.refusal(whole)
    return int(text)
