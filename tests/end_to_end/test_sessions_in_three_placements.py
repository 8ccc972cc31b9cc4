"""Real apps answer a recorded session the same on servers, on functions and on both, under `peaker run`.

1. uvicorn alone serves the app, and the session is played against it: the answers that are expected.
2. `peaker run` serves it with every route placed on servers, then on functions, then hybrid: one worker with one slot,
   three sessions at once, and a client that holds the slot half of the time, so that a part of each session spills.
3. Every answer equals the expected one in all that `tests/apps/session.py` compares. Where requests ran is counted,
   so that no placement passes by running elsewhere.
"""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

sys.path.insert(0, str(Path(__file__).parents[1] / "apps"))

from serving_app import serving_app
from session import DEADLINE_S, Answer, Player, differences, load_steps
from slot_holder import SlotHolder

from peaker.asgi import adapt_wsgi, is_asgi
from peaker.testing.running import PeakerRun

APPS_FOLDER = Path(__file__).parents[1] / "apps"
APPS = [
    "starlette",
    "flask",
    pytest.param("fastapi", marks=pytest.mark.long),
    pytest.param("django", marks=pytest.mark.long),
]
WITH_WEBSOCKET = {"starlette", "fastapi"}
SETTINGS = """\
[app]
name = "session-{app}"
web = "{app}_app:app"
spill = true
placement_header = true

[objective]
latency_p95_ms = 5000

[servers]
workers = 1
in_flight_max = {slots}
queue_wait_s_max = 20

[functions]
concurrency_max = 8
spill_body_bytes_max = 4000000

[[route]]
path = "/items/9"
placement = "servers"

[[route]]
path = "/*"
placement = "{placement}"
"""
HELD_PATH = "/items/9"
STAY = 3
"""Steps of the session that no function can answer: Expect, Upgrade, and a header that is not UTF-8."""


def on_uvicorn(name: str) -> list[Answer]:
    app: Any = importlib.import_module(f"{name}_app").app
    with serving_app(app if is_asgi(app) else adapt_wsgi(app, 1)) as (host, port):
        return Player(host, port).play(load_steps())


def settings_for(name: str, placement: str, slots: int) -> str:
    return SETTINGS.format(app=name, placement=placement, slots=slots)


def places(answers: list[Answer]) -> Counter[str]:
    """How many answers came from where, by the first word of x-peaker-ran."""
    return Counter(answer.ran.partition(" ")[0] for answer in answers)


def websocket_echo(host: str, port: int) -> str | bytes:
    with connect(f"ws://{host}:{port}/ws", open_timeout=DEADLINE_S, close_timeout=DEADLINE_S) as socket:
        socket.send("grüße")
        return socket.recv(timeout=DEADLINE_S)


def running(directory: Path, settings: str) -> PeakerRun:
    return PeakerRun.with_settings(directory, settings, environment={"PYTHONPATH": str(APPS_FOLDER)})


def played_beside_a_holder(peaker: PeakerRun, steps: list[dict[str, Any]]) -> tuple[list[list[Answer]], int]:
    """Three sessions at once while the slot is held on and off; and how often it was."""
    holder = SlotHolder(*peaker.address, HELD_PATH)
    with ThreadPoolExecutor(4) as threads:
        holding = threads.submit(holder.hold)
        players = [Player(*peaker.address, on_answer=holder.answered) for _ in range(3)]
        sessions = [threads.submit(player.play, steps) for player in players]
        wait(sessions)
        holder.end()
        holding.result()
        return [session.result() for session in sessions], holder.held


@pytest.mark.parametrize("name", APPS)
def test_an_app_answers_the_same_on_servers_on_functions_and_on_both(name: str, tmp_path: Path) -> None:
    steps = load_steps()
    expected = on_uvicorn(name)

    with running(tmp_path, settings_for(name, "servers", 16)) as peaker:
        answers = Player(*peaker.address).play(steps)
    assert differences(expected, answers) == []
    assert set(places(answers)) == {"server"}

    with running(tmp_path, settings_for(name, "functions", 16)) as peaker:
        answers = Player(*peaker.address).play(steps)
        # A WebSocket stays open, so it runs on the servers wherever its route is placed.
        assert name not in WITH_WEBSOCKET or websocket_echo(*peaker.address) == "GRÜSSE"
    assert differences(expected, answers) == []
    assert places(answers) == {"function": len(steps) - STAY, "server": STAY}

    with running(tmp_path, settings_for(name, "hybrid", 1)) as peaker:
        sessions, held = played_beside_a_holder(peaker, steps)
    for answers in sessions:
        assert differences(expected, answers) == []
    ran = sum((places(answers) for answers in sessions), Counter())
    assert ran["server"] > 0
    assert ran["function"] >= held
