"""Functions of a SAM (or plain CloudFormation) template, and in words what of it cannot be carried over."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from peaker.project.code import Code
from peaker.project.findings import Function, Template
from peaker.project.handlers import function_name, mangum_line
from peaker.project.module import Module
from peaker.project.sam_events import schedule_of
from peaker.project.template_text import Intrinsic, template_document

_SAM, _PLAIN = "AWS::Serverless::Function", "AWS::Lambda::Function"
_SECRET = re.compile(r"PASS(WORD|WD)?|SECRET|TOKEN|API_?KEY|PRIVATE|CREDENTIAL", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CARRIED = frozenset({
    "Architectures", "Code", "CodeUri", "Description", "Environment", "Events", "FunctionName", "Handler", "Layers",
    "MemorySize", "PackageType", "ProvisionedConcurrencyConfig", "ReservedConcurrentExecutions", "Runtime", "Tags",
    "Timeout",
})  # fmt: skip

Table = Mapping[str, Any]


def read_template(path: str, text: str, code: Code, taken: set[str]) -> Template:
    """What it says; `taken` are names no function may have.

    Raises:
        TemplateError: it cannot be read.
        MissingExtraError: PyYAML is needed and not there.
    """
    document = template_document(path, text)
    resources = {
        str(name): found for name, found in _table(document.get("Resources")).items() if isinstance(found, dict)
    }
    defaults = _table(_table(document.get("Globals")).get("Function"))
    notes: list[str] = []
    env = tuple(_variables(_table(_table(defaults.get("Environment")).get("Variables")), "Globals", notes))
    names, functions = set(taken), []
    for logical, resource in resources.items():
        if resource.get("Type") in (_SAM, _PLAIN):
            try:
                functions.append(_function(logical, resource, defaults, code, names))
            except _NotCarriedOver as reason:
                notes.append(f"{logical}: {reason}")
            else:
                names.add(functions[-1].name)
    notes += _same_modules(functions, code)
    others = Counter(str(one.get("Type")) for one in resources.values() if one.get("Type") not in (_SAM, _PLAIN))
    if others:
        notes.append(
            "resources that stay on AWS: " + ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        )
    memory, timeout = _number(defaults, "MemorySize", 128, 10_240), _number(defaults, "Timeout", 1, 900)
    return Template(
        path=path, functions=tuple(functions), env=env, memory_mb=memory, timeout_s=timeout, notes=tuple(notes)
    )


class _NotCarriedOver(Exception):  # noqa: N818 - named for the outcome
    """A function of the template that cannot become one here; says why."""


def _function(logical: str, resource: Table, defaults: Table, code: Code, names: set[str]) -> Function:
    own = _table(resource.get("Properties"))
    said = {**defaults, **own}
    _require_python_in_files(said)
    handler = _handler(resource, said, code)
    module = code.modules[f"{handler.rpartition('.')[0]}.py"]
    if (line := mangum_line(module)) is not None and _is_made_by_adapter(handler, module.path, code):
        raise _NotCarriedOver(f"{module.path}:{line} is the web app behind an adapter; Peaker serves the app itself")
    notes: list[str] = []
    env = tuple(_variables(_table(_table(own.get("Environment")).get("Variables")), "Environment", notes))
    notes += _left_behind(said, own)
    named = said.get("FunctionName")
    provisioned = _table(said.get("ProvisionedConcurrencyConfig"))
    return Function(
        name=function_name(named if isinstance(named, str) else logical, names),
        handler=handler,
        path=module.path,
        line=_line_of(module, handler.rpartition(".")[2]),
        memory_mb=_number(own, "MemorySize", 128, 10_240),
        timeout_s=_number(own, "Timeout", 1, 900),
        concurrency_max=_number(said, "ReservedConcurrentExecutions", 1, 10_000),
        buffer=_number(provisioned, "ProvisionedConcurrentExecutions", 1, 10_000),
        env=env,
        import_root=code.import_root(module),
        triggers=tuple(trigger for event in _table(said.get("Events")).values() if (trigger := schedule_of(event))),
        notes=tuple(notes),
    )


def _line_of(module: Module, name: str) -> int:
    return next((function.node.lineno for function in module.functions if function.name == name), 1)


def _require_python_in_files(said: Table) -> None:
    if said.get("PackageType") == "Image":
        raise _NotCarriedOver("it is a container image; Peaker runs handlers from the code")
    if "InlineCode" in said or "ZipFile" in _table(said.get("Code")):
        raise _NotCarriedOver("its code stands in the template; put it into a file")
    runtime = said.get("Runtime")
    if isinstance(runtime, str) and not runtime.startswith("python"):
        raise _NotCarriedOver(f'its runtime is {runtime}: see runtime = "provided" (docs/how-to/other-runtimes.md)')


def _handler(resource: Table, said: Table, code: Code) -> str:
    """`folder/module.function` from the project's directory."""
    handler = said.get("Handler")
    if not isinstance(handler, str):
        raise _NotCarriedOver("its handler is only known when it is deployed" if handler else "it names no handler")
    place = said.get("CodeUri", said.get("Code", _table(resource.get("Metadata")).get("aws:asset:path", ".")))
    if not isinstance(place, str) or "://" in place:
        raise _NotCarriedOver("its code is not in this project")
    stem, _, attribute = posixpath.normpath(posixpath.join(place, handler.replace(":", "."))).rpartition(".")
    if f"{stem}.py" not in code.modules:  # pkg.module.function is allowed on Lambda too.
        folder, _, name = stem.rpartition("/")
        stem = posixpath.join(folder, name.replace(".", "/"))
    if f"{stem}.py" not in code.modules:
        raise _NotCarriedOver(f"there is no {stem}.py in this project")
    if not re.fullmatch(r"[\w/-]+\.\w+", f"{stem}.{attribute}"):
        raise _NotCarriedOver(f"{stem}.{attribute} cannot be imported by that name")
    return f"{stem}.{attribute}"


