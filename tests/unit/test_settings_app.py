"""What the user declares, made ready: where the settings are found, the environment, functions, and the import."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peaker.app import (
    KEEP_ALIVE_S_DEFAULT,
    environment,
    find_settings,
    functions,
    load_web,
    pool_variables,
    worker_count,
)
from peaker.asgi import adapt_wsgi, is_asgi, load_target, stop_wsgi_threads
from peaker.errors import AppImportError, SettingsError
from peaker.settings import AppSection, FunctionSection, FunctionsSection, ResourceSection, ServersSection, Settings


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory imports start in, forgotten afterwards with all it gave."""
    modules, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def settings_for(directory: Path, **app: Any) -> Settings:
    return Settings(app=AppSection(**app), directory=str(directory))


def test_settings_are_found_in_the_working_directory_and_peaker_toml_comes_first(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.peaker.app]\nname = 'second'\n")
    with contextlib.chdir(tmp_path):
        assert find_settings(None).app.name == "second"
        (tmp_path / "peaker.toml").write_text("[app]\nname = 'first'\n")
        assert find_settings(None).app.name == "first"
        assert find_settings("pyproject.toml").app.name == "second"


def test_a_directory_without_settings_is_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"[project]\nname = '\xff'\n")
    with contextlib.chdir(tmp_path), pytest.raises(SettingsError, match=r"no peaker\.toml and no pyproject\.toml"):
        find_settings(None)


def test_the_environment_is_the_file_with_env_above_it(tmp_path: Path) -> None:
    lines = ["\ufeffA=1", "# note", "", "export B = two words ", "C='quo\"ted'", 'D="', "E=a=b", "F=", "G='x\""]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    settings = Settings(app=AppSection(env_file=".env"), env={"A": "over"}, directory=str(tmp_path))

    assert environment(settings) == {
        "A": "over", "B": "two words", "C": 'quo"ted', "D": '"', "E": "a=b", "F": "", "G": "'x\"",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["PASSWORD hunter2", "1A=hunter2", "=hunter2", "A B=hunter2"])
def test_a_wrong_line_of_env_file_is_told_by_its_number_and_never_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"A=1\n{line}\n", encoding="utf-8")

    with pytest.raises(SettingsError, match=r"\.env:2: not a line of the form NAME=value") as refused:
        environment(settings_for(tmp_path, env_file=".env"))
    assert "hunter2" not in str(refused.value)


def test_an_env_file_that_cannot_be_read_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.env: app.env_file cannot be read: No such file"):
        environment(settings_for(tmp_path, env_file="missing.env"))
    (tmp_path / "latin.env").write_bytes(b"A=\xe9\n")
    with pytest.raises(SettingsError, match=r"latin\.env: app.env_file is not UTF-8 at byte 2"):
        environment(settings_for(tmp_path, env_file="latin.env"))


def test_workers_and_instances_learn_the_size_of_their_connection_pools() -> None:
    database = ResourceSection(name="main-db", connections_max=80, per_worker=10, per_instance=1)
    settings = Settings(resource=(database,))

    assert pool_variables(settings, in_instance=False) == {"PEAKER_RESOURCE_MAIN_DB_POOL": "10"}
    assert pool_variables(settings, in_instance=True) == {"PEAKER_RESOURCE_MAIN_DB_POOL": "1"}


def test_every_function_has_its_defaults_filled_in_and_the_web_app_is_one_of_them() -> None:
    settings = Settings(
        app=AppSection(name="shop", web="shop:app", warm_up="/health"),
        functions=FunctionsSection(memory_mb=256, timeout_s=5, keep_alive_s="auto"),
        function=(FunctionSection(name="resize", handler="m:resize", timeout_s=60, keep_alive_s=1, buffer=2),),
    )

    web, resize = functions(settings)

    assert (web.name, web.web, web.target, web.warm_up) == ("shop-web", True, "shop:app", "/health")
    assert (web.memory_mb, web.timeout_s, web.keep_alive_s) == (256, 5, KEEP_ALIVE_S_DEFAULT)
    assert (resize.name, resize.web, resize.warm_up) == ("resize", False, "")
    assert (resize.memory_mb, resize.timeout_s, resize.keep_alive_s, resize.buffer) == (256, 60, 1, 2)


def test_a_function_may_not_take_the_name_of_the_web_app() -> None:
    settings = Settings(
        app=AppSection(name="shop", web="shop:app"), function=(FunctionSection(name="shop-web", handler="m:f"),)
    )

    with pytest.raises(SettingsError, match="'shop-web' is taken by the web app"):
        functions(settings)


