"""Worlds in which things go wrong, drawn from seeds and judged by an oracle apart from the gate.

A seed that fails is run again, alone, by PEAKER_WORLDS=4711; PEAKER_WORLDS=0-99 runs a range.
"""

from __future__ import annotations

import os

import pytest
from faulty_worlds import faulty_world
from world_oracle import judged_seconds, spilled, wrongs

from peaker.simulate.case import FaultKind
from peaker.simulate.world import run_world

ALL = 10_000
SAMPLE = 12


def seeds(default: range) -> range:
    """Those that the environment names, else these."""
    first, _, last = os.environ.get("PEAKER_WORLDS", "").partition("-")
    return range(int(first), int(last or first) + 1) if first else default


def judge(chosen: range) -> None:
    wrong: list[str] = []
    judged = on_functions = 0
    for seed in chosen:
        case = faulty_world(seed)
        ran = run_world(case, seed=seed, keep_journal=False)
        wrong += [f"PEAKER_WORLDS={seed}: {what}" for what in wrongs(case, ran)]
        judged += sum(1 for _ in judged_seconds(case, ran))
        on_functions += spilled(ran)
    assert not wrong, "\n".join(wrong[:50])
    if len(chosen) >= SAMPLE:  # Else the oracle had nothing to say.
        assert judged > 15 * len(chosen)
        assert on_functions > 20 * len(chosen)


def test_worlds_in_which_things_go_wrong_keep_what_is_promised() -> None:
    judge(seeds(range(SAMPLE)))


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_ten_thousand_worlds_in_which_things_go_wrong_keep_what_is_promised() -> None:
    judge(seeds(range(ALL)))


def test_each_kind_of_fault_comes_up_in_the_sample() -> None:
    assert {fault.kind for seed in range(SAMPLE) for fault in faulty_world(seed).faults} == set(FaultKind)
