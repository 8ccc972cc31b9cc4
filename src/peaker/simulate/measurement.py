"""What a replay measured on a running app, as a frozen value: by the client, and by the app's own meter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from peaker.simulate.measures import Measures
from peaker.simulate.saved import FORMAT, load_document, read_value
from peaker.traffic.sent import Sent

KIND = "measurement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One replay.

    `is_void`: the generator was late or was stopped, so that the figures say nothing. `failed` are requests without a
    good answer, refused ones among them. `began_at` is ISO 8601; `notes` say what limits the figures.
    """

    app: str
    made_by: str
    began_at: str
    machine: str
    traffic: Sent
    measures: Measures
    answered: int
    failed: int
    is_void: bool
    notes: tuple[str, ...] = ()
    kind: str = KIND
    format: int = FORMAT


def load_measurement(path: Path) -> Measurement:
    """Read a saved measurement; raises ProofFileError."""
    return read_value(Measurement, KIND, load_document(path), str(path))
