"""The README's picture: the jump on servers with functions above them, and the same jump on servers only."""

from __future__ import annotations

import asyncio
import math
import sys
from collections import Counter
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.flash_crowd.case import BY_NAME, SLOTS, WORKERS, Case
from benchmarks.flash_crowd.figures import by_second, is_void, percentile_ms
from benchmarks.flash_crowd.measure import Seen, measure
from peaker.traffic.tally import Outcome

# Distinguishable without colour vision (Okabe and Ito), and on light and dark pages alike.
COLOURS = {"server": "#0072B2", "sibling": "#56B4E9", "function": "#E69F00"}
NAMES = {"server": "on servers", "sibling": "handed to a free worker", "function": "on functions"}
GREY = "#808080"


def draw(hybrid: Seen, servers: Seen, case: Case, path: Path) -> None:
    """Two panels over the same seconds; written as SVG."""
    mpl.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "peaker", "font.family": "sans-serif", "text.color": GREY,
        "axes.labelcolor": GREY, "axes.edgecolor": GREY, "xtick.color": GREY, "ytick.color": GREY,
    })  # fmt: skip
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 5.5), sharex=True, height_ratios=(3, 2), layout="tight")
    _draw_requests(above, hybrid, case)
    _draw_latency(below, hybrid, servers, case)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.patch.set_alpha(0)
        axes.legend(frameon=False, loc="upper left", fontsize=9)
    figure.savefig(path, transparent=True, metadata={"Date": None})


def _draw_requests(axes: Axes, seen: Seen, case: Case) -> None:
    seconds = by_second(seen.samples)
    bottom = [0] * len(seconds)
    for ran, colour in COLOURS.items():
        heights = [
            Counter(sample.placement for sample in samples if sample.outcome is Outcome.ANSWERED)[ran]
            for samples in seconds.values()
        ]
        axes.bar(list(seconds), heights, 1.0, bottom=bottom, color=colour, label=NAMES[ran], align="edge")
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    capacity = WORKERS * SLOTS * 1000 / case.store_ms
    axes.axhline(capacity, color=GREY, linestyle="--", linewidth=1)
    axes.annotate("what the servers hold", (1, capacity), (2, 3), textcoords="offset points", fontsize=9)
    axes.set_ylabel("requests a second")


def _draw_latency(axes: Axes, hybrid: Seen, servers: Seen, case: Case) -> None:
    for seen, colour, name in (
        (servers, COLOURS["server"], "servers only"),
        (hybrid, COLOURS["function"], "servers, and functions above them"),
    ):
        seconds = by_second(seen.samples)
        # A second in which more than one in twenty failed has no 95th percentile; the line breaks there.
        latencies = [percentile_ms(samples, 0.95) for samples in seconds.values()]
        shown = [latency if math.isfinite(latency) else math.nan for latency in latencies]
        failed = [second for second, latency in zip(seconds, latencies, strict=True) if not math.isfinite(latency)]
        axes.plot([second + 0.5 for second in seconds], shown, color=colour, label=name)
        axes.plot([second + 0.5 for second in failed], [5000] * len(failed), "x", color=colour, markersize=5)
    axes.axhline(case.objective_p95_ms, color=GREY, linestyle="--", linewidth=1)
    axes.annotate("objective", (1, case.objective_p95_ms), (2, 3), textcoords="offset points", fontsize=9)
    axes.set_yscale("log")
    axes.set_ylim(20, 10_000)
    axes.set_ylabel("p95, ms (x: > 5 % failed)")
    axes.set_xlabel("seconds")


def main() -> None:
    case = BY_NAME["hybrid"]
    seen = {name: asyncio.run(measure(BY_NAME[name])) for name in ("hybrid", "servers")}
    if any(map(is_void, seen.values())):
        sys.exit("the generator lagged: this machine is too busy for a picture")
    draw(seen["hybrid"], seen["servers"], case, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
