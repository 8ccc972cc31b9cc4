"""Inside an instance: answer one invocation after the other until the host closes the channel.

Frames from the host: `run` (an event), `gone` (nobody waits for the answer any more), `check` (prove that this process
works). Frames to the host: `ready` or `failed` once, then a `result` for each, before it `begin` and any number of
`chunk` where the answer is streamed. The channel's end means that nobody wants this instance any more.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from peaker import frames
from peaker.app import FunctionSpec
from peaker.asgi import ASGIApp, adapt_wsgi, is_asgi, load_callable
from peaker.errors import AppImportError, PayloadTooLarge, PeakerError
from peaker.functions import handler, runtime_log
from peaker.functions.context import LambdaContext, client_context_from, function_arn, w3c_from
from peaker.functions.load_handler import HandlerImportError, load_handler
from peaker.functions.streamed_answer import Streaming
from peaker.functions.web import WebApp
from peaker.messages import RunNotes
from peaker.units import KIB

_READ_BYTES = 256 * KIB
_READ_BYTES_OF_A_HANDLER = 64 * KIB
"""Below the size from which the C library takes each piece of memory from the kernel and gives it back."""


def load(spec: FunctionSpec, directory: str) -> Callable[..., Any]:
    """The user's code: a handler, or a web app as it stands (WSGI is adapted after the fork: that starts threads).

    Raises:
        AppImportError: it does not import, or is not callable.
    """
    if spec.web:
        return load_callable(spec.target, directory)
    runtime_log.install_root_handler()
    return load_handler(spec.target, directory)


def serve(spec: FunctionSpec, directory: str, code: Callable[..., Any] | None, channel: socket.socket) -> int:
    """Run until the channel ends; returns the exit code. `code` is None where it is still to be imported."""
    start_rss_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        code = code or load(spec, directory)
    except AppImportError as error:
        channel.sendall(frames.pack(_import_failed(error)))
        return 1
    if spec.web:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        # Without asyncio.run's own clearing up: the process ends right after, and starting it would cost 0.2 ms.
        return loop.run_until_complete(_serve_web(as_asgi(code), channel, start_rss_kb))
    return _serve_handler(code, channel, start_rss_kb)


def _import_failed(error: AppImportError) -> frames.Head:
    head: frames.Head = {"kind": "failed", "error": "import", "message": str(error)}
    if isinstance(error, HandlerImportError):
        head["handler"] = error.to_json()
    return head


def as_asgi(application: Callable[..., Any]) -> ASGIApp:
    """The app, adapted if it is WSGI; one thread will do, since an instance has one request at a time."""
    return application if is_asgi(application) else adapt_wsgi(application, 1)


def _serve_handler(function: handler.Handler, channel: socket.socket, start_rss_kb: int) -> int:
    channel.sendall(frames.pack({"kind": "ready", "resident_kb": start_rss_kb}))
    reader = frames.FrameReader()
    names = _names()
    while data := channel.recv(_READ_BYTES_OF_A_HANDLER):
        for head, event in reader.feed(data):
            if head["kind"] == "check":
                channel.sendall(_checked())
                continue
            if head["kind"] != "run":
                continue  # `gone`: it answers all the same, as on Lambda.
            started_s = _begin(head)
            result, function_error = handler.call(function, event, _context(head, names))
            channel.sendall(_result_frame(result, function_error, started_s, start_rss_kb))
    return 0


async def _serve_web(application: ASGIApp, channel: socket.socket, start_rss_kb: int) -> int:
    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    web = WebApp(application)
    try:
        await web.start()
    except PeakerError as error:
        await loop.sock_sendall(channel, frames.pack({"kind": "failed", "error": "start", "message": str(error)}))
        return 1
    await loop.sock_sendall(channel, frames.pack({"kind": "ready", "resident_kb": start_rss_kb}))
    reader = frames.FrameReader()
    streaming = Streaming(channel, reader)
    while data := await streaming.read(_READ_BYTES):
        for head, event in reader.feed(data):
            if head["kind"] == "check":
                await loop.sock_sendall(channel, _checked())
            elif head["kind"] == "run":
                started_s = _begin(head)
                result, function_error = await _answer(web, streaming if head.get("stream") else None, head, event)
                await streaming.write(_result_frame(result, function_error, started_s, start_rss_kb))
    await web.stop()
    return 0


async def _answer(web: WebApp, streaming: Streaming | None, head: frames.Head, event: bytes) -> tuple[bytes, str]:
    try:
        if streaming is None:
            result = await web.answer(event, cold=head["cold"], init_ms=head["init_ms"])
        else:
            await streaming.answer(web, event, RunNotes(cold=head["cold"], init_ms=head["init_ms"]))
            result = b""
    except PayloadTooLarge as error:
        return _too_large(str(error), head["request_id"]), handler.UNHANDLED
    except (PeakerError, ValueError) as error:
        return handler.exception_result(error, head["request_id"]), handler.UNHANDLED
    return result, ""


def _begin(head: frames.Head) -> float:
    """Make this invocation's identity visible to the user's code; returns its start."""
    runtime_log.set_running(head["request_id"], head.get("tenant_id"))
    for variable, key in (("_X_AMZN_TRACE_ID", "trace_id"), ("TRACEPARENT", "traceparent")):
        if value := head.get(key):
            os.environ[variable] = value
        elif variable in os.environ:
            del os.environ[variable]  # that of the invocation before
    return time.perf_counter()


def _names() -> dict[str, Any]:
    """What the context says of the function. Read once: each reading of the environment encodes and decodes."""
    return {
        "function_name": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
        "memory_limit_in_mb": os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
        "log_group_name": os.environ["AWS_LAMBDA_LOG_GROUP_NAME"],
        "log_stream_name": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
    }


def _context(head: frames.Head, names: dict[str, Any]) -> LambdaContext:
    document = json.loads(text) if (text := head.get("client_context")) else None
    return LambdaContext(
        aws_request_id=head["request_id"],
        invoked_function_arn=head.get("arn")
        or function_arn(os.environ["AWS_LAMBDA_FUNCTION_NAME"], os.environ["AWS_REGION"]),
        function_version=head.get("version") or os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
        deadline_s=head["deadline_s"],
        client_context=client_context_from(document),
        tenant_id=head.get("tenant_id"),
        _w3c=w3c_from(document),
        **names,
    )


def _result_frame(result: bytes, function_error: str, started_s: float, start_rss_kb: int) -> bytes:
    if len(result) > frames.BODY_BYTES_MAX:
        message = f"Response payload size exceeded maximum allowed payload size ({frames.BODY_BYTES_MAX} bytes)."
        result, function_error = _too_large(message, ""), handler.UNHANDLED
    # What was printed must be in the log pipe before the result is in the channel, or it counts for the next one.
    sys.stdout.flush()
    sys.stderr.flush()
    head = {
        "kind": "result",
        "function_error": function_error,
        "duration_ms": round((time.perf_counter() - started_s) * 1000, 3),
        "growth_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start_rss_kb,
    }
    return frames.pack(head, result)


def _too_large(message: str, request_id: str) -> bytes:
    return handler.error_result("Function.ResponseSizeTooLarge", message, request_id)


def _checked() -> bytes:
    """What any code does sooner or later, and what hangs or breaks where a fork took a lock away half-held."""
    gc.collect()
    thread = threading.Thread(target=json.dumps, args=({"thread": "started"},))
    thread.start()
    thread.join()
    return frames.pack({"kind": "checked"})
