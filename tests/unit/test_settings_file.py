"""Reading a settings file: what is right is taken, what is wrong is refused with file, line, name, value and range."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from peaker.errors import SettingsError
from peaker.settings import Settings, load_settings, replaced

WHOLE = """\
[app]
name = "shop"
web = "shop.web:make()"
spill = true
trusted_proxies = ["10.0.0.0/8", "::1"]

[objective]
latency_p95_ms = 300

[servers]
workers = 4
in_flight_max = "auto"

[env]
LOG_LEVEL = "info"

[[resource]]
name = "db"
connections_max = 80

[[route]]
path = "/live/*"
placement = "servers"

[[route]]
path = "/"
latency_p95_ms = 100

[[function]]
name = "thumbnail"
handler = "shop.media:thumbnail"
memory_mb = 1024

[stage.prod.servers]
count_max = 4
[stage.prod.env]
LOG_LEVEL = "warning"
EXTRA = "1"
[[stage.small.route]]
path = "/only"
"""


def written(tmp_path: Path, text: str, name: str = "peaker.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str, stage: str = "", name: str = "peaker.toml") -> str:
    """What the user is told, without the directory."""
    path = written(tmp_path, text, name)
    with pytest.raises(SettingsError) as refused:
        load_settings(path, stage)
    return str(refused.value).replace(str(tmp_path) + "/", "")


def test_a_whole_file_is_read_with_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, WHOLE))

    assert (settings.app.name, settings.app.web, settings.app.spill) == ("shop", "shop.web:make()", True)
    assert settings.app.trusted_proxies == ["10.0.0.0/8", "::1"]
    assert (settings.objective.latency_p95_ms, settings.objective.spend_usd_per_day_max) == (300, None)
    assert (settings.servers.workers, settings.servers.in_flight_max, settings.servers.count_max) == (4, "auto", 1)
    assert [(route.path, route.placement) for route in settings.route] == [("/live/*", "servers"), ("/", "hybrid")]
    assert (settings.resource[0].per_worker, settings.function[0].memory_mb) == (1, 1024)
    assert settings.directory == str(tmp_path)


def test_settings_cannot_be_changed_after_they_are_loaded(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, WHOLE))

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.servers.workers = 8  # type: ignore[misc]


def test_a_stage_overlays_tables_key_by_key_and_replaces_repeated_sections(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)

    prod, small = load_settings(path, "prod"), load_settings(path, "small")

    assert (prod.servers.count_max, prod.servers.workers) == (4, 4)
    assert prod.env == {"LOG_LEVEL": "warning", "EXTRA": "1"}
    assert [route.path for route in small.route] == ["/only"]
    assert small.env == {"LOG_LEVEL": "info"}


def test_a_stage_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    assert refusal(tmp_path, WHOLE, "prd") == "peaker.toml: stage = 'prd' is not defined; there are: prod, small."
    assert "none are defined" in refusal(tmp_path, "[app]\n", "prod")


def test_pyproject_holds_the_same_under_tool_peaker(tmp_path: Path) -> None:
    text = "[project]\nname = 'x'\n" + "\n".join(
        line.replace("[[", "[[tool.peaker.").replace("[", "[tool.peaker.", 1)
        if line.startswith("[") and not line.startswith("[[")
        else line.replace("[[", "[[tool.peaker.")
        for line in WHOLE.splitlines()
    )

    assert load_settings(written(tmp_path, text, "pyproject.toml"), "prod") == load_settings(
        written(tmp_path, WHOLE), "prod"
    )
    assert refusal(tmp_path, "[project]\n", name="pyproject.toml") == "pyproject.toml: there is no [tool.peaker] table."
    broken = "[project]\nname = 'x'\n[tool.peaker.servers]\nworkers = 0\n"
    assert refusal(tmp_path, broken, name="pyproject.toml").startswith("pyproject.toml:4: servers.workers = 0")


def test_settings_survive_the_way_to_another_process(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, WHOLE), "prod")

    assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[app]\nweb = 'a:b'\n[server]\n", "peaker.toml:3: unknown section or key 'server'. Did you mean 'servers'?"),
        ("nmae = 'x'\n", "peaker.toml:1: unknown section or key 'nmae'. Known: app, aws, env, events, function"),
        ("[app]\n# a comment\nwbe = 'a:b'\n", "peaker.toml:3: unknown key 'wbe' in [app]. Did you mean 'web'?"),
        ("[servers]\nzzz = 1\n", "peaker.toml:2: unknown key 'zzz' in [servers]. Known: body_timeout_s"),
        ("[app]\n[app.extra]\na = 1\n", "peaker.toml:2: unknown key 'extra' in [app]."),
        ("[servers]\nworkers = 'four'\n", "peaker.toml:2: servers.workers = 'four' is not a whole number or \"auto\"."),
        ("[servers]\nworkers = 2.5\n", "peaker.toml:2: servers.workers = 2.5 is not a whole number"),
        ("[servers]\nworkers = true\n", "peaker.toml:2: servers.workers = True is not a whole number"),
        ("[app]\nspill = 1\n", "peaker.toml:2: app.spill = 1 is not true or false."),
        ("[app]\nname = 7\n", "peaker.toml:2: app.name = 7 is not text."),
        ("[app]\ntrusted_proxies = '::1'\n", "peaker.toml:2: app.trusted_proxies = '::1' is not a list."),
        ("[app]\ntrusted_proxies = [1]\n", "peaker.toml:2: app.trusted_proxies = [1] is not a list of texts."),
        (
            "[app]\ntrusted_proxies = ['::1', 'x']\n",
            "peaker.toml:2: app.trusted_proxies = ['::1', 'x'] is not allowed;",
        ),
        ("[functions]\nmemory_mb = 64\n", "memory_mb = 64 is not allowed; allowed: 128 to 10,240."),
        (
            "[functions]\ntimeout_s = 901\n",
            "timeout_s = 901 is not allowed; allowed: 0.1 to 900; what takes longer is no function",
        ),
        ("[objective]\nlatency_p95_ms = nan\n", "latency_p95_ms = nan is not allowed; allowed: 1 to 900,000."),
        ("[objective]\nspend_usd_per_day_max = inf\n", "spend_usd_per_day_max = inf is not allowed"),
        ("[functions]\nlike = 'lamda'\n", "like = 'lamda' is not allowed; allowed: local, lambda."),
        ("[app]\nname = '1st'\n", "app.name = '1st' is not allowed; allowed: a letter, then up to 63"),
        ("[app]\nweb = 'shop'\n", "app.web = 'shop' is not allowed; allowed: module:attribute, or module:factory()."),
        ("[app]\nwarm_up = 'health'\n", "app.warm_up = 'health' is not allowed; allowed: a path that begins with /."),
        ("[app]\nlisten = '127.0.0.1:65536'\n", "allowed: host:port with a port up to 65,535."),
        ("[app]\nlisten = 'localhost'\n", "app.listen = 'localhost' is not allowed; allowed: host:port"),
        (
            "[[route]]\npath = 'live'\n",
            "peaker.toml:2: route.path = 'live' is not allowed; allowed: a path that begins",
        ),
        (
            "[[route]]\npath = '/a/*/b'\n",
            "route.path = '/a/*/b' is not allowed; allowed: a path that begins with / and may",
        ),
        ("[[route]]\npath = '/'\nplacement = 'cloud'\n", "allowed: servers, functions, hybrid."),
        ("[[route]]\nplacement = 'servers'\n", "peaker.toml:1: [[route]] has no path."),
        ("[[function]]\nname = 'f'\nhandler = ''\n", "function.handler = '' is not allowed"),
        ("[[resource]]\nname = 'db'\n", "peaker.toml:1: [[resource]] has no connections_max."),
        ("[route]\npath = '/'\n", "peaker.toml:1: route is repeated: write [[route]]."),
        ("[[app]]\nname = 'x'\n", "peaker.toml:1: app is a table: write [app]."),
        ("app = 3\n", "peaker.toml:1: app is a table: write [app]."),
        ("route = [3]\n", "peaker.toml:1: route is a table: write [[route]]."),
        ("[env]\nN = 3\n", "peaker.toml:2: env.N = 3 is not text. Put it in quotes."),
        ("[env]\n'A=B' = ''\n", "peaker.toml:2: env.A=B is not the name of a variable."),
        ("env = 'x'\n", "peaker.toml:1: env is a table of NAME = value."),
        ("stage = 'prod'\n", "peaker.toml:1: stage is a table of tables: write [stage.NAME.SECTION]."),
        ("[stage]\nprod = 1\n", "peaker.toml:1: stage is a table of tables: write [stage.NAME.SECTION]."),
        ("[app]\nname = \n", "peaker.toml:2: not valid TOML: Invalid value (at line 2, column 8)."),
    ],
)
def test_what_is_wrong_is_told_by_file_line_name_value_and_range(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(tmp_path, text)


def test_the_line_is_that_of_the_repeated_section_which_is_wrong(tmp_path: Path) -> None:
    routes = "[[route]]\npath = '/a'\n[[route]]\npath = '/b'\nlatency_p95_ms = 0\n"

    assert refusal(tmp_path, routes).startswith("peaker.toml:5: route.latency_p95_ms = 0 is not allowed")
    twice = "[[route]]\npath = '/a'\n\n[[route]]\npath = '/a'\n"
    assert refusal(tmp_path, twice) == "peaker.toml:5: route.path = '/a' stands twice."


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\nservers.workers = 0\n", 2),
        ('[app]\n[servers] # the always-on side\n"workers" = 0\n', 3),
        ("servers = { count_min = 1, workers = 0 }\n", 1),
        ("[ servers ]\nqueue_max = 5\n  workers= 0\n", 3),
        ("[env]\nNOTE = '''\n[servers]\nworkers = 1\n'''\n[servers]\nworkers = 0\n", 7),
        ("[app]\ntrusted_proxies = [\n  '::1',\n]\n[servers]\nworkers = 0\n", 6),
    ],
)
def test_the_line_is_found_however_the_key_is_written(tmp_path: Path, text: str, line: int) -> None:
    assert refusal(tmp_path, text).startswith(f"peaker.toml:{line}: servers.workers = 0 ")


def test_a_mistake_in_a_stage_is_told_by_its_own_line_and_before_the_stage_is_used(tmp_path: Path) -> None:
    text = "[servers]\nworkers = 1\n[stage.prod.servers]\ncount_max = 2\nworkers = 0\n"

    for stage in ("", "prod"):
        assert refusal(tmp_path, text, stage).startswith("peaker.toml:5: servers.workers = 0 ")
    unknown = "[app]\n[stage.prod.app]\nwbe = 'x'\n"
    assert refusal(tmp_path, unknown).startswith("peaker.toml:3: unknown key 'wbe' in [app].")


def test_a_file_that_is_not_there_or_not_text_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"peaker.toml: .* cannot be read: No such file"):
        load_settings(tmp_path / "peaker.toml")
    (tmp_path / "peaker.toml").write_bytes(b"[app]\nname = '\xff'\n")
    with pytest.raises(SettingsError, match="not UTF-8 at byte 14"):
        load_settings(tmp_path / "peaker.toml")


@pytest.mark.parametrize(("directory", "name"), [("shop 2", "shop-2"), ("2shop", "app-2shop"), ("x" * 90, "x" * 64)])
def test_an_app_without_a_name_is_named_for_its_directory(tmp_path: Path, directory: str, name: str) -> None:
    (tmp_path / directory).mkdir()

    assert load_settings(written(tmp_path / directory, "")).app.name == name


def test_one_value_is_replaced_with_the_same_check_as_in_the_file() -> None:
    assert replaced(Settings(), "servers.workers", 3).servers.workers == 3
    with pytest.raises(SettingsError, match=r"--workers: servers\.workers = 0 is not allowed; allowed: 1 to 256"):
        replaced(Settings(), "servers.workers", 0, where="--workers")


def test_variables_of_a_function_stand_below_it_and_are_texts(tmp_path: Path) -> None:
    function = "[[function]]\nname = '{0}'\nhandler = 'm:{0}'\n"
    text = function.format("f") + "[function.env]\nA = '1'\n" + function.format("g")

    assert [one.env for one in load_settings(written(tmp_path, text)).function] == [{"A": "1"}, {}]
    told = refusal(tmp_path, text.replace("A = '1'", "A = 1\nB = 'quiet'"))
    assert told.startswith(
        "peaker.toml:4: function.env = {A, B} is not allowed; allowed: names of variables, each with"
    )
