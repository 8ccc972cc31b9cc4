"""Rounding as the bill rounds, and a clock that obeys."""

from __future__ import annotations

import pytest

from peaker.clock import SystemClock, VirtualClock
from peaker.errors import PeakerError, SettingsError, Throttled
from peaker.units import billed_ms, gb_seconds, human_bytes, human_duration, vcpus


@pytest.mark.parametrize(
    ("duration_s", "expected_ms"), [(0.0, 1), (0.0001, 1), (0.1, 100), (0.1001, 101), (0.3, 300), (1.0, 1000)]
)
def test_duration_is_billed_in_whole_milliseconds_rounded_up(duration_s: float, expected_ms: int) -> None:
    assert billed_ms(duration_s) == expected_ms


def test_one_gigabyte_for_one_second_is_one_gigabyte_second() -> None:
    assert gb_seconds(1000, 1024) == 1.0


def test_one_vcpu_comes_at_1769_megabytes() -> None:
    assert vcpus(1769) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (human_bytes(12), "12 B"),
        (human_bytes(1536), "1.5 KB"),
        (human_bytes(3 * 1024**3), "3.0 GB"),
        (human_duration(12e-6), "12 us"),
        (human_duration(0.0042), "4.2 ms"),
        (human_duration(2.5), "2.5 s"),
    ],
)
def test_quantities_read_as_people_write_them(text: str, expected: str) -> None:
    assert text == expected


def test_a_virtual_clock_moves_only_when_told_and_never_back() -> None:
    clock = VirtualClock(now_s=5.0, epoch_s=1000.0)
    clock.advance(2.5)
    assert (clock.now_s(), clock.epoch_s()) == (7.5, 1002.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_the_system_clock_only_moves_forward() -> None:
    first = SystemClock.now_s()
    assert SystemClock.now_s() >= first


def test_an_error_says_where_what_and_what_to_do() -> None:
    error = SettingsError("x = 3 is not allowed.", where="peaker.toml:4", remedy="Use 4.")
    assert str(error) == "peaker.toml:4: x = 3 is not allowed. Use 4."
    assert isinstance(error, PeakerError)


def test_an_error_without_words_of_its_own_says_its_docstring() -> None:
    assert str(Throttled()) == "The function endpoint had no room; the function was not started."
