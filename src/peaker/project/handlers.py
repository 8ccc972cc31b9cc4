"""Lambda handlers: functions of (event, context), wherever there is no template that names them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from peaker.project.code import Code, name_from
from peaker.project.findings import Function
from peaker.project.module import FunctionCode, Module

_EVENT = ("event", "evt", "_event")
_CONTEXT = ("context", "_context", "ctx", "lambda_context", "_", "_ctx")
_PLAIN = ("handler", "lambda_handler", "main", "index", "app", "handle", "lambda_function")
_NAME_LENGTH_MAX = 64


def find_handlers(code: Code, taken: set[str]) -> list[Function]:
    """Handlers by module; `taken` are names no function may have."""
    names = set(taken)
    found = []
    for module in code.modules.values():
        root = code.import_root(module)
        for function in _handlers(module):
            name = function_name(_natural_name(module, function), names)
            names.add(name)
            handler = f"{name_from(module, root)}:{function.node.name}"
            line = function.node.lineno
            found.append(Function(name=name, handler=handler, path=module.path, line=line, import_root=root))
    return found


def _handlers(module: Module) -> Iterator[FunctionCode]:
    candidates = [function for function in module.functions if _is_handler(function)]
    named = [function for function in candidates if "handle" in function.node.name]
    # Beside a handler, others of this form are most often what it calls.
    yield from named or candidates


def _is_handler(function: FunctionCode) -> bool:
    arguments = function.node.args
    parameters = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    return (
        not function.class_name
        and not function.is_nested
        and not function.node.name.startswith("_")
        and len(parameters) == 2
        and parameters[0] in _EVENT
        and parameters[1] in _CONTEXT
    )


def _natural_name(module: Module, function: FunctionCode) -> str:
    """The function's own name, unless every handler is called that; then that of its file, or of the folder."""
    names = [function.node.name, *reversed(module.path.removesuffix(".py").split("/"))]
    return next((name for name in names if name not in (*_PLAIN, "__init__", "src")), function.node.name)


def function_name(wanted: str, taken: set[str]) -> str:
    """`wanted` as a name that Lambda and Peaker allow, with a number behind it where it is taken."""
    cleaned = re.sub(r"[^a-zA-Z0-9_-]+", "-", wanted).strip("-")
    cleaned = cleaned if cleaned[:1].isalpha() else f"f-{cleaned}"
    name, number = cleaned[:_NAME_LENGTH_MAX], 2
    while name in taken:
        name, number = f"{cleaned[: _NAME_LENGTH_MAX - 4]}-{number}", number + 1
    return name


def mangum_line(module: Module) -> int | None:
    """Where the module makes a Lambda handler of a web app, which Peaker does by itself."""
    for node in module.at_import:
        if module.called(node) in ("mangum.Mangum", "apig_wsgi.make_lambda_handler"):
            assert isinstance(node, ast.Call)
            return node.lineno
    return None
