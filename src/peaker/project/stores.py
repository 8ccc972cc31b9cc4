"""Signs of state outside Python's own objects: sessions and caches in memory, SQLite, local files that are written."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from peaker.project.findings import Kind, Sign
from peaker.project.module import FunctionCode, Module
from peaker.project.when_run import SetUp

_TEXTS = {
    "django.contrib.sessions.backends.file": "sessions are kept in local files",
    "django.core.cache.backends.locmem.LocMemCache": "the cache is kept in the process",
    "django.core.cache.backends.filebased.FileBasedCache": "the cache is kept in local files",
    "django.db.backends.sqlite3": "the database is SQLite, a local file",
    "django.contrib.gis.db.backends.spatialite": "the database is SQLite, a local file",
    "channels.layers.InMemoryChannelLayer": "the channel layer is kept in the process",
}
_SETTINGS = {
    ("SESSION_TYPE", "filesystem"): "sessions are kept in local files",
    ("SESSION_TYPE", "cachelib"): "sessions are kept where only this machine sees them",
    ("CACHE_TYPE", "SimpleCache"): "the cache is kept in the process",
    ("CACHE_TYPE", "simple"): "the cache is kept in the process",
    ("CACHE_TYPE", "FileSystemCache"): "the cache is kept in local files",
}
_CALLS = {
    "sqlite3.connect": "uses SQLite, a local file", "aiosqlite.connect": "uses SQLite, a local file",
    "apsw.Connection": "uses SQLite, a local file", "peewee.SqliteDatabase": "uses SQLite, a local file",
    "tinydb.TinyDB": "uses TinyDB, a local file", "shelve.open": "uses a shelf, a local file",
    "dbm.open": "uses dbm, a local file", "diskcache.Cache": "keeps a cache in local files",
    "fastapi_cache.backends.inmemory.InMemoryBackend": "keeps a cache in the process",
    "aiocache.SimpleMemoryCache": "keeps a cache in the process",
    "starsessions.InMemoryStore": "keeps sessions in the process",
    "starsessions.stores.memory.InMemoryStore": "keeps sessions in the process",
    "langgraph.checkpoint.memory.MemorySaver": "keeps conversations in the process",
    "langgraph.checkpoint.memory.InMemorySaver": "keeps conversations in the process",
    "prometheus_client.Counter": "counts in the process",
    "prometheus_client.Gauge": "counts in the process",
    "prometheus_client.Histogram": "counts in the process",
}  # fmt: skip
_LIMITERS = {"slowapi.Limiter": "storage_uri", "flask_limiter.Limiter": "storage_uri"}
_FILE_CALLS = (
    "shutil.copy",
    "shutil.copy2",
    "shutil.copyfile",
    "shutil.copyfileobj",
    "shutil.move",
    "os.rename",
    "os.replace",
)
_PATH_WRITES = ("write_text", "write_bytes")


def store_signs(module: Module, set_up: SetUp) -> Iterator[Sign]:
    """Of one module."""
    for line, what in sorted(set(_everywhere(module))):
        yield Sign(kind=Kind.STATE, path=module.path, line=line, what=what)
    for function in module.functions:
        if not set_up.has(module, function):
            for line, deed in _written_files(module, function):
                yield Sign(kind=Kind.STATE, path=module.path, line=line, what=f"{function.name}() {deed}")


def _everywhere(module: Module) -> Iterator[tuple[int, str]]:
    docstrings = {id(node.value) for node in module.nodes if isinstance(node, ast.Expr)}
    for node in module.nodes:
        if isinstance(node, ast.Call):
            yield from _calls(module, node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield from _texts(node, node.value)
        elif isinstance(node, ast.Assign):
            yield from _assigned(node)
        elif isinstance(node, ast.Dict):
            yield from _entries(node)


def _calls(module: Module, node: ast.Call) -> Iterator[tuple[int, str]]:
    called = module.called(node)
    if called in _CALLS:
        yield node.lineno, f"{called}() {_CALLS[called]}"
    elif called in _LIMITERS and all(keyword.arg != _LIMITERS[called] for keyword in node.keywords):
        yield node.lineno, f"{called}() without {_LIMITERS[called]} counts in the process"
    for keyword in node.keywords:
        yield from _setting(keyword.arg, keyword.value)


def _texts(node: ast.Constant, text: str) -> Iterator[tuple[int, str]]:
    if text in _TEXTS:
        yield node.lineno, _TEXTS[text]
    elif text.startswith(("sqlite://", "sqlite+")):
        yield node.lineno, "the database is SQLite, a local file"


def _assigned(node: ast.Assign) -> Iterator[tuple[int, str]]:
    for target in node.targets:
        if isinstance(target, ast.Name):
            yield from _setting(target.id, node.value)
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            yield from _setting(target.slice.value, node.value)


def _entries(node: ast.Dict) -> Iterator[tuple[int, str]]:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant):
            yield from _setting(key.value, value)


def _setting(name: object, value: ast.expr) -> Iterator[tuple[int, str]]:
    if isinstance(value, ast.Constant) and (what := _SETTINGS.get((str(name), str(value.value)))) is not None:
        yield value.lineno, f"{name} = {value.value!r}: {what}"


def _written_files(module: Module, function: FunctionCode) -> Iterator[tuple[int, str]]:
    nodes = list(function.nodes)
    takes_uploads = any(isinstance(node, ast.Attribute) and node.attr == "files" for node in nodes)
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        called = module.called(node)
        attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        mode_at = 1 if called in ("open", "io.open", "aiofiles.open") else 0
        if (mode_at or (attribute == "open" and called != "os.open")) and _writes(node, mode_at):
            yield node.lineno, "writes a local file"
        elif attribute in _PATH_WRITES or called in _FILE_CALLS:
            yield node.lineno, f"writes a local file ({attribute})"
        elif attribute == "save" and node.args and takes_uploads:
            yield node.lineno, "saves an upload as a local file"


def _writes(node: ast.Call, position: int) -> bool:
    given = node.args[position : position + 1] + [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    return any(
        isinstance(mode, ast.Constant)
        and isinstance(mode.value, str)
        and len(mode.value) <= 4
        and set(mode.value) <= set("rwaxbt+")
        and bool(set(mode.value) & set("wax+"))
        for mode in given
    )
