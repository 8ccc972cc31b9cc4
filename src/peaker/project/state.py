"""Signs that something is kept in the process between requests: containers, counters, globals, objects, caches."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from peaker.project.code import Code
from peaker.project.findings import Kind, Sign
from peaker.project.module import FunctionCode, Module, written
from peaker.project.when_run import SetUp

_CONTAINERS = frozenset({
    "bytearray", "collections.Counter", "collections.OrderedDict", "collections.defaultdict", "collections.deque",
    "dict", "itertools.count", "list", "queue.Queue", "asyncio.Queue", "set", "weakref.WeakKeyDictionary",
    "weakref.WeakValueDictionary",
})  # fmt: skip
_CACHES = ("cachetools.", "expiringdict.", "cacheout.")
_DISPLAYS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
_CHANGES = frozenset({
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "insert",
    "intersection_update", "pop", "popitem", "popleft", "put", "put_nowait", "remove", "reverse", "rotate",
    "setdefault", "sort", "symmetric_difference_update", "update",
})  # fmt: skip
_MEMOIZERS = frozenset({
    "functools.lru_cache", "functools.cache", "cachetools.cached", "cachetools.func.ttl_cache",
    "cachetools.func.lru_cache", "async_lru.alru_cache", "aiocache.cached", "asyncache.cached",
})  # fmt: skip

Key = tuple[str, str]


def state_signs(code: Code, reached: set[str], set_up: SetUp) -> Iterator[Sign]:
    """Of the modules in `reached`; one sign a place."""
    kept = {key: line for path in code.modules for key, line in _containers(code.modules[path])}
    objects = _self_changing_objects(code)
    for path in sorted(reached):
        module = code.modules[path]
        for function in module.functions:
            yield from _memoized(module, function)
            if set_up.has(module, function):
                continue
            yield from _changes_of_containers(code, module, function, kept)
            yield from _rebound_globals(module, function)
            yield from _application_state(module, function)
        yield from _shared_objects(code, module, objects)


# Containers.


def _containers(module: Module) -> Iterator[tuple[Key, int]]:
    for node in module.tree.body:
        yield from _assigned_containers(module, node, "")
        if isinstance(node, ast.ClassDef) and not any(written(base).endswith(_MODELS) for base in node.bases):
            own = {f"{node.name}.{name}" for name in _set_by_init(node)}
            for item in node.body:
                found = _assigned_containers(module, item, f"{node.name}.")
                yield from ((key, line) for key, line in found if key[1] not in own)


_MODELS = ("BaseModel", "BaseSettings", "SQLModel")
"""Bases whose objects get copies of the containers that stand in the class."""


def _set_by_init(node: ast.ClassDef) -> set[str]:
    """Attributes that every object has for itself, whatever the class holds under that name."""
    starts = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    return {inner.attr for start in starts for inner in ast.walk(start)
            if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)}  # fmt: skip


def _assigned_containers(module: Module, node: ast.stmt, prefix: str) -> Iterator[tuple[Key, int]]:
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and _is_container(module, node.value):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                yield (module.path, prefix + target.id), node.lineno


def _is_container(module: Module, value: ast.expr) -> bool:
    called = module.called(value)
    return isinstance(value, _DISPLAYS) or called in _CONTAINERS or called.startswith(_CACHES)


def _changes_of_containers(code: Code, module: Module, function: FunctionCode, kept: dict[Key, int]) -> Iterator[Sign]:
    seen = set()
    for node in function.nodes:
        for target, deed in _changed(module, node):
            key = _key_of(code, module, function, target)
            if key in kept and key not in seen:
                seen.add(key)
                home = "" if key[0] == module.path else f" of {key[0]}"
                what = f"{function.name}() {deed} {key[1]}{home}, which is made once a process (line {kept[key]})"
                yield Sign(kind=Kind.STATE, path=module.path, line=getattr(node, "lineno", 1), what=what)


def _changed(module: Module, node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """What a node changes in place, and how that is said."""
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Subscript):
                yield _below_subscripts(target), "writes into"
            elif isinstance(node, ast.AugAssign):
                yield target, "changes"
    elif isinstance(node, ast.Delete):
        yield from (
            (_below_subscripts(target), "removes from") for target in node.targets if isinstance(target, ast.Subscript)
        )
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
            yield _below_subscripts(node.func.value), f"calls .{node.func.attr}() on"
        elif module.called(node) == "next" and node.args:
            yield node.args[0], "counts on with"


def _below_subscripts(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node


def _key_of(code: Code, module: Module, function: FunctionCode, target: ast.expr) -> Key | None:
    dotted = module.dotted(target)
    first = dotted and _first_name(target)
    if first in ("self", "cls") and function.class_name and isinstance(target, ast.Attribute):
        return module.path, f"{function.class_name}.{target.attr}"
    if not dotted or first in function.hidden:
        return None
    return code.key(module, dotted)


def _first_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


# Names and objects.


def _rebound_globals(module: Module, function: FunctionCode) -> Iterator[Sign]:
    for node in function.nodes:
        if isinstance(node, ast.Global):
            for name in node.names:
                line = _rebinding(function, name)
                if line is not None:
                    what = f"{function.name}() gives the global {name} a new value"
                    yield Sign(kind=Kind.STATE, path=module.path, line=line, what=what)


def _rebinding(function: FunctionCode, name: str) -> int | None:
    """The line on which a global is set anew; None where that happens but once, under `if name is None`."""
    once = {id(inner) for node in function.nodes if isinstance(node, ast.If) and _asks_for_none(node.test, name)
            for inner in ast.walk(node)}  # fmt: skip
    for node in function.nodes:
        is_set = isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        if is_set and id(node) not in once:
            assert isinstance(node, ast.Name)
            return node.lineno
    return None


def _asks_for_none(test: ast.expr, name: str) -> bool:
    return written(test) in (f"{name} is None", f"not {name}")


def _self_changing_objects(code: Code) -> dict[Key, tuple[str, int]]:
    """Classes with a method that changes its object after it was made: the method and its line."""
    found: dict[Key, tuple[str, int]] = {}
    for module in code.modules.values():
        for function in module.functions:
            is_set_up = function.node.name.startswith("__") or function.node.name in ("init_app", "connect", "setup")
            if not function.class_name or function.is_nested or is_set_up:
                continue
            line = next(_changes_of_self(module, function), None)
            if line is not None:
                found.setdefault((module.path, function.class_name), (function.node.name, line))
    return found


def _changes_of_self(module: Module, function: FunctionCode) -> Iterator[int]:
    lazily = {id(inner) for node in function.nodes
              if isinstance(node, ast.If) and written(node.test).startswith(("self.", "not self."))
              and written(node.test).endswith(("is None", *_attributes_asked(node.test)))
              for inner in ast.walk(node)}  # fmt: skip
    for node in function.nodes:
        targets = [target for target, _ in _changed(module, node)]
        if isinstance(node, ast.Assign):
            targets += [target for target in node.targets if isinstance(target, ast.Attribute)]
        for target in targets:
            if isinstance(target, ast.Attribute) and _first_name(target) == "self" and id(node) not in lazily:
                yield getattr(node, "lineno", function.node.lineno)


def _attributes_asked(test: ast.expr) -> tuple[str, ...]:
    inner = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else None
    return (inner.attr,) if isinstance(inner, ast.Attribute) else ()


def _shared_objects(code: Code, module: Module, objects: dict[Key, tuple[str, int]]) -> Iterator[Sign]:
    for node in module.tree.body:
        if not (isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call)):
            continue
        key = code.key(module, module.dotted(node.value.func))
        if key in objects:
            method, line = objects[key]
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            what = f"{written(target)} is one object a process, and {key[1]}.{method}() changes it ({key[0]}:{line})"
            yield Sign(kind=Kind.STATE, path=module.path, line=node.lineno, what=what)


def _application_state(module: Module, function: FunctionCode) -> Iterator[Sign]:
    """Changes of `app.state.x`; what a start hook puts there is not looked at."""
    for node in function.nodes:
        targets = [target for target, _ in _changed(module, node)]
        if isinstance(node, ast.Assign):
            targets += node.targets
        for target in targets:
            place = written(target) if isinstance(target, ast.Attribute) else ""
            if place.startswith("app.state.") or ".app.state." in place:
                what = f"{function.name}() changes {place}, which each process has for itself"
                yield Sign(kind=Kind.STATE, path=module.path, line=target.lineno, what=what)
                break


def _memoized(module: Module, function: FunctionCode) -> Iterator[Sign]:
    arguments = function.node.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    parameters = [one for one in parameters if one.arg not in ("self", "cls")]
    if not (parameters or arguments.vararg or arguments.kwarg):
        return  # It has one answer: settings, a client.
    for decorator in function.node.decorator_list:
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        if (name := module.dotted(node)) in _MEMOIZERS:
            what = f"{function.name}() is remembered by its arguments ({name.rpartition('.')[2]}), in each process"
            yield Sign(kind=Kind.STATE, path=module.path, line=decorator.lineno, what=what)
