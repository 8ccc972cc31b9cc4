"""moto's server on a given socket, in threads of this process."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from flask import Flask
from moto.dynamodbstreams.models import dynamodbstreams_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import ThreadedWSGIServer

from peaker.local_aws.one_at_a_time import OneAtATime

CONNECTIONS_MAX = 512
"""Each has a thread; a further one waits until one is closed."""
IDLE_S_MAX = 300.0
ITERATORS_KEPT = 1000
"""Of one stream's reader moto keeps every shard iterator for ever; these many newest ones are left."""


class StandIn:
    """moto, from `start` to `stop`; everything in it is gone after that."""

    def __init__(self, listener: socket.socket) -> None:
        self._application = OneAtATime(DomainDispatcherApplication(_create_app), after_call=drop_old_iterators)
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._listener = listener
        self._serving: _Serving | None = None

    async def prepare(self, work: Callable[[str], Awaitable[None]]) -> None:
        """Answer on an address of its own, given to `work`, for as long as that takes; nobody else is answered yet."""
        with socket.socket(socket.AF_INET) as aside:
            aside.bind(("127.0.0.1", 0))
            aside.listen()
            serving = _Serving(aside, self._application)
            try:
                await work(f"http://127.0.0.1:{aside.getsockname()[1]}")
            finally:
                await asyncio.to_thread(serving.stop)

    def start(self) -> None:
        """Begin to answer."""
        self._serving = _Serving(self._listener, self._application)

    def stop(self) -> None:
        """Take no more connections; what is under way ends with the process."""
        self._application.close()
        if self._serving is not None:
            self._serving.stop()


class _Serving:
    """The application answering on one socket."""

    def __init__(self, listener: socket.socket, application: OneAtATime) -> None:
        host, port = listener.getsockname()[:2]
        self._server = _Server(host, port, application, handler=_RequestHandler, fd=listener.fileno())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="stand-in", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _RequestHandler(MotoRequestHandler):
    timeout = IDLE_S_MAX

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Say nothing: whoever calls knows what it called."""


class _Server(ThreadedWSGIServer):
    """With as many connections at once as there may be."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Wait for room before a thread is started."""
        self._room.acquire()  # given back by the thread
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


def _create_app(service: Any) -> Flask:
    return create_backend_app(service)


def drop_old_iterators(kept: int = ITERATORS_KEPT) -> None:
    """Keep the newest shard iterators; each GetRecords makes one."""
    for of_account in dynamodbstreams_backends.values():
        for backend in of_account.values():
            iterators = backend.shard_iterators
            if len(iterators) > 2 * kept:
                for old in list(iterators)[: len(iterators) - kept]:
                    del iterators[old]
