"""What the user declares, made ready to use: the application object, functions with their defaults filled in."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peaker.asgi import WSGI_THREADS, ASGIApp, adapt_wsgi, is_asgi, load_callable
from peaker.cores import usable_cores
from peaker.errors import AppImportError, SettingsError
from peaker.settings import Settings, load_settings

WEB_FUNCTION = "web"
"""Name of the function that runs the web app above the servers; on the Invoke API it is APP-web."""

_OWN = (
    "memory_mb", "timeout_s", "concurrency_max", "keep_alive_s", "buffer", "layers", "retries_max", "event_age_s_max",
)  # fmt: skip
"""Settings that a function may have of its own."""

KEEP_ALIVE_S_DEFAULT = 600.0
"""What keep_alive_s = "auto" means until idle times have been learned: ten minutes, as public clouds were seen to do
("Serverless in the Wild", Shahrad et al., USENIX ATC 2020, section 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """One function with every default filled in; `web` tells that `target` is the web app, not a handler.

    `is_provided` tells that `command` is run and speaks the Runtime API; () stands for the file `bootstrap`. `layers`
    are folders, the last above the others. Where `is_keep_alive_learned`, `keep_alive_s` is what holds until then.
    """

    name: str
    target: str
    web: bool
    memory_mb: int
    timeout_s: float
    concurrency_max: int
    keep_alive_s: float
    buffer: int
    warm_up: str = ""
    is_provided: bool = False
    command: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    """Of this function alone."""
    is_keep_alive_learned: bool = False
    retries_max: int = 2
    event_age_s_max: float = 21_600.0
    on_success: str = ""
    on_failure: str = ""
    """Where the record of an event goes when it has ended: `function:NAME`, or "" for nowhere."""


def find_settings(explicit: str | None, stage: str = "") -> Settings:
    """Load the named file, or `peaker.toml`, or `pyproject.toml` of the working directory.

    Raises:
        SettingsError: there is none, or it is wrong.
    """
    if path := Path(explicit) if explicit else settings_file_here():
        return load_settings(path, stage)
    raise SettingsError(
        "no peaker.toml and no pyproject.toml with [tool.peaker] here.",
        where=str(Path.cwd()),
        remedy="`peaker init` writes one; or name it with --config.",
    )


def settings_file_here() -> Path | None:
    """`peaker.toml`, or a `pyproject.toml` that speaks of Peaker, in the working directory; None without one."""
    for name in ("peaker.toml", "pyproject.toml"):
        path = Path(name)
        if path.is_file() and (name == "peaker.toml" or b"[tool.peaker" in path.read_bytes()):
            return path
    return None


def functions(settings: Settings) -> tuple[FunctionSpec, ...]:
    """All functions of an app: the web app itself if there is one, then the declared handlers."""
    specs = []
    if settings.app.web:
        specs.append(_spec(settings, f"{settings.app.name}-{WEB_FUNCTION}", settings.app.web, web=True))
    for declared in settings.function:
        own = {key: value for key in _OWN if (value := getattr(declared, key)) is not None}
        own |= {"is_provided": declared.runtime == "provided", "command": tuple(declared.command)}
        own["variables"] = tuple(sorted(declared.env.items()))
        own |= {"on_success": declared.on_success, "on_failure": declared.on_failure}
        specs.append(_spec(settings, declared.name, declared.handler, web=False, **own))
    names = [spec.name for spec in specs] + [job.name for job in settings.job]
    if len(set(names)) < len(names):
        raise SettingsError(f"the name {names[0]!r} is taken by the web app.", remedy="Rename the function or job.")
    return tuple(specs)


def local_functions(settings: Settings) -> tuple[FunctionSpec, ...]:
    """Those the function host of this machine runs: the web app only where a request may go to a function here."""
    is_web_here = may_leave_servers(settings) and not settings.functions.arn
    return tuple(spec for spec in functions(settings) if is_web_here or not spec.web)


def needs_host(settings: Settings) -> bool:
    """Whether a function host runs here: for functions, or to take the events that start jobs."""
    return bool(settings.job or local_functions(settings))


def takes_events(settings: Settings) -> bool:
    """Whether there is anything that an event could be for: the web app's own function is run by requests alone."""
    return bool(settings.started)


def may_leave_servers(settings: Settings) -> bool:
    """Whether any request may go to a function: spilled, or on a route that is declared to run there."""
    return settings.app.spill or any(route.placement == "functions" for route in settings.route)


def _spec(settings: Settings, name: str, target: str, *, web: bool, **own: Any) -> FunctionSpec:
    defaults = settings.functions
    keep_alive_s = own.get("keep_alive_s", defaults.keep_alive_s)
    return FunctionSpec(
        name=name,
        target=target,
        web=web,
        memory_mb=own.get("memory_mb", defaults.memory_mb),
        timeout_s=own.get("timeout_s", defaults.timeout_s),
        concurrency_max=own.get("concurrency_max", defaults.concurrency_max),
        keep_alive_s=KEEP_ALIVE_S_DEFAULT if keep_alive_s == "auto" else keep_alive_s,
        buffer=own.get("buffer", defaults.buffer),
        warm_up=settings.app.warm_up if web else "",
        is_provided=own.get("is_provided", False),
        command=own.get("command", ()),
        layers=tuple(str(Path(settings.directory, layer)) for layer in own.get("layers", defaults.layers)),
        variables=own.get("variables", ()),
        retries_max=own.get("retries_max", settings.events.retries_max),
        event_age_s_max=own.get("event_age_s_max", settings.events.age_s_max),
        on_success=own.get("on_success", ""),
        on_failure=own.get("on_failure", ""),
        # Lambda promises nothing of the kind, so a host that is like it learns nothing.
        is_keep_alive_learned=keep_alive_s == "auto" and defaults.like == "local",
    )


def environment(settings: Settings) -> dict[str, str]:
    """The variables of env_file, then those of [env] above them.

    Raises:
        SettingsError: env_file cannot be read, or a line of it is not NAME=value.
    """
    if not settings.app.env_file:
        return dict(settings.env)
    path = Path(settings.directory, settings.app.env_file)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise SettingsError(f"app.env_file cannot be read: {error.strerror}.", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"app.env_file is not UTF-8 at byte {error.start}.", where=str(path)) from error
    variables: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        stripped = line.strip().removeprefix("export ")
        if stripped and not stripped.startswith("#"):
            name, value = _assignment(stripped, f"{path}:{number}")
            variables[name] = value
    return variables | settings.env


def _assignment(line: str, where: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not (name.isidentifier() and name.isascii()):
        # The line may hold a secret, so it is not shown.
        raise SettingsError("not a line of the form NAME=value.", where=where)
    is_quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return name, value[1:-1] if is_quoted else value


def pool_variables(settings: Settings, *, in_instance: bool) -> dict[str, str]:
    """`PEAKER_RESOURCE_<NAME>_POOL` for each resource: how many connections this worker or instance may open to it."""
    return {
        f"PEAKER_RESOURCE_{resource.name.upper().replace('-', '_')}_POOL": str(
            resource.per_instance if in_instance else resource.per_worker
        )
        for resource in settings.resource
    }


def worker_count(settings: Settings) -> int:
    """Workers of one server; "auto" is one per core this process may use."""
    workers = settings.servers.workers
    return usable_cores() if workers == "auto" else workers


def load_web(settings: Settings) -> ASGIApp:
    """The web app as ASGI; a WSGI app is adapted by a2wsgi.

    Raises:
        AppImportError: the target does not import, is not callable, or is a class.
    """
    application = load_callable(settings.app.web, settings.directory)
    if inspect.isclass(application):
        raise AppImportError(
            f"{settings.app.web!r} is a class, not an application.",
            remedy=f"Write {settings.app.web + '()'!r} to make one of it.",
        )
    return application if is_asgi(application) else adapt_wsgi(application, WSGI_THREADS)
