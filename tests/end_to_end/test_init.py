"""`peaker init` as a user runs it: what it asks, what it writes, and that `peaker check` takes it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from peaker.testing.running import PeakerRun

DEADLINE_S = 60.0

APPS = {
    "FastAPI": {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/health')\ndef h(): return {}\n"},
    "Starlette": {"shop/web.py": "from starlette.applications import Starlette\napp = Starlette()\n"},
    "Flask": {"app.py": "from flask import Flask\ndef create_app():\n    return Flask('shop')\n"},
    "Django": {
        "shop/settings.py": "SECRET_KEY = ''\nROOT_URLCONF = 'shop.urls'\nASGI_APPLICATION = 'shop.asgi.application'\n",
        "shop/urls.py": "urlpatterns = []\n",
        "shop/asgi.py": (
            "import os\nfrom django.core.asgi import get_asgi_application\n"
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\napplication = get_asgi_application()\n"
        ),
    },
    "ASGI": {"bare.py": "async def app(scope, receive, send): ...\n"},
    "WSGI": {"bare.py": "def application(environ, start_response): ...\n"},
    "below src": {"src/shop/__init__.py": "", "src/shop/db.py": "", "src/shop/web.py": (
        "from shop import db\nfrom starlette.applications import Starlette\napp = Starlette()\n"
    )},
    "app and handler": {
        "web.py": "from starlette.applications import Starlette\napp = Starlette()\n",
        "jobs/mail.py": "def handler(event, context): ...\n",
    },
    "app and template": {
        "web.py": "from starlette.applications import Starlette\napp = Starlette()\n",
        "my-function/work.py": "import near\ndef handler(event, context): ...\n",
        "my-function/near.py": "",
        "template.yaml": (
            "Resources:\n  Work:\n    Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: my-function\n"
            "      Handler: work.handler\n      Timeout: 9\n      Environment: {Variables: {TABLE: items, X: !Ref Y}}\n"
        ),
    },
}  # fmt: skip

KEEPS_STATE = {"main.py": APPS["FastAPI"]["main.py"] + "SEEN = {}\n@app.get('/n')\ndef n(k: str):\n    SEEN[k] = 1\n"}


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")


def peaker(directory: Path, *arguments: str, answers: str | None = None) -> subprocess.CompletedProcess[str]:
    """A command in `directory`; `answers` are typed on a terminal, without them there is none."""
    terminal, theirs = pty.openpty()
    try:
        if answers is not None:
            os.write(terminal, answers.encode())
        return subprocess.run(
            [sys.executable, "-m", "peaker", *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL if answers is None else theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
    finally:
        os.close(terminal)
        os.close(theirs)


def written(directory: Path) -> dict[str, Any]:
    return tomllib.loads((directory / "peaker.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", APPS)
def test_what_init_writes_unasked_is_taken_by_check(tmp_path: Path, name: str) -> None:
    write(tmp_path, APPS[name])

    done = peaker(tmp_path, "init", "--yes")
    checked = peaker(tmp_path, "check", "--json")

    assert done.returncode == 0, done.stderr
    assert checked.returncode == 0, checked.stderr
    assert written(tmp_path)["app"]["spill"] is True
    assert "web" in [function["name"].rpartition("-")[2] for function in json.loads(checked.stdout)["functions"]]


def test_handlers_alone_become_functions_that_check_imports(tmp_path: Path) -> None:
    write(tmp_path, {"jobs/mail.py": "def handler(event, context): ...\n"})

    assert peaker(tmp_path, "init", "--yes").returncode == 0
    checked = peaker(tmp_path, "check", "--json")
    assert checked.returncode == 0, checked.stderr
    assert [function["target"] for function in json.loads(checked.stdout)["functions"]] == ["jobs.mail:handler"]


def test_signs_of_state_are_shown_with_their_place_and_keep_everything_on_the_servers(tmp_path: Path) -> None:
    write(tmp_path, KEEPS_STATE)

    done = peaker(tmp_path, "init", "--yes")

    assert "main.py:8  n() writes into SEEN" in done.stderr
    assert "spill = false" in done.stdout
    assert written(tmp_path)["app"]["spill"] is False
    assert "#   main.py:8  n() writes into SEEN" in (tmp_path / "peaker.toml").read_text()


@pytest.mark.parametrize(("typed", "spill"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_it_asks_and_the_safe_answer_is_offered(tmp_path: Path, typed: str, spill: bool) -> None:  # noqa: FBT001
    write(tmp_path, KEEPS_STATE)

    done = peaker(tmp_path, "init", answers=typed)

    assert "May two requests of one user be answered by two processes" in done.stderr
    assert "[y/N]" in done.stderr
    assert written(tmp_path)["app"]["spill"] is spill


def test_of_several_apps_it_asks_which(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": APPS["FastAPI"]["main.py"], "b.py": APPS["FastAPI"]["main.py"]})

    assert peaker(tmp_path, "init", answers="b:app\ny\n").returncode == 0
    assert written(tmp_path)["app"]["web"] == "b:app"


def test_without_a_terminal_it_wants_an_answer_beforehand(tmp_path: Path) -> None:
    write(tmp_path, KEEPS_STATE)

    done = peaker(tmp_path, "init")

    assert (done.returncode, done.stdout) == (2, "")
    assert "no terminal. --yes takes the safe answers" in done.stderr
    assert not (tmp_path / "peaker.toml").exists()


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    write(tmp_path, KEEPS_STATE | {"peaker.toml": "# mine\n"})

    refused = peaker(tmp_path, "init", "--yes")
    assert refused.returncode == 2
    assert "it is there already. --force replaces it" in refused.stderr
    assert (tmp_path / "peaker.toml").read_text() == "# mine\n"

    assert peaker(tmp_path, "init", "--yes", "--force", "--spill").returncode == 0
    assert written(tmp_path)["app"]["spill"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["main.py", "peaker.toml"]


def test_a_dry_run_and_json_only_tell(tmp_path: Path) -> None:
    write(tmp_path, KEEPS_STATE)

    dry, found = peaker(tmp_path, "init", "--dry-run"), json.loads(peaker(tmp_path, "init", "--json").stdout)

    assert tomllib.loads(dry.stdout) == tomllib.loads(found["text"])
    assert (found["web"], found["spill"], found["written"]) == ("main:app", False, "")
    assert [(sign["kind"], sign["path"], sign["line"]) for sign in found["signs"]] == [("state", "main.py", 8)]
    assert [path.name for path in tmp_path.iterdir()] == ["main.py"]


def test_where_nothing_is_found_it_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, {"x.py": "import aiohttp.web\napp = aiohttp.web.Application()\n"})

    done = peaker(tmp_path, "init", "--yes")

    assert done.returncode == 2
    assert "no web app and no handler was found" in done.stderr
    assert "aiohttp.web is neither ASGI nor WSGI" in done.stderr
    assert peaker(tmp_path, "init", "--yes", "--web", "not a target").returncode == 2
    assert not (tmp_path / "peaker.toml").exists()


def test_code_is_read_and_never_run(tmp_path: Path) -> None:
    write(tmp_path, {"main.py": "open('ran', 'w').close()\n" + APPS["FastAPI"]["main.py"]})

    assert peaker(tmp_path, "init", "--yes").returncode == 0
    assert not (tmp_path / "ran").exists()


def test_the_env_file_is_taken_where_the_code_reads_what_it_holds(tmp_path: Path) -> None:
    write(
        tmp_path,
        {".env": "TOKEN=correct-horse\n", "main.py": APPS["FastAPI"]["main.py"] + "import os\nos.environ['TOKEN']\n"},
    )

    done = peaker(tmp_path, "init", "--yes")

    assert written(tmp_path)["app"]["env_file"] == ".env"
    assert "correct-horse" not in done.stdout + done.stderr + (tmp_path / "peaker.toml").read_text()
    assert peaker(tmp_path, "check").returncode == 0


def test_three_commands_take_an_app_of_ones_own_to_servers_with_functions_above_them(tmp_path: Path) -> None:
    write(tmp_path, APPS["FastAPI"])

    assert peaker(tmp_path, "init", answers="y\n").returncode == 0
    assert peaker(tmp_path, "check").returncode == 0
    with PeakerRun(tmp_path, "--listen", "127.0.0.1:0") as run:
        with urllib.request.urlopen(f"{run.app_url}/health", timeout=20) as answer:
            assert json.load(answer) == {}
        [function] = run.status()["host"]["functions"]
        assert function["name"].endswith("-web")
