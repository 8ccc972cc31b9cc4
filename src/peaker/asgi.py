"""ASGI's types, the user's application object, and how it is imported: all that what starts cold needs to begin."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, cast

from peaker.errors import AppImportError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def split_target(target: str) -> tuple[str, str]:
    """Module and attribute of `module:attribute`, or of Lambda's own `folder/module.function`."""
    if ":" in target:
        module, _, attribute = target.partition(":")
    else:
        module, _, attribute = target.replace("/", ".").rpartition(".")
    return module, attribute


def load_target(target: str, directory: str) -> Any:
    """Import `module:attribute` or `folder/module.function`, calling it where it is written with ().

    Raises:
        AppImportError: names the target and the import error, with the user's own frames of the traceback.
    """
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module_name, attribute = split_target(target)
    is_factory = attribute.endswith("()")
    try:
        found = importlib.import_module(module_name)
        for part in attribute.removesuffix("()").split("."):
            found = getattr(found, part)
        return found() if is_factory else found  # type: ignore[operator]
    except (Exception, SystemExit) as error:  # a module may end the process by sys.exit(); here that is its mistake
        raise AppImportError(
            f"{target!r} does not import: {type(error).__name__}: {error}{_user_frames(error)}",
            remedy=f"Imports start in {directory}.",
        ) from error


def _user_frames(error: BaseException) -> str:
    own = (__file__, importlib.__file__)
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.filename not in own and "<frozen" not in f.filename
    ]
    return "".join(f"\n  {frame.filename}:{frame.lineno} {frame.line}" for frame in frames[-4:]) or "."


def load_callable(target: str, directory: str) -> Callable[..., Any]:
    """Import what can be called: a handler, an ASGI or a WSGI application as it stands.

    Raises:
        AppImportError: the target does not import or is not callable.
    """
    found = load_target(target, directory)
    if not callable(found):
        raise AppImportError(
            f"{target!r} is {type(found).__name__}, which cannot be called.",
            remedy="Name an ASGI or WSGI application or a handler(event, context); a factory is written with ().",
        )
    return cast("Callable[..., Any]", found)


def is_asgi(application: Any) -> bool:
    """Tell ASGI from WSGI.

    ASGI 3 applications are coroutine functions, objects whose `__call__` is one, and `functools.partial` of either. A
    plain function around one of them, as tracing libraries make it, is told by what it must be given: ASGI has three
    arguments (scope, receive, send), WSGI two (environ, start_response).
    """
    called = application
    while isinstance(called, functools.partial):
        called = called.func
    if inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(getattr(called, "__call__", None)):  # noqa: B004
        return True
    try:
        parameters = inspect.signature(application).parameters.values()
    except (TypeError, ValueError):  # written in C, without a signature
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in positional and one.default is one.empty for one in parameters) == 3


WSGI_THREADS = 10
"""Threads a worker runs a WSGI app in; a2wsgi's own default."""


def adapt_wsgi(application: Callable[..., Iterable[bytes]], threads: int) -> ASGIApp:
    """A WSGI application as ASGI. Its threads start with the first request, so this is safe before a fork."""
    from a2wsgi import WSGIMiddleware

    return cast("ASGIApp", WSGIMiddleware(application, workers=threads))


def stop_wsgi_threads(application: ASGIApp) -> None:
    """End the threads `adapt_wsgi` has started; nothing happens for an app that was ASGI to begin with."""
    executor = getattr(application, "executor", None)
    if type(application).__module__.startswith("a2wsgi.") and executor is not None:
        executor.shutdown(wait=True)
