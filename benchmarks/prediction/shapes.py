"""The shapes of traffic: real counts, cut and scaled before any run so that servers alone cannot hold them.

Two workers of four slots before a store of 40 ms hold some 190 requests a second. Each shape is to spill 5 to 50 %.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATHS = ("/:2", "/catalogue/3:1", "/titles/7:4", "/titles/311:4")
"""Those of the example that may run anywhere, with its own weights."""

LENGTH_S = 20.0
QUICK_LENGTH_S = 8.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A part of a trace: `from_s` in the trace's own time, replayed `speed` times faster and `scale` times as dense."""

    name: str
    about: str
    trace: Path
    from_s: float
    speed: float
    scale: float

    def options(self, length_s: float) -> list[str]:
        """For `peaker simulate` and `peaker replay` alike."""
        chosen = ["--from", f"{self.from_s}", "--for", f"{length_s * self.speed}"]
        chosen += ["--speed", f"{self.speed}", "--scale", f"{self.scale}"]
        return chosen + [word for path in PATHS for word in ("--path", path)]


SHAPES = (
    Shape(
        name="bursts",
        about="requests to a code model, in bursts of a second with silence between (Azure, 2023)",
        trace=ROOT / "examples" / "streaming" / "traffic" / "azure_llm_2023_code_20min_1s.csv",
        from_s=400,
        speed=10,
        scale=2,
    ),
    Shape(
        name="crowd",
        about="a flash crowd: five times the rate within three seconds (Twitter, 2021)",
        trace=ROOT / "benchmarks" / "flash_crowd" / "twitter_2021_08_jump_1s.csv",
        from_s=114,
        speed=1,
        scale=1.6,
    ),
    Shape(
        name="day",
        about="a day of June 1998 with a match in it, in twenty seconds (World Cup)",
        trace=ROOT / "examples" / "traffic" / "worldcup98_june_1min.csv.gz",
        from_s=5 * 86_400,
        speed=4320,
        scale=0.00018,
    ),
)
