"""`peaker simulate` with prices, as a person or a program runs it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

PRICES = ["--server-usd-per-hour", "0.04", "--function-usd-per-server-hour", "0.64", "--servers-mean", "4"]


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "peaker", "simulate", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def trace(tmp_path: Path) -> str:
    file = tmp_path / "day_1min.csv"
    file.write_text("count\n" + "".join(f"{100 if minute % 60 < 12 else 20}\n" for minute in range(480)))
    return str(file)


def test_costs_and_decisions_are_told_so_that_anybody_can_add_them_up(trace: str, tmp_path: Path) -> None:
    steps = tmp_path / "steps.csv"
    done = simulate(trace, *PRICES, "--step-s", "30", "--server-start-s", "90", "--decisions", str(steps), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    with steps.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == told["steps"] == 960
    assert [rows[1][name] for name in ("t_s", "servers_ready")] == [30.0, 0.0]
    assert sum(row["demand_servers"] for row in rows) / 960 == pytest.approx(4.0)
    for row in rows:
        assert row["spilled_servers"] == pytest.approx(max(0.0, row["demand_servers"] - row["servers_ready"]), abs=1e-6)
    servers = sum(row["servers_ready"] + row["servers_starting"] for row in rows) * 0.04 / 120
    functions = sum(row["spilled_servers"] for row in rows) * 0.64 / 120
    assert told["usd"] == pytest.approx(servers + functions)
    assert told["optimum_usd"] < told["usd"] <= told["bound_usd"]
    assert told["to_optimum"] == pytest.approx(told["usd"] / told["optimum_usd"])


def test_a_person_gets_a_few_lines(trace: str) -> None:
    done = simulate(trace, *PRICES, "--policy", "target-tracking")
    assert done.returncode == 0, done.stderr
    assert "under target-tracking: 960 steps of 30 s" in done.stdout
    assert "x the optimum" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "default"], "--servers-mean missing"),
        ([*PRICES, "--policy", "best"], "'best' is not one of 'default'"),
        ([*PRICES, "--server-start-s", "-1"], "-1"),
        ([*PRICES, "--speed", "2"], "--speed: it has no meaning beside prices"),
        ([*PRICES, "--servers", "3"], "--servers: it belongs to --policy fixed"),
        ([*PRICES, "--step-s", "86400"], "it makes 0 steps of 86400 s"),
        ([*PRICES, "--servers-min", "5", "--servers-max", "3"], "servers_min = 5 is not allowed"),
        ([*PRICES, "--decisions", "/nowhere/steps.csv"], "/nowhere/steps.csv: it cannot be written"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(trace: str, arguments: list[str], message: str) -> None:
    done = simulate(trace, *arguments)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
