"""The first `peaker.toml` of a project: what was found, with comments that say why and where."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from peaker.project.findings import CONSEQUENCES, TITLES, Function, Kind, Project, Sign, WebApp

SIGNS_SHOWN_MAX = 12
"""Of one kind."""
_DATABASES = ("sqlalchemy", "sqlmodel", "psycopg", "mysql", "MySQL", "oracle", "pyodbc", "mongo")
_STAY = (Kind.STREAMING, Kind.BACKGROUND, Kind.TIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was asked, or taken as default; `env_file` is whether .env is read."""

    app: WebApp | None
    spill: bool
    env_file: bool = False


def draft(project: Project, answers: Answers) -> str:
    """A whole settings file."""
    parts = [
        [f"# Made by `peaker init` from {project.files} Python files, which it read and did not run."],
        _app(project, answers),
        _objective(),
        _functions(project),
        _environment(project, answers),
        _routes(project),
        _declared(project),
        _rest(project),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def all_functions(project: Project) -> list[Function]:
    """Those of the templates; where there is none, the handlers in the code."""
    return [*project.handlers, *(function for template in project.templates for function in template.functions)]


def sign_lines(project: Project, kinds: Iterable[Kind], indent: str) -> Iterator[str]:
    """The signs of each kind under its title, at most SIGNS_SHOWN_MAX of one."""
    for kind in kinds:
        signs = project.of(kind)
        if signs:
            yield f"{indent}{TITLES[kind]}; {CONSEQUENCES[kind]}:"
            yield from (f"{indent}  {one_line(sign.where)}  {one_line(sign.what)}" for sign in signs[:SIGNS_SHOWN_MAX])
            if len(signs) > SIGNS_SHOWN_MAX:
                yield f"{indent}  and {len(signs) - SIGNS_SHOWN_MAX} more"


def one_line(text: str) -> str:
    """Without line ends and control characters, which no comment may hold."""
    return "".join(" " if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter for letter in text)


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _app(project: Project, answers: Answers) -> list[str]:
    lines = ["[app]", f"name = {quoted(project.name)}"]
    app = answers.app
    if app is not None:
        place = f"  # {app.framework}, {one_line(app.path)}:{app.line}" if app.path else ""
        lines.append(f"web = {quoted(app.target)}{place}")
        others = [other for other in project.apps if other.target != app.target][:SIGNS_SHOWN_MAX]
        lines += [
            f"#   or: {quoted(other.target)}  {other.framework}, {one_line(other.path)}:{other.line}"
            for other in others
        ]
        lines += ["", *_spill(project, answers)]
        if project.warm_up:
            lines += [
                "",
                "# Answered once before instances are forked, so that each starts warm:",
            ]
            lines.append(f"# warm_up = {quoted(project.warm_up)}")
        lines.append('# listen = "127.0.0.1:8000"')
    if project.has_dotenv:
        lines.append(
            f"{'' if answers.env_file else '# '}env_file = {quoted('.env')}  # for servers and functions alike"
        )
    return lines


def _spill(project: Project, answers: Answers) -> list[str]:
    lines = [
        "# May two requests of one user be answered by two processes? Then requests may leave the servers at peaks."
    ]
    state = list(sign_lines(project, [Kind.STATE], "# "))
    if state:
        lines += ["# Signs that the answer is no:", *state]
    else:
        lines.append("# No sign of state in the process was found. That is no proof: code is read here, not run.")
    lines += [f"# Not looked at: {one_line(one)}" for one in project.unread[:SIGNS_SHOWN_MAX]]
    return [*lines, f"spill = {str(answers.spill).lower()}"]


def _objective() -> list[str]:
    return [
        "[objective]",
        "latency_p95_ms = 500            # 95 % of requests are answered within this time",
        "# spend_usd_per_day_max = 10.0  # functions stop when they have cost this much in a day",
        "",
        "# [servers]",
        "# count_min = 1",
        "# count_max = 1",
        '# workers = "auto"              # processes of a server; auto is one per core',
    ]


def _functions(project: Project) -> list[str]:
    template = next((one for one in project.templates if one.memory_mb or one.timeout_s), None)
    memory_mb, timeout_s = (template.memory_mb, template.timeout_s) if template else (None, None)
    lines = [f"{'' if memory_mb or timeout_s else '# '}[functions]"]
    lines.append(f"{'' if memory_mb else '# '}memory_mb = {memory_mb or 512}")
    lines.append(f"{'' if timeout_s else '# '}timeout_s = {timeout_s or 30}")
    lines.append('# like = "lambda"               # start times, CPU and limits as on Lambda, for a rehearsal')
    other = list(sign_lines(project, [Kind.CLIENT, Kind.THREAD], "# "))
    databases = [sign for sign in project.of(Kind.CLIENT) if any(name in sign.what for name in _DATABASES)][:1]
    if other:
        lines += ["", "# How instances start:", *other]
    return lines + (_resource(databases[0]) if databases else [])


def _resource(sign: Sign) -> list[str]:
    return [
        "",
        f"# What servers and functions share has a limit ({one_line(sign.where)}); declared, it cannot be exceeded:",
        "# [[resource]]",
        '# name = "db"',
        "# connections_max = 80",
        "# per_worker = 10",
        "# per_instance = 1",
    ]


def _environment(project: Project, answers: Answers) -> list[str]:
    roots = _import_roots(project, answers)
    env = {name: value for template in project.templates for name, value in template.env}
    lines = []
    missing = [name for name in project.variables if name not in env]
    if missing:
        lines.append("# The code reads these variables. Functions have only those of env_file, [env] and [secrets]:")
        lines += [f"#   {name}" for name in missing[: SIGNS_SHOWN_MAX * 2]]
    if roots:
        env["PYTHONPATH"] = ":".join(roots)
    lines += ["[env]"] if env else ["# [env]", '# LOG_LEVEL = "info"']
    for name, value in env.items():
        comment = "  # where imports of the code start" if name == "PYTHONPATH" and roots else ""
        lines.append(f"{name} = {quoted(value)}{comment}")
    return [
        *lines,
        "",
        "# [secrets]                      # read at start, shown nowhere",
        '# DATABASE_URL = "env:DATABASE_URL"',
    ]


def _import_roots(project: Project, answers: Answers) -> list[str]:
    roots = {function.import_root for function in all_functions(project)}
    roots.add(answers.app.import_root if answers.app is not None else "")
    return sorted(roots - {""})


def _routes(project: Project) -> list[str]:
    lines = list(sign_lines(project, [Kind.WEBSOCKET], "# "))
    signs = project.of(*_STAY)
    if signs:
        lines += ["# Requests that should stay on the servers:", *sign_lines(project, _STAY, "# ")]
    paths: dict[str, Sign] = {}
    for sign in signs:
        for route in sign.routes:
            paths.setdefault(route, sign)
    for path, sign in sorted(paths.items()):
        lines += ["", "[[route]]", f"path = {quoted(path)}", f'placement = "servers"  # {one_line(sign.what)}']
    if any(not sign.routes for sign in signs):
        lines += [
            "",
            "# Where the path is not known: ",
            "# [[route]]",
            '# path = "/reports/*"',
            '# placement = "servers"',
        ]
    return [line.rstrip() for line in lines]


def _declared(project: Project) -> list[str]:
    lines: list[str] = []
    for function in all_functions(project):
        place = f"  # {one_line(function.path)}:{function.line}" if function.path else ""
        lines += ["[[function]]", f"name = {quoted(function.name)}", f"handler = {quoted(function.handler)}{place}"]
        for key in ("memory_mb", "timeout_s", "concurrency_max", "buffer"):
            if (value := getattr(function, key)) is not None:
                lines.append(f"{key} = {value}")
        lines += [f"# {one_line(note)}" for note in function.notes]
        if function.env:
            lines += ["[function.env]", *(f"{name} = {quoted(value)}" for name, value in function.env)]
        for trigger in function.triggers:
            lines += ["[[function.on]]", *(f"{name} = {quoted(text)}" for name, text in trigger)]
        lines.append("")
    return lines[:-1]


def _rest(project: Project) -> list[str]:
    notes = [f"{template.path}: {note}" for template in project.templates for note in template.notes]
    lines = [f"# {one_line(note)}" for note in [*notes, *project.remarks]]
    return ["# Not carried over:", *lines] if lines else []
