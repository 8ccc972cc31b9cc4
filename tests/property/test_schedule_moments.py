"""Ten years of every form of cron against two libraries of others; both changes of the clocks; what was missed.

aws-croniter reads AWS's own dialect, in UTC; cronsim reads Debian's with L, LW and #, and is compared after its numbers
of days (0 is Sunday) are put in. Neither shares code with Peaker or with the other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from aws_croniter import AwsCroniter
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from peaker.clock import VirtualClock
from peaker.policy.schedule import CLOCK_BACK_S_MAX, LATE_S_MAX, Due, Schedule, decide, moments_after, next_after
from peaker.schedule_expression import parse_expression

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2036, 1, 1, tzinfo=UTC)

# Each form of each field, and what aws-croniter must be asked where it cannot read the form.
FORMS: dict[str, str] = {
    "17 4 * * ? *": "",
    "0/20 4 * * ? *": "",
    "*/45 4 1 * ? *": "",
    "10-50/15 4 * * ? *": "",
    "50-10/5 4 1 * ? *": "",
    "5,10,59 4 1 * ? *": "",
    "0 * 1 * ? *": "",
    "0 22-2 * * ? *": "",
    "0 0/6,9 1 * ? *": "",
    "0 0 31 * ? *": "",
    "0 0 29 2 ? *": "",
    "0 0 1,15,30 * ? *": "",
    "0 0 28-3 * ? *": "",
    "0 0 1/10 */5 ? *": "",
    "0 0 L * ? *": "",
    "0 0 L-3 * ? *": "",
    "0 0 L-30 * ? *": "",
    "0 0 1W * ? *": "",
    "0 0 15W * ? *": "",
    "0 0 30W * ? *": "",
    "0 0 31W * ? *": "",
    "0 0 1 JAN,JUL ? *": "",
    "0 0 1 NOV-FEB ? *": "",
    "0 0 ? * MON *": "",
    "0 9 ? * MON-FRI *": "",
    "0 9 ? * 2,4,6 *": "",
    "0 9 ? * FRI-MON *": "",
    "0 9 ? * L *": "0 9 ? * 7 *",
    "0 9 ? * 6L *": "",
    "0 9 ? * SUNL *": "",
    "0 9 ? * 3#2 *": "",
    "0 9 ? * SUN#5 *": "",
    "0 9 ? * 7#1 *": "",
    "0 0 1 1 ? 2030": "",
    "0 0 ? 6 THU 2027-2031": "",
    "0 0 1 1 ? 2026/3": "0 0 1 1 ? 2026,2029,2032,2035",
    "0 0 1 1 ? */4": "0 0 1 1 ? 2026,2030,2034",
}

# The same where Debian's dialect has the form: the days of the week count from 0 there.
IN_DEBIANS = {
    "*/20 4 * * ? *": "*/20 4 * * *",
    "0 0 L * ? *": "0 0 L * *",
    "0 0 LW * ? *": "0 0 LW * *",
    "0 9 ? * L *": "0 9 * * 6",
    "0 9 ? * 2-6 *": "0 9 * * 1-5",
    "0 9 ? * 6L *": "0 9 * * 5L",
    "0 9 ? * 3#2 *": "0 9 * * 2#2",
    "0 9 ? * 1#5 *": "0 9 * * 0#5",
    "0 0 1-7 3,6 ? *": "0 0 1-7 3,6 *",
}


def schedule(text: str, zone: str = "UTC") -> Schedule:
    return Schedule(parse_expression(text), UTC if zone == "UTC" else ZoneInfo(zone))


def moments(text: str, begin: datetime, end: datetime, zone: str = "UTC") -> list[datetime]:
    """All from `begin` to before `end`, in UTC."""
    found = moments_after(schedule(text, zone), begin.timestamp() - 1)
    return [datetime.fromtimestamp(each, UTC) for each in takewhile(lambda each: each < end.timestamp(), found)]


def of_aws_croniter(fields: str, begin: datetime, end: datetime) -> list[datetime]:
    found = AwsCroniter(fields).get_all_schedule_bw_dates(begin, end)
    return [each for each in found if each < end]


def run_for(text: str, begin: datetime, end: datetime) -> list[datetime]:
    """What is run for on a clock that is set to each next moment in turn, as the events process decides it."""
    asked, clock = schedule(text), VirtualClock(epoch_s=begin.timestamp() - 1)
    anchor_s = done_s = clock.epoch_s()
    found = []
    while True:
        due = decide(asked, anchor_s=anchor_s, done_s=done_s, now_s=clock.epoch_s(), missed_s_max=0)
        if due.run_s is not None:
            found.append(datetime.fromtimestamp(due.run_s, UTC))
        if due.next_s is None or due.next_s >= end.timestamp():
            return found
        done_s = due.done_s
        clock.advance(due.next_s - clock.epoch_s())


@pytest.mark.parametrize("fields", FORMS)
def test_ten_years_of_a_form_are_those_of_aws_croniter(fields: str) -> None:
    expected = of_aws_croniter(FORMS[fields] or fields, BEGIN, END)

    assert expected
    assert moments(f"cron({fields})", BEGIN, END) == expected
    if len(expected) <= 1000:  # the others decide the same way, only more often
        assert run_for(f"cron({fields})", BEGIN, END) == expected


@pytest.mark.long
@pytest.mark.parametrize("fields", FORMS)
def test_ten_years_of_decisions_are_those_of_aws_croniter(fields: str) -> None:
    expected = of_aws_croniter(FORMS[fields] or fields, BEGIN, END)

    assert run_for(f"cron({fields})", BEGIN, END) == expected


@pytest.mark.parametrize("fields", IN_DEBIANS)
def test_ten_years_of_a_form_are_those_of_cronsim(fields: str) -> None:
    naive_end = END.replace(tzinfo=None)
    found = takewhile(
        lambda each: each < naive_end, CronSim(IN_DEBIANS[fields], BEGIN.replace(tzinfo=None) - timedelta(seconds=1))
    )

    assert moments(f"cron({fields})", BEGIN, END) == [each.replace(tzinfo=UTC) for each in found]


def test_each_minute_of_a_leap_february_is_due() -> None:
    begin, end = datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)

    assert moments("cron(* * * * ? *)", begin, end) == [begin + timedelta(minutes=n) for n in range(29 * 1440)]


@pytest.mark.long
def test_each_minute_of_ten_years_is_due() -> None:
    found = takewhile(
        lambda each: each < END.timestamp(), moments_after(schedule("cron(* * * * ? *)"), BEGIN.timestamp())
    )

    assert all(each == BEGIN.timestamp() + 60 * n for n, each in enumerate(found, 1))


def _lists(low: int, high: int, steps_max: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    span = st.tuples(number, number).map("-".join)
    step = st.tuples(st.one_of(number, span, st.just("*")), st.integers(1, steps_max).map(str)).map("/".join)
    return st.lists(st.one_of(number, span, step), min_size=1, max_size=3).map(",".join)


of_month = st.one_of(
    _lists(1, 31, 31), st.just("L"), st.integers(1, 30).map("L-{}".format), st.integers(1, 31).map("{}W".format)
).map(lambda day: (day, "?"))
of_week = st.one_of(
    st.lists(st.integers(1, 7).map(str), min_size=1, max_size=3).map(",".join),
    st.integers(1, 7).map("{}L".format),
    st.tuples(st.integers(1, 7), st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}"),
).map(lambda day: ("?", day))


@settings(max_examples=150, deadline=None)
@given(
    minutes=_lists(0, 59, 59),
    hours=_lists(0, 23, 23),
    days=st.one_of(of_month, of_week),
    months=_lists(1, 12, 12),
    begin=st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1)),  # noqa: DTZ001
)
def test_the_next_of_any_expression_is_that_of_aws_croniter(
    minutes: str, hours: str, days: tuple[str, str], months: str, begin: datetime
) -> None:
    fields = f"{minutes} {hours} {days[0]} {months} {days[1]} *"
    start = begin.replace(tzinfo=UTC)
    expected = AwsCroniter(fields).get_next(start)[0]
    found = next_after(schedule(f"cron({fields})"), start.timestamp())

    if expected is None:  # it gives up after ten steps, as for the 31st of a month that has none
        assert found is None or found > (start + timedelta(days=60)).timestamp()
    else:
        assert found == expected.timestamp()


@settings(max_examples=100, deadline=None)
@given(
    text=st.sampled_from(["cron(*/15 * * * ? *)", "cron(30 2 * * ? *)", "cron(0 0 L * ? *)", "rate(7 hours)"]),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    begin_s=st.floats(1.2e9, 2.5e9),
)
def test_the_next_moment_is_the_first_after_and_the_same_from_wherever_it_is_asked(
    text: str, zone: str, begin_s: float
) -> None:
    asked = schedule(text, zone)
    first = next_after(asked, begin_s)
    assert first is not None
    assert first > begin_s
    between_s = begin_s + (first - begin_s) / 2
    assert next_after(asked, between_s) == first or between_s >= first
    second = next_after(asked, first)
    assert second is not None
    assert second > first


def test_a_time_that_the_clocks_skip_in_spring_is_skipped() -> None:
    """On 2027-03-28 in Berlin 02:00 is followed by 03:00, on 2027-03-14 in New York too."""
    berlin = moments(
        "cron(30 2 * * ? *)", datetime(2027, 3, 27, tzinfo=UTC), datetime(2027, 3, 31, tzinfo=UTC), "Europe/Berlin"
    )
    new_york = moments(
        "cron(0/30 2-3 * * ? *)",
        datetime(2027, 3, 14, 5, tzinfo=UTC),
        datetime(2027, 3, 15, 4, tzinfo=UTC),
        "America/New_York",
    )

    assert [each.isoformat() for each in berlin] == [
        "2027-03-27T01:30:00+00:00",
        "2027-03-29T00:30:00+00:00",
        "2027-03-30T00:30:00+00:00",
    ]
    assert [each.isoformat() for each in new_york] == ["2027-03-14T07:00:00+00:00", "2027-03-14T07:30:00+00:00"]


def test_a_time_that_comes_twice_in_autumn_counts_once_the_first_time() -> None:
    """On 2027-10-31 in Berlin 03:00 is followed by 02:00: 02:30 is 00:30 UTC and 01:30 UTC."""
    once = moments(
        "cron(30 2 * * ? *)", datetime(2027, 10, 30, 12, tzinfo=UTC), datetime(2027, 11, 1, tzinfo=UTC), "Europe/Berlin"
    )
    quarters = moments(
        "cron(0/15 * * * ? *)",
        datetime(2027, 10, 31, tzinfo=UTC),
        datetime(2027, 10, 31, 3, tzinfo=UTC),
        "Europe/Berlin",
    )

    assert [each.isoformat() for each in once] == ["2027-10-31T00:30:00+00:00"]
    # 02:00 to 02:45 before the change, then from 03:00 on.
    assert [f"{each:%H:%M}" for each in quarters] == [
        "00:00",
        "00:15",
        "00:30",
        "00:45",
        "02:00",
        "02:15",
        "02:30",
        "02:45",
    ]
    asked_within = next_after(
        schedule("cron(0/15 * * * ? *)", "Europe/Berlin"), datetime(2027, 10, 31, 1, 10, tzinfo=UTC).timestamp()
    )
    assert asked_within == datetime(2027, 10, 31, 2, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"])
def test_ten_years_of_a_daily_time_in_a_zone_are_one_a_day_but_for_days_that_skip_it(zone: str) -> None:
    found = moments("cron(30 2 * * ? *)", BEGIN, END, zone)
    local_days = [each.astimezone(ZoneInfo(zone)).date() for each in found]
    every_day = [(BEGIN + timedelta(days=n)).date() for n in range((END - BEGIN).days)]
    skipped = set(every_day) - set(local_days)

    assert len(set(local_days)) == len(local_days)
    assert all(f"{each.astimezone(ZoneInfo(zone)):%H:%M}" == "02:30" for each in found)
    for day in skipped - {every_day[0], every_day[-1]}:
        never = datetime(day.year, day.month, day.day, 2, 30, tzinfo=ZoneInfo(zone))
        assert never.astimezone(UTC).astimezone(ZoneInfo(zone)).hour != 2


def test_a_day_of_a_rate_is_24_hours_whatever_the_clocks_do() -> None:
    anchor_s = datetime(2027, 3, 27, 1, tzinfo=UTC).timestamp()
    found = moments_after(schedule("rate(1 day)", "Europe/Berlin"), anchor_s - 1, anchor_s=anchor_s)

    assert [next(found) - anchor_s for _ in range(3)] == [0, 86_400, 172_800]


def test_at_is_due_once_in_its_zone() -> None:
    asked = schedule("at(2030-07-01T09:00:00)", "Europe/Berlin")
    moment_s = datetime(2030, 7, 1, 7, tzinfo=UTC).timestamp()

    assert next_after(asked, 0) == moment_s
    assert next_after(asked, moment_s) is None


HOURLY = schedule("cron(0 * * * ? *)")
NOON_S = datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()
HOUR_S = 3600.0


def hourly(done_s: float, now_s: float, missed_s_max: float = 86_400.0) -> Due:
    return decide(HOURLY, anchor_s=0, done_s=done_s, now_s=now_s, missed_s_max=missed_s_max)


def test_a_moment_is_run_for_once_and_the_next_is_told() -> None:
    assert hourly(NOON_S - HOUR_S, NOON_S + 2) == Due(
        run_s=NOON_S, missed=0, lapsed_s=None, done_s=NOON_S, next_s=NOON_S + HOUR_S
    )
    assert hourly(NOON_S, NOON_S + 2) == Due(run_s=None, missed=0, lapsed_s=None, done_s=NOON_S, next_s=NOON_S + HOUR_S)


def test_of_several_missed_moments_the_last_is_made_up_once() -> None:
    due = hourly(NOON_S - 5 * HOUR_S, NOON_S + 1800)

    assert (due.run_s, due.missed, due.done_s) == (NOON_S, 4, NOON_S)


def test_a_missed_moment_that_is_too_old_lapses_and_is_told() -> None:
    daily = schedule("cron(0 0 * * ? *)")
    midnight_s = NOON_S - 12 * HOUR_S
    due = decide(daily, anchor_s=0, done_s=midnight_s - 86_400, now_s=NOON_S, missed_s_max=HOUR_S)

    assert (due.run_s, due.lapsed_s, due.next_s) == (None, midnight_s, midnight_s + 86_400)
    again = decide(daily, anchor_s=0, done_s=due.done_s, now_s=NOON_S + 1, missed_s_max=HOUR_S)
    assert (again.run_s, again.lapsed_s) == (None, None)


def test_a_run_of_up_to_a_minute_ago_is_no_missed_one() -> None:
    assert hourly(NOON_S - HOUR_S, NOON_S + LATE_S_MAX, missed_s_max=0).run_s == NOON_S
    assert hourly(NOON_S - HOUR_S, NOON_S + LATE_S_MAX + 1, missed_s_max=0).run_s is None


def test_a_clock_that_is_set_back_runs_nothing_twice() -> None:
    due = hourly(NOON_S, NOON_S - 2 * HOUR_S)

    assert (due.run_s, due.next_s) == (None, NOON_S + HOUR_S)


def test_a_clock_that_was_far_ahead_does_not_silence_a_schedule() -> None:
    due = hourly(NOON_S + 10 * 365 * 86_400, NOON_S + 60)
    assert (due.run_s, due.next_s) == (None, NOON_S + HOUR_S)
    assert hourly(NOON_S + CLOCK_BACK_S_MAX, NOON_S + 60).next_s == NOON_S + CLOCK_BACK_S_MAX + HOUR_S


def test_a_clock_that_jumps_forward_runs_the_last_moment_it_jumped_over() -> None:
    assert hourly(NOON_S, NOON_S + 7.5 * HOUR_S).run_s == NOON_S + 7 * HOUR_S


def test_an_every_minute_schedule_that_lay_for_years_is_decided_at_once() -> None:
    every_minute = schedule("cron(* * * * ? *)")
    due = decide(every_minute, anchor_s=0, done_s=NOON_S - 20 * 365 * 86_400, now_s=NOON_S, missed_s_max=604_800)

    assert (due.run_s, due.missed) == (NOON_S, 7 * 1440)
