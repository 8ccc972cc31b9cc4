"""The variables a function gets, and those it does not."""

import dataclasses
import os
import sys
from typing import Any

from peaker.app import functions
from peaker.functions.function_environment import function_environment
from peaker.settings import AppSection, FunctionSection, FunctionsSection, ResourceSection, Settings


def settings(like: str = "local", **section: Any) -> Settings:
    return Settings(
        app=AppSection(web="shop:app", spill=True),
        functions=FunctionsSection(memory_mb=256, like=like, **section),
        function=(FunctionSection(name="thumbnail", handler="media.work:thumbnail"),),
        resource=(ResourceSection(name="main-db", connections_max=80, per_worker=10, per_instance=2),),
        directory="/srv/app",
    )


def made(
    declared: dict[str, str] | None = None, like: str = "local", *, web: bool = False, **more: Any
) -> dict[str, str]:
    made_settings = settings(like, **more)
    spec = next(spec for spec in functions(made_settings) if spec.web is web)
    return function_environment(spec, made_settings, declared or {})


def test_lambdas_own_variables_are_set() -> None:
    variables = made()
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "thumbnail"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert variables["LAMBDA_TASK_ROOT"] == "/srv/app"
    assert variables["_HANDLER"] == "media.work.thumbnail"
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "us-east-1"


def test_an_instance_learns_its_share_of_a_resource() -> None:
    assert made()["PEAKER_RESOURCE_MAIN_DB_POOL"] == "2"


def test_what_is_declared_stands_above_the_hosts_but_not_above_lambdas() -> None:
    variables = made(
        {"TZ": "Europe/Oslo", "PATH": "/bin", "AWS_LAMBDA_FUNCTION_NAME": "other", "AWS_REGION": "eu-north-1"}
    )
    assert (variables["TZ"], variables["PATH"]) == ("Europe/Oslo", "/bin")
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "thumbnail"
    assert variables["AWS_DEFAULT_REGION"] == "eu-north-1"


def test_handlers_run_in_utc_and_web_apps_as_on_the_servers_unless_like_lambda() -> None:
    assert (made()["TZ"], made()["LANG"]) == (":UTC", "en_US.UTF-8")
    assert made(web=True).get("TZ") == os.environ.get("TZ")
    assert made(web=True, like="lambda")["TZ"] == ":UTC"


def test_the_runtime_is_named_with_its_version() -> None:
    assert made()["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python3.{sys.version_info.minor}"


def test_log_format_and_level_are_told_as_lambda_tells_them() -> None:
    assert made()["AWS_LAMBDA_LOG_FORMAT"] == "Text"
    assert "AWS_LAMBDA_LOG_LEVEL" not in made()
    told = made(log_format="json", log_level="DEBUG")
    assert (told["AWS_LAMBDA_LOG_FORMAT"], told["AWS_LAMBDA_LOG_LEVEL"]) == ("JSON", "DEBUG")


def test_tracing_libraries_may_be_told_to_keep_quiet() -> None:
    assert made()["AWS_XRAY_CONTEXT_MISSING"] == "LOG_ERROR"
    assert made({"AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR"})["AWS_XRAY_CONTEXT_MISSING"] == "IGNORE_ERROR"


def test_nothing_else_of_the_host_is_passed_on() -> None:
    known = {"HOME", "PATH", "LANG", "USER", "LOGNAME", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANGUAGE"}
    others = {
        name
        for name in made()
        if not name.startswith(("AWS_", "PEAKER_", "PYTHON", "LC_", "SSL_CERT_")) and not name.endswith("_NUM_THREADS")
    }
    assert others - known == {"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_HANDLER", "VECLIB_MAXIMUM_THREADS"}


def test_variables_of_one_function_are_above_those_of_all() -> None:
    both = settings()
    one = dataclasses.replace(both.function[0], env={"LEVEL": "debug"})
    spec = functions(dataclasses.replace(both, function=(one,)))[-1]

    assert function_environment(spec, both, {"LEVEL": "info"})["LEVEL"] == "debug"
    assert made({"LEVEL": "info"})["LEVEL"] == "info"
