"""Signs of requests that last: WebSockets, streams, work after the response, long waits."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from peaker.project.findings import Kind, Sign
from peaker.project.module import FunctionCode, Module, written
from peaker.project.routes import Routes
from peaker.project.when_run import SetUp

_STREAMS = frozenset({
    "StreamingResponse", "EventSourceResponse", "StreamingHttpResponse", "stream_with_context", "ServerSentEvent",
})  # fmt: skip
_SOCKET_CLASSES = ("WebSocketEndpoint", "WebsocketConsumer", "AsyncWebsocketConsumer", "JsonWebsocketConsumer",
                   "AsyncJsonWebsocketConsumer", "WebSocketHandler")  # fmt: skip
_SOCKET_SERVERS = frozenset({
    "flask_socketio.SocketIO", "socketio.AsyncServer", "socketio.Server", "flask_sock.Sock",
    "starlette.routing.WebSocketRoute",
})  # fmt: skip
_TASKS = frozenset({"asyncio.create_task", "asyncio.ensure_future", "anyio.from_thread.start_blocking_portal"})
_WAITS_FOR = ("gather", "wait", "wait_for", "as_completed", "shield")
LONG_S = 30.0
"""Longer than functions.timeout_s is unless it is set."""
_CAN_BE_LONG = ("sleep", "timeout", "read_timeout", "timeout_s", "wait", "timeout_keep_alive")


def lasting_signs(module: Module, routes: Routes, set_up: SetUp) -> Iterator[Sign]:
    """Of one module."""
    for node in module.nodes:
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if (name := module.dotted(base).rpartition(".")[2]) in _SOCKET_CLASSES:
                    yield _sign(Kind.WEBSOCKET, module, node.lineno, f"{node.name} is a {name}")
        elif isinstance(node, ast.Call) and (called := module.called(node)) in _SOCKET_SERVERS:
            yield _sign(Kind.WEBSOCKET, module, node.lineno, f"{called}()")
    for function in module.functions:
        for kind, line, what in _of_function(module, function, set_up):
            yield _sign(kind, module, line, f"{function.name}() {what}", routes.of(module, function))
    if module.path.rpartition("/")[2] in ("gunicorn.conf.py", "gunicorn_config.py", "gunicorn_conf.py"):
        yield from _gunicorn(module)


def _of_function(module: Module, function: FunctionCode, set_up: SetUp) -> Iterator[tuple[Kind, int, str]]:
    for decorator in function.node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and called.attr in ("websocket", "websocket_route"):
            yield Kind.WEBSOCKET, decorator.lineno, "serves a WebSocket"
    nodes = list(function.nodes)
    if (line := _streams(module, function, nodes)) is not None:
        yield Kind.STREAMING, line, "streams its response"
    if not set_up.has(module, function) and not _returns_what_it_starts(function):
        yield from _background(module, nodes)
    for node in nodes:
        if isinstance(node, ast.Call) and (seconds := _long_wait(module, node)) is not None:
            yield Kind.TIME, node.lineno, f"may wait {seconds:g} s ({written(node.func)})"


def _streams(module: Module, function: FunctionCode, nodes: list[ast.AST]) -> int | None:
    named = [
        function.node.returns,
        *(
            keyword.value
            for decorator in function.node.decorator_list
            if isinstance(decorator, ast.Call)
            for keyword in decorator.keywords
            if keyword.arg == "response_class"
        ),
    ]
    for node in [*nodes, *named]:
        name = (
            module.called(node) if isinstance(node, ast.Call) else module.dotted(node) if node in named and node else ""
        )
        if name.rpartition(".")[2] in _STREAMS:
            return getattr(node, "lineno", function.node.lineno)
    return None


def _background(module: Module, nodes: list[ast.AST]) -> Iterator[tuple[Kind, int, str]]:
    waited = _waited_names(nodes)
    inside = {id(inner) for node in nodes if _is_waiting(node) for inner in ast.walk(node)}
    kept = {id(node.value): node.targets[0] for node in nodes if isinstance(node, ast.Assign)}
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        called = module.called(node)
        attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        target = kept.get(id(node))
        is_waited_for = id(node) in inside or (isinstance(target, ast.Name) and target.id in waited)
        if attribute == "add_task" or called.endswith(("BackgroundTask", "BackgroundTasks")):
            yield Kind.BACKGROUND, node.lineno, "adds a background task"
        elif (called in _TASKS or _is_loop_task(node, attribute)) and not is_waited_for:
            yield Kind.BACKGROUND, node.lineno, "starts a task and does not wait for it"
        elif called in ("threading.Thread", "threading.Timer", "multiprocessing.Process"):
            yield Kind.BACKGROUND, node.lineno, f"starts a {called.rpartition('.')[2].lower()}"


def _is_loop_task(node: ast.Call, attribute: str) -> bool:
    return attribute == "create_task" and isinstance(node.func, ast.Attribute) and "loop" in written(node.func.value)


def _is_waiting(node: ast.AST) -> bool:
    if isinstance(node, ast.Await):
        return True
    name = node.func if isinstance(node, ast.Call) else None
    return isinstance(name, ast.Attribute) and name.attr in _WAITS_FOR


def _waited_names(nodes: list[ast.AST]) -> set[str]:
    return {inner.id for node in nodes if _is_waiting(node) for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _returns_what_it_starts(function: FunctionCode) -> bool:
    return function.node.name in ("main", "run") and not function.class_name


def _long_wait(module: Module, node: ast.Call) -> float | None:
    """Seconds of a literal sleep or time-out of at least LONG_S."""
    given = [keyword.value for keyword in node.keywords if keyword.arg in _CAN_BE_LONG]
    if module.called(node) in ("time.sleep", "asyncio.sleep", "anyio.sleep", "asyncio.wait_for", "asyncio.timeout"):
        given += node.args[-1:]
    return max((seconds for value in given if (seconds := _number(value)) >= LONG_S), default=None)


def _gunicorn(module: Module) -> Iterator[Sign]:
    for node in module.at_import:
        is_timeout = isinstance(node, ast.Assign) and any(written(target) == "timeout" for target in node.targets)
        if is_timeout:
            assert isinstance(node, ast.Assign)
            if (seconds := _number(node.value)) > LONG_S:
                yield _sign(Kind.TIME, module, node.lineno, f"gunicorn lets requests take {seconds:g} s")


def _number(node: ast.expr) -> float:
    """The number that is written there, else 0."""
    value = node.value if isinstance(node, ast.Constant) else 0
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _sign(kind: Kind, module: Module, line: int, what: str, routes: tuple[str, ...] = ()) -> Sign:
    return Sign(kind=kind, path=module.path, line=line, what=what, routes=routes)
