"""Web applications: objects of known frameworks, what is wrapped around them, factories, and bare ASGI and WSGI."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from peaker.project.code import Code, name_from
from peaker.project.findings import WebApp
from peaker.project.module import FunctionCode, Module

FRAMEWORKS = {
    "fastapi.FastAPI": "FastAPI", "fastapi.applications.FastAPI": "FastAPI",
    "starlette.applications.Starlette": "Starlette",
    "flask.Flask": "Flask", "flask.app.Flask": "Flask", "quart.Quart": "Quart",
    "django.core.asgi.get_asgi_application": "Django", "django.core.wsgi.get_wsgi_application": "Django",
    "channels.routing.ProtocolTypeRouter": "Django",
    "litestar.Litestar": "Litestar", "blacksheep.Application": "BlackSheep",
    "falcon.asgi.App": "Falcon", "falcon.App": "Falcon", "bottle.Bottle": "Bottle", "bottle.default_app": "Bottle",
}  # fmt: skip

NOT_SERVED = {"aiohttp.web.Application": "aiohttp.web", "tornado.web.Application": "Tornado"}
"""Servers of their own: neither ASGI nor WSGI."""

_LAMBDA_ADAPTERS = ("mangum.", "apig_wsgi.", "serverless_wsgi.", "awsgi.")
_WRAPS = ("Middleware", "ASGIApp", "WSGIApp", "WsgiToAsgi", "AsgiToWsgi", "ProxyFix", "DispatcherMiddleware")
_NAMES = ("app", "application", "api", "asgi_app", "wsgi_app", "asgi", "wsgi")
_MODULES = ("asgi", "main", "app", "wsgi", "application", "server", "api", "web", "__init__")
_ASGI = ("scope", "receive", "send")
_WSGI = ("environ", "start_response")


def find_apps(code: Code) -> list[WebApp]:
    """All of them, the one that is most likely served first."""
    inner = set(_mounted(code))
    found: dict[tuple[str, str], WebApp] = {}
    factories = {key: app for module in code.modules.values() for key, app in _factories(code, module)}
    for module in code.modules.values():
        for app in _assigned(code, module, factories):
            found[module.path, app.target.partition(":")[2]] = app
    # A factory whose app is made somewhere at import too would make a second one.
    made = {app.framework for app in found.values()}
    ready = {key: app for key, app in factories.items() if app.target.endswith("()")}  # The others want arguments.
    found.update((key, app) for key, app in ready.items() if app.framework not in made)
    for module in code.modules.values():
        found.update((key, app) for key, app in _bare(code, module) if key not in found)
    wrapped = {key for module in code.modules.values() for key in _wrapped(code, module)}
    served = [app for key, app in found.items() if key not in inner]
    asgi_settings = any("ASGI_APPLICATION" in _assigned_names(module) for module in code.modules.values())
    return sorted(served, key=lambda app: _rank(app, wrapped, prefers_asgi=asgi_settings))


def _rank(app: WebApp, wrapped: set[tuple[str, str]], *, prefers_asgi: bool) -> tuple[int | str | bool, ...]:
    name = app.target.partition(":")[2]
    stem = app.path.rpartition("/")[2].removesuffix(".py")
    is_wsgi = stem == "wsgi"
    return (
        app.framework in ("ASGI", "WSGI"),
        (app.path, name) in wrapped,
        # Django's projects have both modules; its settings name the one that is used.
        app.framework == "Django" and is_wsgi is prefers_asgi,
        app.path.count("/"),
        name not in _NAMES,
        stem not in _MODULES,
        app.path,
        app.line,
    )


def _assigned(code: Code, module: Module, factories: dict[tuple[str, str], WebApp]) -> Iterator[WebApp]:
    for name, value in _module_assignments(module):
        framework = _framework(code, module, value) or _of_factory(code, module, value, factories)
        if not framework and _is_wrapper(module, value):
            framework = "wrapped"
        if framework:
            yield _app(code, module, name, framework, value.lineno)


def _framework(code: Code, module: Module, value: ast.AST) -> str:
    called = module.called(value)
    if called in FRAMEWORKS:
        return FRAMEWORKS[called]
    return _framework_of_class(code, module, value) if called else ""


def _framework_of_class(code: Code, module: Module, value: ast.AST) -> str:
    """The framework that a class of the project's own is derived from."""
    assert isinstance(value, ast.Call)
    key = code.key(module, module.dotted(value.func))
    if key is None:
        return ""
    home = code.modules[key[0]]
    for node in home.tree.body:
        if isinstance(node, ast.ClassDef) and node.name == key[1]:
            bases = (FRAMEWORKS.get(home.dotted(base), "") for base in node.bases)
            return next(filter(None, bases), "") or ("ASGI" if _is_asgi_class(node) else "")
    return ""


