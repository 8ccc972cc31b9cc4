"""A parsed module: what its names mean, what runs when it is imported, and what its functions call and change."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_LOOKED_FOR = (ast.Assign, ast.Call, ast.ClassDef, ast.Constant, ast.Dict, ast.Expr, ast.Import, ast.ImportFrom,
               ast.Subscript)  # fmt: skip
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True, eq=False)
class FunctionCode:
    """One function or method; `hidden` are names that are local to it or to a function around it."""

    node: FunctionNode
    hidden: frozenset[str]
    class_name: str = ""
    is_nested: bool = False
    nodes: tuple[ast.AST, ...] = field(default=(), repr=False)
    """What runs when it is called: without the functions inside it, which are functions of their own."""

    @property
    def name(self) -> str:
        """`Class.method` or the plain name."""
        return f"{self.class_name}.{self.node.name}" if self.class_name else self.node.name


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """`name` is what it is imported as from the project's directory."""

    path: str
    name: str
    tree: ast.Module
    imports: Mapping[str, str]
    functions: tuple[FunctionCode, ...]
    at_import: tuple[ast.AST, ...] = field(repr=False)
    nodes: tuple[ast.AST, ...] = field(repr=False)
    """All of the kinds that are looked for, gathered once: walking a tree takes longer than looking at it."""

    def dotted(self, node: ast.AST) -> str:
        """The full name an expression stands for: `redis.Redis`, or `shop.store.CACHE` of this module; else ""."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        first = self.imports.get(node.id, f"{self.name}.{node.id}" if self.name else node.id)
        return ".".join([first, *reversed(parts)])

    def called(self, node: ast.AST) -> str:
        """The full name of what a call calls; builtins have none of this module before them."""
        if not isinstance(node, ast.Call):
            return ""
        if isinstance(node.func, ast.Name) and node.func.id not in self.imports:
            return node.func.id
        return self.dotted(node.func)


def parse(path: str, text: str) -> Module | str:
    """The module, or in a few words why it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of the user's code: invalid escapes and the like.
            tree = ast.parse(text, path)
        name = module_name(path)
        return Module(
            path, name, tree, _imports(tree, name, is_package=path.endswith("__init__.py")),
            tuple(_functions(tree.body, frozenset())), tuple(_at_import(tree.body)),
            tuple(node for node in ast.walk(tree) if isinstance(node, _LOOKED_FOR)),
        )  # fmt: skip
    except SyntaxError as error:
        return f"{path}:{error.lineno or 1} is not Python {error.msg and f'({error.msg})'}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{path} cannot be parsed: {type(error).__name__}"


def module_name(path: str) -> str:
    """`shop/web.py` is `shop.web`, `shop/__init__.py` is `shop`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".").removesuffix("__init__")


def _imports(tree: ast.Module, name: str, *, is_package: bool) -> dict[str, str]:
    """Local names and what they stand for, wherever in the module they are imported."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if is_package else name.split(".")[:-1]
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                found[alias.asname or alias.name] = f"{base}.{alias.name}" if base else alias.name
    return found


def imported_names(module: Module) -> Iterator[str]:
    """Every name that is imported, as far as it is written."""
    yield from module.imports.values()
    for node in module.nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _functions(body: list[ast.stmt], hidden: frozenset[str], class_name: str = "") -> Iterator[FunctionCode]:
    for statement in body:
        for node in _outermost_definitions(statement):
            if isinstance(node, ast.ClassDef):
                yield from _functions(node.body, hidden, node.name)
            else:
                inner = hidden | _locals(node)
                nodes = tuple(below for item in node.body for below in _own(item))
                yield FunctionCode(node, inner, class_name, is_nested=bool(hidden), nodes=nodes)
                yield from _functions(node.body, inner | {node.name})


def _outermost_definitions(node: ast.AST) -> Iterator[ast.ClassDef | FunctionNode]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _outermost_definitions(child)


def _locals(function: FunctionNode) -> frozenset[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [one for one in (arguments.vararg, arguments.kwarg) if one]
    names = {argument.arg for argument in every}
    outside: set[str] = set()
    for statement in function.body:
        for node in _own(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
                names.add(node.id)
            elif isinstance(node, (ast.Global, ast.Nonlocal)):
                outside.update(node.names)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                names.add(node.name)
    return frozenset(names - outside)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is below it, but not the bodies of functions and classes in it."""
    if isinstance(node, (*_SCOPES, ast.ClassDef)):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _own(child)


def _at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """What runs when the module is imported: not function bodies, nor what is for `__main__` or type checkers alone."""
    for statement in body:
        if isinstance(statement, ast.If) and _is_not_imported(statement.test):
            yield from _at_import(statement.orelse)
        elif isinstance(statement, ast.ClassDef):
            yield from _expressions([*statement.decorator_list, *statement.bases])
            yield from _at_import(statement.body)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _expressions([*statement.decorator_list, *statement.args.defaults])
        elif isinstance(statement, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            yield from _compound(statement)
        else:
            yield from _own(statement)


def _compound(statement: ast.If | ast.Try | ast.With | ast.For | ast.While) -> Iterator[ast.AST]:
    if isinstance(statement, ast.With):
        yield from _expressions([item.context_expr for item in statement.items])
    elif isinstance(statement, (ast.If, ast.While)):
        yield from _own(statement.test)
    yield from _at_import(statement.body)
    for name in ("orelse", "finalbody"):
        yield from _at_import(getattr(statement, name, []))
    for handler in getattr(statement, "handlers", []):
        yield from _at_import(handler.body)


def _expressions(nodes: list[ast.expr]) -> Iterator[ast.AST]:
    for node in nodes:
        yield from _own(node)


def _is_not_imported(test: ast.expr) -> bool:
    text = written(test)
    return "__name__" in text or text.endswith("TYPE_CHECKING")


def written(node: ast.AST) -> str:
    """An expression as text; "" for one that is nested too deeply to be written by a person."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return ""
