"""Names of the environment variables that the code reads: a function has only those that are declared."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from peaker.project.module import Module

_GETTERS = ("os.getenv", "os.environ.get", "os.environ.pop", "os.environ.setdefault")
_MAPPINGS = ("os.environ",)
_LOADERS = ("dotenv.load_dotenv", "dotenv.main.load_dotenv", "environs.Env", "decouple.config", "environ.Env.read_env")
_SETTINGS_CLASSES = ("pydantic_settings.BaseSettings", "pydantic.BaseSettings")
_LAMBDA_SETS = ("AWS_", "LAMBDA_", "_HANDLER", "_X_AMZN", "PEAKER_")


def read_variables(module: Module) -> set[str]:
    """Those named by a text; what Lambda and Peaker set themselves is left out."""
    found = {name for node in module.nodes for name in _names(module, node)}
    return {name for name in found if name.isidentifier() and name.isascii() and not name.startswith(_LAMBDA_SETS)}


def loads_dotenv(module: Module) -> bool:
    """The code reads its .env by itself."""
    return any(module.called(node) in _LOADERS for node in module.nodes)


def _names(module: Module, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and module.called(node) in _GETTERS and node.args:
        yield from _text(node.args[0])
    elif isinstance(node, ast.Subscript) and module.dotted(node.value) in _MAPPINGS:
        yield from _text(node.slice)
    elif isinstance(node, ast.ClassDef) and any(module.dotted(base) in _SETTINGS_CLASSES for base in node.bases):
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                yield item.target.id.upper()


def _text(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
