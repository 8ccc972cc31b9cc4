"""Which functions run while a request is answered, as far as it can be told: the others only set things up."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from peaker.project.code import Code
from peaker.project.module import FunctionCode, Module

_SETS_UP = (
    "__init__", "__init_subclass__", "__new__", "__post_init__", "__set_name__", "connect", "init_app", "lifespan",
    "ready", "setup", "startup",
)  # fmt: skip
_AT_START = ("lifespan", "on_startup", "on_shutdown", "startup")

Key = tuple[str, str]


class SetUp:
    """Functions that run at import or at the start, and in no other function."""

    def __init__(self, code: Code) -> None:
        self._at_start: set[Key] = set()
        at_import: set[Key] = set()
        in_functions: set[Key] = set()
        for module in code.modules.values():
            at_import.update(_called(code, module, module.at_import))
            at_import.update(_decorating(code, module))
            for function in module.functions:
                in_functions.update(_called(code, module, function.nodes))
                if any(_is_start_hook(decorator) for decorator in function.node.decorator_list):
                    self._at_start.add((module.path, function.name))
            self._at_start.update(_passed_as_start(code, module))
        self._at_import = at_import - in_functions

    def has(self, module: Module, function: FunctionCode) -> bool:
        """It runs before the first request."""
        key = (module.path, function.name)
        return key in self._at_start or key in self._at_import or function.node.name in _SETS_UP


def _called(code: Code, module: Module, nodes: Iterator[ast.AST] | tuple[ast.AST, ...]) -> Iterator[Key]:
    for node in nodes:
        if isinstance(node, ast.Call) and (key := code.key(module, module.dotted(node.func))) is not None:
            yield key


def _decorating(code: Code, module: Module) -> Iterator[Key]:
    """Functions of the project used as decorators: they are called when what they decorate is defined."""
    for function in module.functions:
        for decorator in function.node.decorator_list:
            node = decorator.func if isinstance(decorator, ast.Call) else decorator
            if (key := code.key(module, module.dotted(node))) is not None:
                yield key


def _is_start_hook(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = called.attr if isinstance(called, ast.Attribute) else ""
    return name in ("on_event", "before_serving", "before_first_request", "after_serving", "on_startup")


def _passed_as_start(code: Code, module: Module) -> Iterator[Key]:
    for node in module.nodes:
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg in _AT_START:
                values = keyword.value.elts if isinstance(keyword.value, ast.List) else [keyword.value]
                keys = (code.key(module, module.dotted(value)) for value in values)
                yield from (key for key in keys if key is not None)
