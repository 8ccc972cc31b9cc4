"""Look at a project: read its files, find what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from peaker.errors import MissingExtraError
from peaker.project.apps import find_apps, remarks_on_servers
from peaker.project.at_import import import_signs
from peaker.project.code import Code
from peaker.project.files import Files, read_files
from peaker.project.findings import Function, Project, Sign, Template, WebApp
from peaker.project.handlers import find_handlers, mangum_line
from peaker.project.lasting import lasting_signs
from peaker.project.module import Module, parse
from peaker.project.routes import find_routes
from peaker.project.sam import read_template
from peaker.project.state import state_signs
from peaker.project.stores import store_signs
from peaker.project.template_text import TemplateError
from peaker.project.variables import loads_dotenv, read_variables
from peaker.project.when_run import SetUp
from peaker.settings import default_name

SIGNS_MAX = 1000


def look_at(directory: Path) -> Project:
    """Everything that was found; nothing is imported or run.

    Whatever cannot be read is named in `unread`, so that no sign there is not taken for a proof.
    """
    name = default_name(directory / "peaker.toml")
    files = read_files(directory)
    modules = _parsed(files)
    code = Code.of(modules)
    apps = find_apps(code)
    remarks = remarks_on_servers(code)
    taken = {f"{name}-web"}
    templates = _templates(files, code, taken, remarks)
    declared = {function.path for template in templates for function in template.functions}
    handlers = [found for found in find_handlers(code, taken) if found.path not in declared] if not declared else []
    served = _reached(code, apps, [*handlers, *(one for template in templates for one in template.functions)])
    signs, warm_up = _signs(code, served)
    if len(signs) > SIGNS_MAX:
        files.unread.append(f"more than {SIGNS_MAX} signs: the rest is not shown")
    looked = [code.modules[path] for path in sorted(served)]
    return Project(
        name=name,
        files=len(files.python),
        apps=tuple(apps),
        handlers=tuple(handlers),
        templates=tuple(templates),
        signs=tuple(signs[:SIGNS_MAX]),
        variables=tuple(sorted({variable for module in looked for variable in read_variables(module)})),
        warm_up=warm_up,
        has_dotenv=(directory / ".env").is_file(),
        loads_dotenv=any(loads_dotenv(module) for module in looked),
        unread=tuple(files.unread),
        remarks=tuple(remarks + [_adapter(module) for module in looked if mangum_line(module) is not None and apps]),
    )


def _parsed(files: Files) -> list[Module]:
    modules = []
    for path, text in files.python.items():
        module = parse(path, text)
        if isinstance(module, Module):
            modules.append(module)
        else:
            files.unread.append(module)
    return modules


def _templates(files: Files, code: Code, taken: set[str], remarks: list[str]) -> list[Template]:
    found = []
    for path, text in files.templates.items():
        try:
            found.append(read_template(path, text, code, taken))
        except (TemplateError, MissingExtraError) as error:
            remarks.append(f"{path} was not read: {error}")
    return found


def _reached(code: Code, apps: Iterable[WebApp], functions: Iterable[Function]) -> set[str]:
    """Modules of what is served. Django finds its own by name, so there it is all of them."""
    apps = list(apps)
    entries = [app.path for app in apps] + [function.path for function in functions]
    if not entries or any(app.framework == "Django" for app in apps):
        return {path for path in code.modules if "management/commands/" not in path}
    return code.reached_from(entries)


def _signs(code: Code, served: set[str]) -> tuple[list[Sign], str]:
    set_up, routes = SetUp(code), find_routes(code)
    found = list(state_signs(code, served, set_up))
    for path in sorted(served):
        module = code.modules[path]
        found += [*store_signs(module, set_up), *import_signs(module), *lasting_signs(module, routes, set_up)]
    distinct = {(sign.kind, sign.path, sign.line): sign for sign in reversed(found)}
    return sorted(distinct.values(), key=lambda sign: (sign.kind, sign.path, sign.line)), routes.warm_up


def _adapter(module: Module) -> str:
    return f"{module.path}:{mangum_line(module)} adapts the web app to Lambda; Peaker serves the app itself"
