"""A prediction beside what was measured: the error of each figure, and whether it holds.

Pure. A figure holds if it is within 10 % of the median of the repeats, or within their own spread where that is wider;
where they spread over more than 20 % the figure was not measured, whatever its median. Shares hold within two points.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from peaker.errors import PeakerError
from peaker.simulate.measurement import Measurement
from peaker.simulate.measures import MEASURES, Judged, Measure
from peaker.simulate.prediction import Prediction
from peaker.traffic.sent import Sent

ERROR_MAX = 0.10
SPREAD_MAX = 0.20
POINTS_MAX = 0.02


class Verdict(StrEnum):
    """What a comparison of one figure says."""

    HOLDS = "holds"
    OFF = "off"
    NOT_MEASURED = "not measured"


class OtherTraffic(PeakerError):  # noqa: N818 - named for what was found
    """The prediction and the measurement are of different traffic."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. Times in milliseconds, shares as parts of 1.

    `measured` is the median of `repeats` without the void ones; `spread` the distance between their least and most, and
    `error` that of the prediction from the median: both relative to the median, or in points for shares. None where
    there is none, as an error of what was measured as 0 and was not predicted to be.
    """

    name: str
    predicted: float | None
    low: float | None
    high: float | None
    measured: float | None
    repeats: tuple[float | None, ...]
    spread: float | None
    error: float | None
    allowed: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All figures of a prediction beside its measurements; `void` of `repeats` replays were void and are left out."""

    of: str
    app: str
    traffic: Sent
    repeats: int
    void: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def is_off(self) -> bool:
        """A figure is off."""
        return any(row.verdict is Verdict.OFF for row in self.rows)

    @property
    def holds(self) -> bool:
        """Every figure was measured, and holds."""
        return all(row.verdict is Verdict.HOLDS for row in self.rows)


def compare(
    prediction: Prediction, measurements: Sequence[Measurement], judged: Sequence[Measure] = MEASURES
) -> Comparison:
    """Put a prediction beside the replays of its traffic; `judged` are the figures that are looked at.

    Raises:
        OtherTraffic: one of them replayed something else; says what differs.
        ValueError: there is no measurement.
    """
    if not measurements:
        raise ValueError("nothing to compare with")
    for measurement in measurements:
        require_same_traffic(prediction.traffic, measurement.traffic)
    sound = [measurement for measurement in measurements if not measurement.is_void]
    notes = [f"predicted: {note}" for note in prediction.notes]
    seen = dict.fromkeys(note for measurement in measurements for note in measurement.notes)
    notes += [f"measured: {note}" for note in seen]
    if len({measurement.app for measurement in measurements}) > 1:
        notes.append("the measurements are of different apps.")
    return Comparison(
        of=prediction.of,
        app=measurements[0].app,
        traffic=prediction.traffic,
        repeats=len(measurements),
        void=len(measurements) - len(sound),
        rows=tuple(_row(measure, prediction, sound) for measure in judged),
        notes=tuple(notes),
    )


def require_same_traffic(predicted: Sent, measured: Sent) -> None:
    """Two figures of different traffic say nothing about each other.

    Raises:
        OtherTraffic: names what differs.
    """
    if predicted.hash == measured.hash:
        return
    pairs = [
        (name, getattr(predicted, name), getattr(measured, name))
        for name in ("requests", "duration_s", "speed", "scale", "from_s", "spread", "seed", "paths")
    ]
    differ = [f"{name} {_short(one)} and {_short(other)}" for name, one, other in pairs if one != other]
    raise OtherTraffic(
        f"the prediction is of other traffic ({predicted.name}, {predicted.hash[:8]}) than the measurement "
        f"({measured.name}, {measured.hash[:8]}): {'; '.join(differ) or 'the counts differ'}.",
        remedy="Give `peaker simulate` and `peaker replay` the same file and the same options.",
    )


def _short(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _row(measure: Measure, prediction: Prediction, sound: Sequence[Measurement]) -> Row:
    expected = getattr(prediction.expected, measure.name)
    repeats = tuple(getattr(each.measures, measure.name) for each in sound)
    known = [value for value in repeats if value is not None]
    all_known = len(known) == len(repeats) and bool(known)
    median = statistics.median(known) if all_known else None
    spread = None if median is None else _distance(measure, max(known) - min(known), median)
    error = None if median is None or expected is None else _distance(measure, expected - median, median)
    allowed = POINTS_MAX if measure.judged is Judged.POINTS else max(ERROR_MAX, spread or 0.0)
    return Row(
        name=measure.name,
        predicted=expected,
        low=getattr(prediction.low, measure.name),
        high=getattr(prediction.high, measure.name),
        measured=median,
        repeats=repeats,
        spread=_finite(spread),
        error=_finite(error),
        allowed=_finite(allowed) or 0.0,
        verdict=_verdict(measure, expected, repeats, spread, error),
    )


def _verdict(
    measure: Measure,
    expected: float | None,
    repeats: Sequence[float | None],
    spread: float | None,
    error: float | None,
) -> Verdict:
    if not repeats:
        return Verdict.NOT_MEASURED
    if spread is None:
        # Refusals hold the rank of this percentile in some of the repeats: in all, it was foreseen or not.
        if all(value is None for value in repeats):
            return Verdict.HOLDS if expected is None else Verdict.OFF
        return Verdict.NOT_MEASURED
    if measure.judged is Judged.RELATIVE and spread > SPREAD_MAX:
        return Verdict.NOT_MEASURED
    if error is None:
        return Verdict.OFF
    allowed = POINTS_MAX if measure.judged is Judged.POINTS else max(ERROR_MAX, spread)
    return Verdict.HOLDS if abs(error) <= allowed else Verdict.OFF


def _distance(measure: Measure, difference: float, median: float) -> float:
    if measure.judged is Judged.POINTS or not difference:
        return difference
    return difference / median if median else math.copysign(math.inf, difference)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
