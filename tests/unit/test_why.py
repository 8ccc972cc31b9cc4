"""What `peaker why` says of a journal, whatever stands in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from peaker.cli import main
from peaker.cli.why_text import sentences, span, usd
from peaker.engines.local.journal_file import JournalFile, last_entry, older, read_journal

CHANGED: dict[str, Any] = {
    "kind": "changed",
    "at": 0.0,
    "number": 1,
    "before": 1,
    "after": 2,
    "rule": "break-even",
    "level": 2,
    "window_s": 600.0,
    "functions_usd": 0.31,
    "server_usd": 0.012,
    "demand_servers": 2.0,
    "forecast_servers": 2.4,
    "forecast_for_s": 90.0,
    "quantile": 0.83,
    "policy_held_by": "",
    "wanted": 2,
    "held_by": "",
    "may_spill": True,
}
JUDGED: dict[str, Any] = {
    "kind": "judged",
    "at": 0.0,
    "changed_at": 0.0,
    "before": 1,
    "after": 2,
    "cost_usd": 0.03,
    "otherwise_usd": 0.026,
    "span_s": 600.0,
    "forecast_servers": 2.4,
    "forecast_for_s": 90.0,
    "demand_mean": 0.9,
    "demand_max": 1.3,
}


def told(**entry: Any) -> str:
    [line] = sentences([{"at": time.time(), **entry}])
    return line.split(" ", 1)[1]


def test_a_server_that_pays_is_told_with_both_prices() -> None:
    assert told(**{**CHANGED, "at": time.time()}) == (
        "added 1 server (2 now): functions cost $0.31 in the last 10 min for load that one server carries for $0.012."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"functions_usd": 0.001}, "demand is 2.00 servers' worth, and 2.40 expected within 90 s (quantile 0.83)"),
        ({"held_by": "spend"}, "added 1 server (2 now): the day's spend on functions is used up"),
        ({"may_spill": False}, "what finds no server waits or is refused"),
        ({"policy_held_by": "guard"}, "break-even"),
        (
            {"after": 0, "functions_usd": 0.001},
            "removed 1 server (0 now): what it did in the last 10 min costs $0.0010",
        ),
        ({"after": 0, "demand_servers": 0.2}, "removed 1 server (0 now): demand has fallen to 0.20 servers' worth"),
    ],
)
def test_each_cause_of_a_change_has_its_sentence(changes: dict[str, Any], said: str) -> None:
    assert said in told(**{**CHANGED, **changes})


def test_a_forecast_that_was_wrong_is_told_with_what_it_cost() -> None:
    line = told(**{**JUDGED, "changed_at": time.time()})
    assert "cost $0.0040 more than leaving 1, in the 10 min after it; 2.40 servers' worth was expected" in line
    assert line.endswith("0.90 came, 1.30 at the most; the forecast was wrong.")
    assert "saved $0.026 beside leaving 1" in told(**{**JUDGED, "cost_usd": 0.0})


def test_what_another_version_wrote_is_left_out() -> None:
    strange = [{"kind": "new"}, {}, {"kind": "changed", "at": 1.0}, {"kind": "held", "at": "soon", "servers": 1}]
    assert list(sentences(strange)) == []


def test_small_sums_and_spans_keep_the_digits_that_say_something() -> None:
    assert [usd(value) for value in (1.5, 0.31, 0.012, 0.000071, 0.0)] == [
        "$1.50", "$0.31", "$0.012", "$0.000071", "$0.00",
    ]  # fmt: skip
    assert [span(value) for value in (8, 600, 7200)] == ["8 s", "10 min", "2 h"]


def test_a_line_that_a_crash_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "decisions.jsonl"
    journal = JournalFile(path, bytes_max=10_000)
    journal.write({"number": 1})
    with path.open("ab") as file:
        file.write(b'{"number": 2, "ki')
    assert read_journal(path) == [{"number": 1}]
    journal.write({"number": 3})
    assert read_journal(path) == [{"number": 1}, {"number": 3}]
    assert last_entry(path) == {"number": 3}


def test_a_journal_is_bounded_and_its_last_lines_are_there(tmp_path: Path) -> None:
    path = tmp_path / "observations.jsonl"
    journal = JournalFile(path, bytes_max=1000)
    for number in range(500):
        journal.write({"number": number})
        assert last_entry(path) == {"number": number}
    numbers = [entry["number"] for entry in read_journal(path)]
    assert numbers == list(range(numbers[0], 500))
    assert sum(file.stat().st_size for file in (path, older(path)) if file.exists()) <= 2100
    assert path.stat().st_mode & 0o777 == 0o600


def why(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["why", *arguments])
    return ended.value.code if isinstance(ended.value.code, int) else 0, capsys.readouterr().out


def test_why_works_when_nothing_runs_and_nothing_was_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ("--state", str(tmp_path))
    assert why(capsys, *state) == (0, "nothing has been decided yet.\n")
    journal = JournalFile(tmp_path / "logs" / "decisions.jsonl", bytes_max=10_000)
    for at in (1.0, time.time() - 1800, time.time()):
        journal.write({"kind": "held", "at": at, "servers": 3})
    assert why(capsys, *state)[1].count("3 servers set by hand") == 3
    assert why(capsys, *state, "--last", "1")[1].count("set by hand") == 1
    assert why(capsys, *state, "--since", "1h")[1].count("set by hand") == 2
    assert len(json.loads(why(capsys, *state, "--since", "10m", "--json")[1])) == 1
    assert why(capsys, *state, "--since", "soon")[0] == 2