def test_auto_workers_are_one_per_core_this_process_may_use() -> None:
    assert worker_count(Settings()) >= 1
    assert worker_count(Settings(servers=ServersSection(workers=3))) == 3


def test_a_target_may_be_an_attribute_of_an_attribute_or_a_factory(directory: Path) -> None:
    (directory / "declared.py").write_text(
        "class Shop:\n    app = 'app'\n    @staticmethod\n    def make():\n        return 'made'\n"
    )

    assert load_target("declared:Shop.app", str(directory)) == "app"
    assert load_target("declared:Shop.make()", str(directory)) == "made"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (
            "missing_module:app",
            "'missing_module:app' does not import: ModuleNotFoundError: No module named 'missing_module'",
        ),
        ("broken:nothing", "AttributeError: module 'broken' has no attribute 'nothing'"),
        ("broken:make()", "ValueError: no database"),
        ("unknown_import:app", "ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("wrong_syntax:app", "SyntaxError"),
        ("exits:app", "SystemExit: give a key"),
    ],
)
def test_an_import_that_fails_names_the_target_the_error_and_the_users_own_line(
    directory: Path, target: str, told: str
) -> None:
    (directory / "broken.py").write_text("def make():\n    raise ValueError('no database')\n")
    (directory / "unknown_import.py").write_text("import not_installed_anywhere\n")
    (directory / "wrong_syntax.py").write_text("def broken(:\n")
    (directory / "exits.py").write_text("import sys\nsys.exit('give a key')\n")

    with pytest.raises(AppImportError) as refused:
        load_target(target, str(directory))

    message = str(refused.value)
    assert target in message
    assert told in message
    assert f"Imports start in {directory}." in message
    if target == "broken:make()":
        assert f"{directory}/broken.py:2 raise ValueError('no database')" in message
    assert refused.value.__cause__ is not None


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("app = 7", "'web_target:app' is int, which cannot be called"),
        ("class app: ...", "Write 'web_target:app()' to make one"),
    ],
)
def test_what_is_no_application_is_refused(directory: Path, source: str, told: str) -> None:
    (directory / "web_target.py").write_text(source)

    with pytest.raises(AppImportError, match="web_target:app") as refused:
        load_web(settings_for(directory, web="web_target:app"))
    assert told in str(refused.value)


async def asgi_function(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi"})


def wsgi_function(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("content-type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


class AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_function(scope, receive, send)

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_function(scope, receive, send)

    async def configured(self, _prefix: str, scope: Any, receive: Any, send: Any) -> None:
        await asgi_function(scope, receive, send)


class WsgiObject:
    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return wsgi_function(environ, start_response)

    def method(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return wsgi_function(environ, start_response)


@functools.wraps(asgi_function)
def traced(*args: Any, **kwargs: Any) -> Any:
    """As tracing libraries wrap an app: a plain function that returns the coroutine."""
    return asgi_function(*args, **kwargs)


def plain_around_asgi(scope: Any, receive: Any, send: Any) -> Any:
    return asgi_function(scope, receive, send)


@pytest.mark.parametrize(
    "application",
    [
        asgi_function,
        AsgiObject(),
        AsgiObject().method,
        functools.partial(asgi_function),
        functools.partial(AsgiObject()),
        functools.partial(functools.partial(AsgiObject().configured, "p")),
        traced,
        plain_around_asgi,
    ],
)
def test_an_asgi_application_is_known_in_every_form(application: Any) -> None:
    assert is_asgi(application)


@pytest.mark.parametrize(
    "application",
    [
        wsgi_function,
        WsgiObject(),
        WsgiObject().method,
        functools.partial(wsgi_function),
        lambda _environ, _start: [],
        dict,
    ],
)
def test_everything_else_is_wsgi(application: Any) -> None:
    assert not is_asgi(application)


def test_a_wsgi_application_answers_as_asgi() -> None:
    async def answered() -> tuple[int, bytes]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        application = adapt_wsgi(wsgi_function, 1)
        scope = {
            "type": "http", "method": "GET", "path": "/a b", "raw_path": b"/a%20b", "query_string": b"", "headers": [],
            "http_version": "1.1", "scheme": "http", "client": None, "server": ("127.0.0.1", 80), "root_path": "",
        }  # fmt: skip
        await application(scope, receive, send)
        stop_wsgi_threads(application)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    assert asyncio.run(answered()) == (200, b"/a b")
