"""The variables a function gets, and those it does not."""

from peaker.app import functions
from peaker.functions.function_environment import function_environment
from peaker.settings import FunctionSection, FunctionsSection, ResourceSection, Settings


def settings(like: str = "local") -> Settings:
    return Settings(
        functions=FunctionsSection(memory_mb=256, like=like),
        function=(FunctionSection(name="thumbnail", handler="media.work:thumbnail"),),
        resource=(ResourceSection(name="main-db", connections_max=80, per_worker=10, per_instance=2),),
        directory="/srv/app",
    )


def made(declared: dict[str, str] | None = None, like: str = "local") -> dict[str, str]:
    made_settings = settings(like)
    return function_environment(functions(made_settings)[0], made_settings, declared or {})


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


def test_like_lambda_runs_in_utc() -> None:
    assert made(like="lambda")["TZ"] == ":UTC"


def test_nothing_else_of_the_host_is_passed_on() -> None:
    known = {"HOME", "PATH", "LANG", "USER", "LOGNAME", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANGUAGE"}
    others = {
        name
        for name in made()
        if not name.startswith(("AWS_", "PEAKER_", "PYTHON", "LC_", "SSL_CERT_")) and not name.endswith("_NUM_THREADS")
    }
    assert others - known == {"LAMBDA_TASK_ROOT", "_HANDLER", "VECLIB_MAXIMUM_THREADS"}
