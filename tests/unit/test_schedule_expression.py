"""What a schedule expression may say, and what is said to one that may not."""

from __future__ import annotations

from datetime import datetime

import pytest

from peaker.schedule_expression import At, Cron, DayKind, Days, ExpressionError, Rate, parse_expression


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(1 hours)", 3600), (" rate( 9999 days ) ", 9999 * 86_400)],
)
def test_a_rate_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_expression(text) == Rate(seconds)


def test_at_is_one_time_of_day() -> None:
    assert parse_expression("at(2030-01-31T09:05:07)") == At(datetime(2030, 1, 31, 9, 5, 7))  # noqa: DTZ001


def test_cron_has_lists_ranges_steps_and_names() -> None:
    expression = parse_expression("cron(0/20,5 8-10 ? jan-mar,DEC mon,4 2030-2032)")

    assert expression == Cron(
        minutes=(0, 5, 20, 40),
        hours=(8, 9, 10),
        days=Days(DayKind.OF_WEEK, (2, 4)),
        months=(1, 2, 3, 12),
        years=(2030, 2031, 2032),
    )


@pytest.mark.parametrize(
    ("fields", "hours"),
    [("22-2", (0, 1, 2, 22, 23)), ("22-3/2", (0, 2, 22)), ("*/7", (0, 7, 14, 21)), ("9-17/4", (9, 13, 17))],
)
def test_a_range_may_run_on_over_the_end_of_its_field(fields: str, hours: tuple[int, ...]) -> None:
    expression = parse_expression(f"cron(0 {fields} * * ? *)")

    assert isinstance(expression, Cron)
    assert expression.hours == hours


@pytest.mark.parametrize(
    ("of_month", "of_week", "days"),
    [
        ("*", "?", Days(DayKind.EVERY_DAY)),
        ("?", "*", Days(DayKind.EVERY_DAY)),
        ("L", "?", Days(DayKind.BEFORE_LAST_OF_MONTH, (0,))),
        ("L-3", "?", Days(DayKind.BEFORE_LAST_OF_MONTH, (3,))),
        ("LW", "?", Days(DayKind.LAST_WEEKDAY)),
        ("15W", "?", Days(DayKind.NEAREST_WEEKDAY, (15,))),
        ("1,15", "?", Days(DayKind.OF_MONTH, (1, 15))),
        ("?", "L", Days(DayKind.OF_WEEK, (7,))),
        ("?", "FRIL", Days(DayKind.LAST_OF_WEEKDAY, (6,))),
        ("?", "3#2", Days(DayKind.NTH_OF_WEEKDAY, (3, 2))),
        ("?", "FRI-MON", Days(DayKind.OF_WEEK, (1, 2, 6, 7))),
    ],
)
def test_days_are_of_the_month_or_of_the_week(of_month: str, of_week: str, days: Days) -> None:
    expression = parse_expression(f"cron(0 0 {of_month} * {of_week} *)")

    assert isinstance(expression, Cron)
    assert expression.days == days


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("every 5 minutes", "allowed: rate(5 minutes), cron(0 9 ? * MON-FRI *) or at("),
        ("rate(0 minutes)", "rate is '0 minutes'; allowed: 1 to 9,999"),
        ("rate(10000 days)", "rate is '10000 days'; allowed: 1 to 9,999"),
        ("rate(5 seconds)", "and minutes, hours or days"),
        ("at(2030-02-30T00:00:00)", "allowed: yyyy-mm-ddThh:mm:ss"),
        ("at(2030-01-31 09:00)", "allowed: yyyy-mm-ddThh:mm:ss"),
        ("at(2200-01-01T00:00:00)", "the year of at is 2200; allowed: 1970 to 2199"),
        ("cron(0 9 * * ?)", "cron has 5 fields; allowed: 6"),
        ("cron(60 9 * * ? *)", "minutes is '60'; allowed: 0 to 59, and , - * /"),
        ("cron(0 24 * * ? *)", "hours is '24'; allowed: 0 to 23"),
        ("cron(? 9 * * ? *)", "minutes is '?'; allowed: 0 to 59"),
        ("cron(0 9 0 * ? *)", "day-of-month is '0'; allowed: 1 to 31, and , - * ? / L W"),
        ("cron(0 9 32W * ? *)", "day-of-month is '32W'; allowed: 1 to 31"),
        ("cron(0 9 1,L * ? *)", "day-of-month is '1,L'; allowed: 1 to 31"),
        ("cron(0 9 L-31 * ? *)", "day-of-month after L- is 'L-31'; allowed: 1 to 30"),
        ("cron(0 9 * 13 ? *)", "month is '13'; allowed: 1 to 12 or JAN to DEC"),
        ("cron(0 9 ? * 0 *)", "day-of-week is '0'; allowed: 1 to 7 or SUN to SAT"),
        ("cron(0 9 ? * MON#6 *)", "day-of-week is 'MON#6'; allowed after #: 1 to 5, and one expression only"),
        ("cron(0 9 ? * 3#1,6#3 *)", "one expression only"),
        ("cron(0 9 * * ? 1969)", "year is '1969'; allowed: 1970 to 2199"),
        ("cron(0 9 * * ? 2030-2029)", "year is '2030-2029', which runs backwards"),
        ("cron(0 9 * * * *)", "day-of-month is '*' and day-of-week is '*'; allowed: exactly one of them is ?"),
        ("cron(0 9 ? * ? *)", "allowed: exactly one of them is ?"),
        ("cron(0/0 9 * * ? *)", "minutes is '0/0'; allowed after /: 1 to 59"),
        ("cron(0/60 9 * * ? *)", "allowed after /: 1 to 59"),
        ("cron(1-2-3 9 * * ? *)", "minutes is '1-2-3'; allowed: 0 to 59"),
        ("cron(, 9 * * ? *)", "minutes is ','; allowed: 0 to 59"),
        ("cron(٣ 9 * * ? *)", "minutes is '٣'; allowed: 0 to 59"),
    ],
)
def test_what_is_none_is_refused_with_its_field_and_range(text: str, told: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse_expression(text)

    assert told in str(refused.value)