def _is_asgi_class(node: ast.ClassDef) -> bool:
    return any(
        isinstance(item, ast.AsyncFunctionDef) and item.name == "__call__" and _parameters(item)[1:] == _ASGI
        for item in node.body
    )


def _of_factory(code: Code, module: Module, value: ast.AST, factories: dict[tuple[str, str], WebApp]) -> str:
    if not isinstance(value, ast.Call):
        return ""
    key = code.key(module, module.dotted(value.func))
    return factories[key].framework if key in factories else ""


def _factories(code: Code, module: Module) -> Iterator[tuple[tuple[str, str], WebApp]]:
    for function in module.functions:
        if function.class_name or function.is_nested or isinstance(function.node, ast.AsyncFunctionDef):
            continue
        framework = _returns_app(code, module, function)
        if framework:
            arguments = function.node.args
            needs = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
            needs += sum(default is None for default in arguments.kw_defaults)
            target = f"{function.node.name}()" if needs == 0 else function.node.name
            app = _app(code, module, target, framework, function.node.lineno)
            yield (module.path, function.node.name), app


def _returns_app(code: Code, module: Module, function: FunctionCode) -> str:
    made: dict[str, str] = {}
    for node in function.nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            framework = _framework(code, module, node.value)
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            made |= {target.id: framework for target in targets if isinstance(target, ast.Name) and framework}
    for node in function.nodes:
        if isinstance(node, ast.Return) and node.value is not None:
            framework = made.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
            if framework := framework or _framework(code, module, node.value):
                return framework
    return ""


def _bare(code: Code, module: Module) -> Iterator[tuple[tuple[str, str], WebApp]]:
    for function in module.functions:
        if function.class_name or function.is_nested:
            continue
        is_async = isinstance(function.node, ast.AsyncFunctionDef)
        kind = {_ASGI: "ASGI", _WSGI: "WSGI"}.get(_parameters(function.node), "")
        if kind and (kind == "ASGI") is is_async:
            app = _app(code, module, function.node.name, kind, function.node.lineno)
            yield (module.path, function.node.name), app


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    return tuple(argument.arg for argument in [*node.args.posonlyargs, *node.args.args])


def _app(code: Code, module: Module, attribute: str, framework: str, line: int) -> WebApp:
    root = code.import_root(module)
    target = f"{name_from(module, root)}:{attribute}"
    return WebApp(target=target, framework=framework, path=module.path, line=line, import_root=root)


def _is_wrapper(module: Module, value: ast.AST) -> bool:
    called = module.called(value)
    is_wrapping = called.endswith(_WRAPS) and not called.startswith(_LAMBDA_ADAPTERS)
    return is_wrapping and isinstance(value, ast.Call) and bool(value.args or value.keywords)


def _wrapped(code: Code, module: Module) -> Iterator[tuple[str, str]]:
    """What a wrapper of this module is around: the wrapper is served, not that."""
    for _, value in _module_assignments(module):
        if _is_wrapper(module, value):
            assert isinstance(value, ast.Call)
            yield from _keys(code, module, [*value.args, *(keyword.value for keyword in value.keywords)])


def _mounted(code: Code) -> Iterator[tuple[str, str]]:
    for module in code.modules.values():
        for node in module.nodes:
            is_mount = isinstance(node, ast.Call) and (
                (isinstance(node.func, ast.Attribute) and node.func.attr == "mount")
                or module.called(node).endswith("Mount")
            )
            if is_mount:
                assert isinstance(node, ast.Call)
                yield from _keys(code, module, [*node.args, *(keyword.value for keyword in node.keywords)])


def _keys(code: Code, module: Module, nodes: list[ast.expr]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        dotted = module.dotted(node)
        if dotted and (key := code.key(module, dotted)) is not None:
            yield key


def _module_assignments(module: Module) -> Iterator[tuple[str, ast.expr]]:
    for node in module.at_import:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            yield node.target.id, node.value


def _assigned_names(module: Module) -> set[str]:
    return {name for name, _ in _module_assignments(module)}


def remarks_on_servers(code: Code) -> list[str]:
    """One sentence for each framework that brings its own server."""
    found = []
    for module in code.modules.values():
        for node in module.nodes:
            if (name := NOT_SERVED.get(module.called(node))) is not None:
                assert isinstance(node, ast.Call)
                found.append(f"{module.path}:{node.lineno} {name} is neither ASGI nor WSGI; Peaker cannot serve it")
    return found