def _is_made_by_adapter(handler: str, path: str, code: Code) -> bool:
    attribute = handler.rpartition(".")[2]
    return all(function.name != attribute for function in code.modules[path].functions)


def _variables(table: Table, place: str, notes: list[str]) -> Iterator[tuple[str, str]]:
    """Those that are literals and not secret; the others are noted by name."""
    for name, value in table.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            notes.append(f"{place}: a variable whose name is not letters, digits and _")
        elif isinstance(value, (Intrinsic, dict, list)) or value is None:
            written = value.text if isinstance(value, Intrinsic) else "not a literal"
            notes.append(
                f"{place}: {name} = {written} is only known when it is deployed; put it into [env] or [secrets]"
            )
        elif _SECRET.search(name):
            notes.append(
                f'{place}: {name} looks like a secret, so its value was not copied; [secrets] {name} = "env:{name}"'
            )
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _left_behind(said: Table, own: Table) -> Iterator[str]:
    for name, event in _table(said.get("Events")).items():
        if schedule_of(event):
            continue
        properties = _table(_table(event).get("Properties"))
        details = [
            str(properties[key])
            for key in ("Method", "Path", "Schedule")
            if isinstance(properties.get(key), (str, int))
        ]
        kind = _table(event).get("Type", "event")
        yield f"event {name}: {' '.join([str(kind), *details])}; see [[function.on]]"
    for layer in said.get("Layers", []) if isinstance(said.get("Layers"), list) else []:
        yield f"layer {layer.text if isinstance(layer, Intrinsic) else layer}: name its folder in layers"
    for key in ("MemorySize", "Timeout", "ReservedConcurrentExecutions"):
        if isinstance(own.get(key), Intrinsic):
            yield f"{key} = {own[key].text} is only known when it is deployed"
    rest = sorted(str(key) for key in own if key not in _CARRIED)
    if rest:
        yield f"not carried over: {', '.join(rest)}"


def _same_modules(functions: list[Function], code: Code) -> Iterator[str]:
    """Modules that two functions import by one name from folders of their own; in one project they are mixed up."""
    homes: dict[str, set[str]] = {}
    for function in functions:
        if function.import_root:
            begin = f"{function.import_root}/"
            for path in code.modules:
                if path.startswith(begin) and path != function.path:
                    homes.setdefault(path.removeprefix(begin).partition("/")[0], set()).add(function.import_root)
    for name, roots in sorted(homes.items()):
        if len(roots) > 1 and name != "__init__.py":
            yield f"{' and '.join(sorted(roots))} both have {name}: imports find that of the first; rename one"


def _number(table: Table, key: str, low: int, high: int) -> int | None:
    value = table.get(key)
    is_number = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return value if is_number else None


def _table(value: Any) -> Table:
    return value if isinstance(value, dict) else {}
