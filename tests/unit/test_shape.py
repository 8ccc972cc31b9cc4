"""The shape of traces whose shape is known because they were made so."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from peaker.errors import LogError
from peaker.traffic.shape import autocorrelation, rates_of, shape_of
from peaker.traffic.shape_picture import draw_shape
from peaker.traffic.steps import with_gaps
from peaker.traffic.trace import GAP, Trace

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def trace(counts: object, step_s: float = 60.0, start: datetime | None = MONDAY) -> Trace:
    return Trace(tuple(np.asarray(counts).astype(int).tolist()), step_s, start)


def daily_wave(days: int, mean: float = 600.0, seed: int = 1) -> np.ndarray:
    """Poisson counts by the minute, highest at noon, half as high at midnight; half as high again at weekends."""
    minutes = np.arange(days * 1440)
    wave = mean * (1 - np.cos(2 * np.pi * minutes / 1440) / 3)
    wave = wave * np.where(minutes // 1440 % 7 >= 5, 0.5, 1.0)
    return np.random.default_rng(seed).poisson(wave)


def test_an_even_trace_has_its_mean_everywhere() -> None:
    shape = shape_of(trace(np.full(3 * 1440, 120)))
    assert (shape.mean_per_s, shape.baseline_per_s, shape.trough_per_s) == (2.0, 2.0, None)
    assert shape.peak_to_mean == {"1min": 1.0, "1h": 1.0}
    assert (shape.peak_count, shape.daily, shape.weekly) == (0, None, None)
    assert set(shape.dispersion.values()) == {0.0}
    assert set(shape.idle_share.values()) == {0.0}
    assert shape.trend_per_week is None


def test_poisson_arrivals_have_a_dispersion_of_one_at_every_scale() -> None:
    counts = np.random.default_rng(2).poisson(5.0, 40 * 3600)
    shape = shape_of(trace(counts, 1.0))
    assert shape.dispersion.keys() >= {"1s", "10s", "1min", "10min"}
    for name in ("1s", "10s", "1min"):
        assert shape.dispersion[name] == pytest.approx(1.0, abs=0.12)


def test_arrivals_in_bursts_are_more_dispersed_the_wider_one_looks() -> None:
    chance = np.random.default_rng(3)
    busy = np.repeat(chance.random(2000) < 0.2, 10)
    shape = shape_of(trace(chance.poisson(np.where(busy, 50.0, 0.5)), 1.0))
    assert 1.5 < shape.dispersion["1s"] < shape.dispersion["10s"]


def test_the_day_and_the_week_are_found_in_a_wave() -> None:
    shape = shape_of(trace(daily_wave(28)))
    assert shape.daily is not None
    assert shape.weekly is not None
    assert (shape.daily.highest in {11, 12}, shape.daily.lowest in {23, 0}) == (True, True)
    assert shape.weekly.lowest in {5, 6}
    assert shape.daily.share > 0.3
    assert shape.weekly.share > 0.4
    assert shape.weekly.autocorrelation > 0.95
    assert shape.trough_per_s == min(shape.daily.means_per_s)
    assert shape.baseline_per_s == pytest.approx(np.quantile(daily_wave(28) / 60, 0.1))


def test_noise_has_no_cycle() -> None:
    shape = shape_of(trace(np.random.default_rng(4).poisson(50, 20 * 1440)))
    assert shape.daily is not None
    assert shape.weekly is not None
    assert (shape.daily.share < 0.1, shape.weekly.share < 0.1, abs(shape.daily.autocorrelation) < 0.2) == (True,) * 3


def test_a_flash_crowd_is_found_with_its_height_rise_and_length() -> None:
    seconds = 4 * 3600
    rate = np.full(seconds, 20.0)
    begin = 2 * 3600 + 7 * 60
    rate[begin : begin + 60] = np.linspace(20, 100, 60)
    rate[begin + 60 : begin + 600] = 100
    shape = shape_of(trace(np.random.default_rng(5).poisson(rate), 1.0))
    assert shape.peak_count == 1
    (peak,) = shape.peaks
    assert abs(peak.start_s - begin) <= 60
    assert peak.duration_s == pytest.approx(600, abs=60)
    assert peak.highest_per_s == pytest.approx(100, rel=0.05)
    assert peak.times_level == pytest.approx(5, rel=0.1)
    assert peak.rise_s == pytest.approx(48, abs=15)
    assert peak.requests_above == pytest.approx(80 * 540 + 40 * 60, rel=0.05)
    assert peak.start == "2024-01-01T02:07:00+00:00"


def test_the_slow_rise_of_a_day_is_no_peak() -> None:
    assert shape_of(trace(daily_wave(3))).peak_count == 0


def test_out_of_nothing_a_peak_is_infinitely_above_its_level() -> None:
    counts = np.zeros(600)
    counts[300:305] = 500
    (peak,) = shape_of(trace(counts)).peaks
    assert (peak.level_per_s, peak.times_level, peak.duration_s) == (0.0, float("inf"), 300.0)


def test_gaps_are_neither_idle_nor_mean() -> None:
    counts = np.full(600, 60)
    counts[100:400] = GAP
    shape = shape_of(trace(counts))
    assert (shape.known_share, shape.mean_per_s, shape.baseline_per_s) == (0.5, 1.0, 1.0)
    assert shape.idle_share == {"1min": 0.0, "10min": 0.0, "1h": 0.0}


def test_rates_need_half_of_a_bin_to_be_known() -> None:
    counts = np.array([6, GAP, GAP, GAP, 6, 6, GAP, GAP])
    rates, bin_s = rates_of(counts, 1.0, 4.0)
    assert np.isnan(rates[0])
    assert (rates[1], bin_s) == (6.0, 4.0)


def test_idle_share_and_peak_to_mean_by_scale() -> None:
    counts = np.zeros(7200)
    counts[::60] = 2
    shape = shape_of(trace(counts, 1.0))
    assert shape.idle_share["1s"] == pytest.approx(59 / 60)
    assert shape.idle_share["1min"] == 0.0
    assert shape.peak_to_mean == {"1s": pytest.approx(60.0), "1min": pytest.approx(1.0), "1h": pytest.approx(1.0)}


def test_growth_is_told_by_the_week() -> None:
    days = np.repeat(np.arange(20), 24)
    shape = shape_of(trace(1000 + 10 * days, 3600.0))
    assert shape.trend_per_week == pytest.approx(70 / 1095, rel=1e-6)


def test_the_correlation_of_a_constant_is_unknown() -> None:
    assert np.isnan(autocorrelation(np.ones(50), 10))


@pytest.mark.parametrize(("counts", "step_s"), [([1], 1.0), ([5], 86_400.0), ([0, 1], 3600.0), ([GAP, 3, GAP], 60.0)])
def test_the_shortest_traces_have_a_shape(counts: list[int], step_s: float, tmp_path: Path) -> None:
    short = trace(counts, step_s, None)
    shape = shape_of(short)
    assert shape.total == sum(count for count in counts if count != GAP)
    draw_shape(short, shape, "short", tmp_path / "s.svg")


def test_a_pause_that_comes_again_is_idleness_and_a_single_one_a_gap() -> None:
    office = np.tile(np.concatenate([np.full(10, 3600), np.zeros(14)]), 10).astype(np.int64)
    assert with_gaps(office, 3600.0, 0.0)[1] == ()
    steady = np.full(1000, 60, np.int64)
    steady[500:560] = 0
    marked, gaps = with_gaps(steady, 60.0, 0.0)
    assert (int((marked == GAP).sum()), [gap.start_epoch_s for gap in gaps]) == (60, [30_000.0])


def test_a_picture_is_drawn_in_each_form_and_no_other(tmp_path: Path) -> None:
    week = trace(daily_wave(8))
    shape = shape_of(week)
    for ending, magic in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        draw_shape(week, shape, "a week", tmp_path / f"p{ending}")
        assert (tmp_path / f"p{ending}").read_bytes().startswith(magic)
    with pytest.raises(LogError, match=r"ends with \.svg"):
        draw_shape(week, shape, "a week", tmp_path / "p.gif")
    with pytest.raises(LogError, match="cannot be written"):
        draw_shape(week, shape, "a week", tmp_path / "none" / "p.svg")
