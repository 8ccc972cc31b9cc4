"""Which paths of the web app a function answers, as far as they are written out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from peaker.project.code import Code
from peaker.project.module import FunctionCode, Module

METHODS = frozenset({
    "get", "post", "put", "patch", "delete", "head", "options", "route", "api_route", "websocket", "websocket_route",
})  # fmt: skip
_ROUTE_CLASSES = ("starlette.routing.Route", "starlette.routing.WebSocketRoute", "fastapi.routing.APIRoute")
_WITH_PREFIX = {"fastapi.APIRouter": "prefix", "fastapi.routing.APIRouter": "prefix", "flask.Blueprint": "url_prefix"}
_INCLUDES = {"include_router": "prefix", "register_blueprint": "url_prefix"}
_DEPTH_MAX = 5
_WARM_UP_PATHS = (
    "/health",
    "/healthz",
    "/healthcheck",
    "/health-check",
    "/ping",
    "/live",
    "/ready",
    "/readyz",
    "/livez",
)

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Routes:
    """Paths by (module, function); only those without parameters and whose prefixes are all known."""

    paths: dict[Key, tuple[str, ...]]
    handlers: frozenset[Key]
    """Functions that answer requests, whether or not their path is known."""
    warm_up: str

    def of(self, module: Module, function: FunctionCode) -> tuple[str, ...]:
        """The paths a function answers."""
        return self.paths.get((module.path, function.name), ())


def find_routes(code: Code) -> Routes:
    """All that are declared by a decorator or as a Route."""
    prefixes = _Prefixes(code)
    paths: dict[Key, list[str]] = {}
    handlers: set[Key] = set()
    gets: set[str] = set()
    for module in code.modules.values():
        for key, owner, path, is_get in [*_decorated(code, module), *_route_objects(code, module)]:
            handlers.add(key)
            prefix = prefixes.of(owner) if owner else ""
            if prefix is not None and re.fullmatch(r"/[^\s*{}<>]*", prefix + path):
                paths.setdefault(key, []).append(prefix + path)
                gets.update([prefix + path] if is_get else [])
    warm_up = next((path for path in _WARM_UP_PATHS if path in gets), "")
    return Routes({key: tuple(dict.fromkeys(found)) for key, found in paths.items()}, frozenset(handlers), warm_up)


def _decorated(code: Code, module: Module) -> Iterator[tuple[Key, Key | None, str, bool]]:
    for function in module.functions:
        for decorator in function.node.decorator_list:
            is_route = (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Attribute)
                and decorator.func.attr in METHODS
            )
            if not is_route:
                continue
            assert isinstance(decorator, ast.Call)
            assert isinstance(decorator.func, ast.Attribute)
            path = _text(decorator.args[0]) if decorator.args else None
            dotted = module.dotted(decorator.func.value)
            owner = code.key(module, dotted) or (module.path, dotted.rpartition(".")[2])
            # Without a text the path is unknown; so is that of an owner which is no name.
            written = path if path is not None and dotted else "*"
            is_get = decorator.func.attr in ("get", "route", "api_route")
            yield (module.path, function.name), owner, written, is_get


def _route_objects(code: Code, module: Module) -> Iterator[tuple[Key, Key | None, str, bool]]:
    nested = {id(inner) for node in module.nodes if module.called(node) == "starlette.routing.Mount"
              for inner in ast.walk(node) if inner is not node}  # fmt: skip
    for node in module.nodes:
        if not (isinstance(node, ast.Call) and module.called(node) in _ROUTE_CLASSES and len(node.args) >= 2):
            continue
        key = code.key(module, module.dotted(node.args[1]))
        if key is not None:
            path = _text(node.args[0]) if id(node) not in nested else None
            yield key, None, path if path is not None else "*", module.called(node).endswith(".Route")


class _Prefixes:
    """What stands before the paths of a router or blueprint: its own prefix, and that of whoever includes it."""

    def __init__(self, code: Code) -> None:
        self._own: dict[Key, str | None] = {}
        self._included: dict[Key, list[tuple[Key, str | None, bool]]] = {}
        for module in code.modules.values():
            for node in module.nodes:
                self._note_definition(module, node)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    self._note_inclusion(code, module, node, node.func)

    def _note_definition(self, module: Module, node: ast.AST) -> None:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            keyword = _WITH_PREFIX.get(module.called(node.value))
            if keyword is not None:
                self._own[module.path, node.targets[0].id] = _keyword(node.value, keyword)

    def _note_inclusion(self, code: Code, module: Module, node: ast.Call, func: ast.Attribute) -> None:
        keyword = _INCLUDES.get(func.attr)
        is_mount = func.attr == "mount" and len(node.args) >= 2
        if (keyword is None and not is_mount) or not node.args:
            return
        included = code.key(module, module.dotted(node.args[1 if is_mount else 0]))
        dotted = module.dotted(func.value)
        if included is not None:
            owner = code.key(module, dotted) or (module.path, dotted.rpartition(".")[2])
            prefix = _text(node.args[0]) if is_mount else _keyword(node, keyword or "")
            # Flask's url_prefix of a registration stands instead of the blueprint's own.
            replaces = keyword == "url_prefix" and any(one.arg == keyword for one in node.keywords)
            self._included.setdefault(included, []).append((owner, prefix, replaces))

    def of(self, key: Key, depth: int = 0) -> str | None:
        """The whole prefix; None where it is not known, or where there is more than one."""
        own = self._own.get(key, "")
        inclusions = self._included.get(key, [])
        if own is None or len(inclusions) > 1 or depth > _DEPTH_MAX:
            return None
        if not inclusions:
            return own if key not in self._own else None
        owner, prefix, replaces = inclusions[0]
        above = self.of(owner, depth + 1)
        return None if above is None or prefix is None else above + prefix + ("" if replaces else own)


def _keyword(call: ast.Call, name: str) -> str | None:
    value = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return "" if value is None else _text(value)


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
