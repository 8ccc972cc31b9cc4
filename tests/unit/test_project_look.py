"""Looking at a project: what is found in code that is only read, and what is not taken for a sign."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from peaker.project.draft import Answers, draft
from peaker.project.files import FILE_BYTES_MAX
from peaker.project.findings import Kind, Project
from peaker.project.look import look_at


def look(tmp_path: Path, **files: str) -> Project:
    """A project of these files; `__` stands for / in a name, and .py is added."""
    for name, text in files.items():
        path = tmp_path / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return look_at(tmp_path)


def targets(project: Project) -> list[tuple[str, str]]:
    return [(app.target, app.framework) for app in project.apps]


def lines(project: Project, kind: Kind) -> list[tuple[str, int]]:
    return [(sign.path, sign.line) for sign in project.of(kind)]


FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"


@pytest.mark.parametrize(
    ("files", "target", "framework"),
    [
        ({"main": FASTAPI}, "main:app", "FastAPI"),
        ({"web": "import starlette.applications as a\napp = a.Starlette()\n"}, "web:app", "Starlette"),
        ({"shop": "import flask\napplication = flask.Flask(__name__)\n"}, "shop:application", "Flask"),
        ({"x": "from flask import Flask\ndef make(c=None):\n    a = Flask('x')\n    return a\n"}, "x:make()", "Flask"),
        ({"x": "from flask import Flask\ndef create():\n    return Flask('x')\napp = create()\n"}, "x:app", "Flask"),
        ({"a": "async def application(scope, receive, send): ...\n"}, "a:application", "ASGI"),
        ({"a": "def simple(environ, start_response): ...\n"}, "a:simple", "WSGI"),
        ({"a": "class A:\n    async def __call__(self, scope, receive, send): ...\napp = A()\n"}, "a:app", "ASGI"),
        ({"a": "from fastapi import FastAPI\nclass Api(FastAPI): ...\napp: Api = Api()\n"}, "a:app", "FastAPI"),
        ({"a__core": FASTAPI, "a____init__": "", "b": "from a.core import app\n"}, "a.core:app", "FastAPI"),
    ],
)  # fmt: skip
def test_web_apps_are_found(tmp_path: Path, files: dict[str, str], target: str, framework: str) -> None:
    assert targets(look(tmp_path, **files)) == [(target, framework)]


def test_a_factory_that_wants_arguments_is_no_app_unless_it_is_given_them(tmp_path: Path) -> None:
    factory = "from flask import Flask\ndef make(config, *, name):\n    return Flask(name)\n"

    assert targets(look(tmp_path, shop=factory)) == []
    assert targets(look(tmp_path, wsgi="from shop import make\napp = make(1, name='x')\n")) == [("wsgi:app", "Flask")]


def test_the_app_that_is_served_stands_before_what_it_is_made_of(tmp_path: Path) -> None:
    project = look(
        tmp_path,
        main=(
            "from fastapi import FastAPI\nfrom starlette.middleware.cors import CORSMiddleware\n"
            "inner = FastAPI()\nadmin = FastAPI()\ninner.mount('/admin', admin)\nserved = CORSMiddleware(inner)\n"
        ),
    )

    assert targets(project) == [("main:served", "wrapped"), ("main:inner", "FastAPI")]


@pytest.mark.parametrize(("line", "first"), [("ASGI_APPLICATION = 'x'", "asgi"), ("WSGI_APPLICATION = 'x'", "wsgi")])
def test_of_djangos_two_modules_the_one_its_settings_name_is_first(tmp_path: Path, line: str, first: str) -> None:
    project = look(
        tmp_path,
        manage="",
        shop__settings=f"{line}\nSESSION_ENGINE = 'django.contrib.sessions.backends.file'\n",
        shop__asgi="from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
        shop__wsgi="from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    )

    assert targets(project)[0] == (f"shop.{first}:application", "Django")
    assert lines(project, Kind.STATE) == [("shop/settings.py", 2)]  # Nothing imports it by name.


def test_an_app_below_src_is_imported_from_there(tmp_path: Path) -> None:
    project = look(
        tmp_path, src__shop____init__="", src__shop__db="x = 1\n", src__shop__web=FASTAPI + "from shop.db import x\n"
    )

    assert targets(project) == [("shop.web:app", "FastAPI")]
    text = tomllib.loads(draft(project, Answers(app=project.apps[0], spill=True)))
    assert text["env"] == {"PYTHONPATH": "src"}


STATE = {
    "a dict that is written to": "SEEN = {}\ndef f(k):\n    SEEN[k] = 1\n",
    "a nested dict": "SEEN = {}\ndef f(k):\n    SEEN[k]['x'] += 1\n",
    "a list that grows": "LOG: list = []\ndef f(k):\n    LOG.append(k)\n",
    "a defaultdict": "from collections import defaultdict\nN = defaultdict(int)\ndef f(k):\n    N[k] += 1\n",
    "a set, by del": "S = dict()\ndef f(k):\n    del S[k]\n",
    "a counter": "import itertools\nIDS = itertools.count()\ndef f():\n    return next(IDS)\n",
    "a global": "HITS = 0\ndef f():\n    global HITS\n    HITS += 1\n",
    "a cache by arguments": "from functools import lru_cache\n@lru_cache(maxsize=9)\ndef f(user): ...\n",
    "an object": "class C:\n    n = 0\n    def up(self):\n        self.n += 1\nc = C()\n",
    "a class attribute": "class C:\n    items = {}\n    def put(self, k):\n        self.items[k] = 1\n",
    "app.state": "def f(request):\n    request.app.state.hits += 1\n",
    "SQLite": "import sqlite3\ndef f():\n    return sqlite3.connect('x.db')\n",
    "SQLite by URL": "import sqlalchemy\nengine = sqlalchemy.create_engine('sqlite:///x.db')\n",
    "a file": "def f(t):\n    with open('log', 'a') as file:\n        file.write(t)\n",
    "a file by Path": "def f(path, t):\n    path.write_text(t)\n",
    "an upload": "def f(request):\n    request.files['x'].save('y')\n",
    "sessions in files": "app.config['SESSION_TYPE'] = 'filesystem'\n",
    "a cache in memory": "CONFIG = {'CACHE_TYPE': 'SimpleCache'}\n",
    "a limiter": "from slowapi import Limiter\nlimiter = Limiter(key_func=len)\n",
}


@pytest.mark.parametrize("code", STATE.values(), ids=STATE.keys())
def test_state_in_the_process_is_a_sign(tmp_path: Path, code: str) -> None:
    project = look(tmp_path, main=FASTAPI + code)

    assert len(project.of(Kind.STATE)) == 1, project.signs
    assert not project.may_spill


NO_STATE = {
    "a table that is read": "PRICES = {'a': 1}\ndef f(k):\n    return PRICES[k]\n",
    "a local of the same name": "SEEN = {}\ndef f(k):\n    SEEN = {}\n    SEEN[k] = 1\n",
    "a parameter of the same name": "SEEN = {}\ndef f(SEEN):\n    SEEN.update(a=1)\n",
    "a closure": "def make():\n    seen = {}\n    def f(k):\n        seen[k] = 1\n    return f\n",
    "filled at import": "T = {}\nT['a'] = 1\nfor i in range(3):\n    T[i] = i\n",
    "filled by a decorator": "ALL = []\ndef add(f):\n    ALL.append(f)\n    return f\n@add\ndef g(): ...\n",
    "filled by the lifespan": "M = {}\nasync def on(app):\n    M['x'] = 1\n    yield\nb = FastAPI(lifespan=on)\n",
    "made at first use": "_c = None\ndef f():\n    global _c\n    if not _c:\n        _c = object()\n",
    "settings kept": "from functools import cache\n@cache\ndef settings(): ...\n",
    "an object that never changes": "class C:\n    def __init__(self):\n        self.n = 1\nc = C()\n",
    "a model's default": (
        "import pydantic as p\nclass M(p.BaseModel):\n    x: list = []\n    def f(self):\n        self.x.append(1)\n"
    ),
    "a list of each object": (
        "class C:\n    x = []\n    def __init__(self):\n        self.x = []\n    def f(self):\n        self.x.pop()\n"
    ),
    "a file that is read": "def f():\n    return open('x').read() + open('y', 'rb').read()\n",
    "a docstring": "def f():\n    '''sqlite:///x.db'''\n",
}  # fmt: skip


@pytest.mark.parametrize("code", NO_STATE.values(), ids=NO_STATE.keys())
def test_what_only_looks_like_state_is_none(tmp_path: Path, code: str) -> None:
    project = look(tmp_path, main=FASTAPI + code)

    assert project.of(Kind.STATE) == []
    assert project.may_spill


def test_state_of_another_module_is_followed_through_imports(tmp_path: Path) -> None:
    project = look(
        tmp_path,
        shop____init__="",
        shop__web=FASTAPI + "from . import store\nfrom .store import CACHE as kept\n"
        "def f(k):\n    kept[k] = 1\ndef g(k):\n    store.OTHER.clear()\n",
        shop__store="CACHE = {}\nOTHER = []\n",
    )

    assert lines(project, Kind.STATE) == [("shop/web.py", 6), ("shop/web.py", 8)]


def test_what_the_app_does_not_import_is_no_sign(tmp_path: Path) -> None:
    project = look(
        tmp_path,
        main=FASTAPI,
        unused="SEEN = {}\ndef f(k):\n    SEEN[k] = 1\n",
        tests__test_x="SEEN = {}\ndef f(k):\n    SEEN[k] = 1\n",
    )

    assert project.signs == ()


@pytest.mark.parametrize(
    ("code", "kind", "line"),
    [
        ("import boto3\ntable = boto3.resource('dynamodb')\n", Kind.CLIENT, 4),
        ("from redis.asyncio import Redis as R\nr = R()\n", Kind.CLIENT, 4),
        ("import httpx\nclass C:\n    client = httpx.AsyncClient()\n", Kind.CLIENT, 5),
        ("import psycopg\nif True:\n    c = psycopg.connect('x')\n", Kind.CLIENT, 5),
        ("import threading\nthreading.Thread(target=print).start()\n", Kind.THREAD, 4),
        ("from apscheduler.schedulers.background import BackgroundScheduler as B\ns = B()\n", Kind.THREAD, 4),
        ("@app.websocket('/ws')\nasync def ws(socket): ...\n", Kind.WEBSOCKET, 3),
        ("import fastapi.responses as r\ndef f():\n    return r.StreamingResponse([])\n", Kind.STREAMING, 5),
        ("def f(tasks):\n    tasks.add_task(print)\n", Kind.BACKGROUND, 4),
        ("import asyncio\nasync def f():\n    asyncio.create_task(g())\n", Kind.BACKGROUND, 5),
        ("import time\ndef f():\n    time.sleep(120)\n", Kind.TIME, 5),
        ("import httpx\ndef f():\n    return httpx.get('x', timeout=60)\n", Kind.TIME, 5),
    ],
)  # fmt: skip
def test_clients_threads_and_what_lasts_are_signs_of_their_kind(
    tmp_path: Path, code: str, kind: Kind, line: int
) -> None:
    project = look(tmp_path, main=FASTAPI + code)

    assert [(sign.kind, sign.line) for sign in project.signs] == [(kind, line)]
    assert project.may_spill  # Each of them has an answer of its own.


@pytest.mark.parametrize(
    "code",
    [
        "import redis\ndef client():\n    return redis.Redis()\n",
        "import asyncio\nasync def f():\n    t = asyncio.create_task(g())\n    await t\n",
        "import asyncio\nasync def f():\n    await asyncio.gather(asyncio.create_task(g()))\n",
        "import threading\nif __name__ == '__main__':\n    threading.Thread(target=print).start()\n",
        "import time\ndef f():\n    time.sleep(1)\n",
    ],
)
def test_what_is_made_in_use_and_waited_for_is_no_sign(tmp_path: Path, code: str) -> None:
    assert look(tmp_path, main=FASTAPI + code).signs == ()


def test_paths_are_told_with_the_prefixes_of_their_routers(tmp_path: Path) -> None:
    task = "def {}(tasks):\n    tasks.add_task(print)\n"
    project = look(
        tmp_path,
        main=FASTAPI + "from api import router\napp.include_router(router, prefix='/v1')\n"
        "@app.post('/direct')\n" + task.format("direct") + "@app.post('/with/{id}')\n" + task.format("parameter"),
        api="from fastapi import APIRouter\nrouter = APIRouter(prefix='/mail')\nlost = APIRouter()\n"
        "@router.post('/send')\n" + task.format("send") + "@lost.post('/x')\n" + task.format("unknown"),
    )

    assert {sign.what.partition("()")[0]: sign.routes for sign in project.of(Kind.BACKGROUND)} == {
        "direct": ("/direct",), "parameter": (), "send": ("/v1/mail/send",), "unknown": (),
    }  # fmt: skip
    written = tomllib.loads(draft(project, Answers(app=project.apps[0], spill=True)))
    assert [(route["path"], route["placement"]) for route in written["route"]] == [
        ("/direct", "servers"), ("/v1/mail/send", "servers"),
    ]  # fmt: skip


def test_handlers_are_found_and_named_after_what_tells_them_apart(tmp_path: Path) -> None:
    project = look(
        tmp_path,
        thumbnail="def handler(event, context): ...\ndef not_it(event, context): ...\n",
        mail="def lambda_handler(event, _context): ...\n",
        more__mail="def lambda_handler(event, context): ...\nclass C:\n    def handler(self, event, context): ...\n",
        web="def on(event, other, third): ...\n",
    )

    assert sorted((found.name, found.handler) for found in project.handlers) == [
        ("mail", "mail:lambda_handler"), ("mail-2", "more.mail:lambda_handler"), ("thumbnail", "thumbnail:handler"),
    ]  # fmt: skip


def test_variables_that_the_code_reads_are_named(tmp_path: Path) -> None:
    project = look(
        tmp_path,
        main=FASTAPI + "import os\nfrom os import environ, getenv\nos.environ['A']\nenviron.get('B')\ngetenv('C')\n"
        "os.environ['AWS_REGION']\nimport pydantic_settings as p\nclass S(p.BaseSettings):\n    db_url: str\n",
    )

    assert project.variables == ("A", "B", "C", "DB_URL")


def test_what_cannot_be_read_is_named_and_then_nothing_spills_unasked(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    (tmp_path / "large.py").write_text("#" * (FILE_BYTES_MAX + 1))
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    project = look(tmp_path, main=FASTAPI, broken="def f(:\n", deep="x = " + "(" * 3000 + ")" * 3000)
    chain = look(tmp_path, main=FASTAPI + "def f():\n    if " + " + ".join(["a"] * 600) + ":\n        pass\n")

    assert targets(project) == [("main:app", "FastAPI")]
    assert sorted(one.split()[0] for one in project.unread) == ["broken.py:1", "deep.py:1", "large.py", "latin.py"]
    assert not project.may_spill
    assert targets(chain) == [("main:app", "FastAPI")]


def test_virtual_environments_and_their_packages_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pyvenv.cfg").write_text("")

    project = look(tmp_path, main=FASTAPI, mine__lib__x=FASTAPI, node_modules__y=FASTAPI, site__z="")

    assert targets(project) == [("main:app", "FastAPI")]
    assert project.files == 2


def test_names_of_files_cannot_write_settings(tmp_path: Path) -> None:
    (tmp_path / "a\nspill = true\n[x]\n#.py").write_text("app = 1\n")
    (tmp_path / 'b"\nspill = true\n#.py').write_text(FASTAPI + "X = {}\ndef f(k):\n    X[k] = 1\n")
    project = look(tmp_path, main=FASTAPI)

    text = tomllib.loads(draft(project, Answers(app=project.apps[0], spill=False)))

    assert text["app"]["spill"] is False
    assert set(text) == {"app", "objective"}
