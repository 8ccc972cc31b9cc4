"""`peaker run --dev` in a terminal: files are really saved, a debugger is really used."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from terminal import Terminal

from peaker.engines.local.state_dir import read_run
from peaker.state import StateDirectory
from peaker.testing.running import is_alive, until

DRAIN_S_MAX = 1.0
SETTINGS = f"""
[app]
name = "shop"
web = "shop:app"
spill = true
listen = "127.0.0.1:0"

[servers]
workers = 2
drain_s_max = {DRAIN_S_MAX}
drain_idle_s = 0.1
queue_wait_s_max = 0.5
header_timeout_s = 0.5
body_timeout_s = 0.5
"""
SHOP = """
VERSION = "1"


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    answer = VERSION
    if scope["path"] == "/stop":
        price = 41
        breakpoint()
        answer = str(price)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.encode()})
"""


def get(directory: Path, path: str = "/") -> str:
    run = read_run(StateDirectory(directory / ".peaker"))
    assert run is not None
    with urllib.request.urlopen(run.app_url + path, timeout=60) as answer:
        body: bytes = answer.read()
    return body.decode()


def save(directory: Path, change: Callable[[str], str]) -> None:
    """As editors do: another file, renamed into place."""
    path = directory / "shop.py"
    fresh = directory / "shop.py.new"
    fresh.write_text(change(path.read_text()))
    fresh.replace(path)


def pids(directory: Path) -> list[int]:
    run = read_run(StateDirectory(directory / ".peaker"))
    return [process.pid for process in run.processes] if run is not None else []


@contextmanager
def developing(directory: Path, code: str = SHOP, *options: str) -> Iterator[Terminal]:
    (directory / "peaker.toml").write_text(SETTINGS)
    (directory / "shop.py").write_text(code)
    with Terminal(directory, ["-m", "peaker", "run", "--dev", *options]) as terminal:
        yield terminal
    assert not any(is_alive(pid) for pid in pids(directory))


def test_a_save_reloads_and_an_error_is_said_once_while_the_old_code_serves_on(tmp_path: Path) -> None:
    with developing(tmp_path) as terminal:
        terminal.read_until("serving http")
        assert get(tmp_path) == "1"
        terminal.read_until('"path": "/"')  # The access log.
        save(tmp_path, lambda text: text.replace('"1"', '"2"'))
        terminal.read_until("generation 2 serves")
        until(lambda: get(tmp_path) == "2", 20)  # The old worker may take one more connection.
        save(tmp_path, lambda text: text + "\nbroken = (\n")
        shown = terminal.read_until("what ran before serves on")
        assert shown.count("SyntaxError") == 1
        assert get(tmp_path) == "2"
        save(tmp_path, lambda text: text.replace("\nbroken = (\n", "").replace('"2"', '"3"'))
        terminal.read_until(" serves; generation 2 drains")
        until(lambda: get(tmp_path) == "3", 20)
        terminal.type("\x03")
        terminal.read_until("peaker: stopped")
        assert terminal.wait() == 0


def test_a_debugger_has_the_terminal_and_no_time_limit(tmp_path: Path) -> None:
    """Stopped for longer than any time limit of the settings, a reload and its drain included; then it goes on."""
    with developing(tmp_path) as terminal:
        terminal.read_until("serving http")
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(get(tmp_path, "/stop")))
        asking.start()
        terminal.read_until("(Pdb)")
        stopped_s = time.monotonic()
        save(tmp_path, lambda text: text.replace('"1"', '"2"'))
        terminal.read_until("generation 1 drains")
        until(lambda: get(tmp_path) == "2", 20)  # The new worker serves beside the one in the debugger.
        until(lambda: time.monotonic() - stopped_s > DRAIN_S_MAX + 4, 30)
        terminal.type("p price + 1\n")
        terminal.read_until("42")
        terminal.type("c\n")
        asking.join(20)
        assert answers == ["41"]


def test_an_app_that_does_not_import_at_first_is_started_when_it_is_mended(tmp_path: Path) -> None:
    with developing(tmp_path, "import not_there_at_all\n" + SHOP) as terminal:
        shown = terminal.read_until("waiting for a change")
        assert shown.count("No module named 'not_there_at_all'") == 1
        save(tmp_path, lambda text: text.replace("import not_there_at_all\n", ""))
        terminal.read_until("serving http")
        assert get(tmp_path) == "1"


def test_a_closed_terminal_stops_the_app(tmp_path: Path) -> None:
    with developing(tmp_path) as terminal:
        terminal.read_until("serving http")
        started = pids(tmp_path)
        assert started
        terminal.hang_up()
        assert terminal.wait() == 0
        assert not any(is_alive(pid) for pid in started)
